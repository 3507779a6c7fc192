//! The documented codes of suppliers that have several providers here, and what each means for a delivery.

use std::time::Duration;

use tidings_contract::Reason;

use crate::json_api::Class::{Account, After, Content, Later, Recipient, Token};
use crate::json_api::Codes;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

/// WeCom (Global error codes, document 90313, as of 2025). A code that is not listed means that the message was not taken.
pub(crate) const WECOM: Codes<i64> = Codes {
    prefix: "errcode",
    classes: &[
        // Busy; too many calls at once; under maintenance.
        (Later, &[-1, 6_000, 45_033, 81_026]),
        // Too many calls in a minute.
        (After(MINUTE_MS), &[45_009]),
        // Token missing, invalid or expired.
        (Token, &[40_014, 41_001, 42_001]),
        // No such user, department or tag, or none that sees the application.
        (
            Recipient,
            &[
                40_003, 40_031, 40_032, 40_066, 40_068, 40_070, 43_004, 46_004, 50_002, 60_003, 60_011, 60_021, 60_030,
                60_111, 60_123, 81_013, 82_001, 82_002, 82_003, 92_000, 301_021,
            ],
        ),
        // Media, size, fields, format; the parts of a template_card and of a miniprogram_notice; forbidden words.
        (
            Content,
            &[
                40_004, 40_005, 40_006, 40_007, 40_008, 40_009, 40_011, 40_033, 40_035, 40_039, 40_058, 40_063, 40_073,
                40_074, 40_094, 40_123, 40_201, 40_204, 40_206, 41_006, 41_010, 41_016, 41_033, 42_014, 42_018, 42_019,
                42_020, 42_027, 42_028, 42_029, 42_030, 42_031, 42_033, 42_035, 42_036, 42_037, 42_038, 42_039, 42_040,
                42_041, 42_042, 42_043, 42_044, 42_045, 42_046, 42_047, 42_049, 42_050, 42_051, 42_052, 44_001, 44_004,
                45_001, 45_002, 45_004, 45_007, 45_008, 45_032, 45_034, 82_004, 85_002, 90_200, 90_201, 90_202, 90_203,
                90_204, 90_207, 90_208, 301_015, 301_019,
            ],
        ),
        // Not on the page any more; WeChat, whose interface this is, has them as an empty post and as bad JSON.
        (Content, &[44_002, 47_001]),
        // Secret, company, application, address, rights; the robot is gone or stopped.
        (
            Account,
            &[
                40_001, 40_013, 40_056, 40_091, 40_136, 40_137, 40_141, 41_002, 41_004, 41_011, 48_001, 48_002, 48_004,
                48_005, 48_006, 50_003, 50_006, 60_020, 60_031, 90_206, 90_210, 90_302, 93_000, 93_004, 93_006, 93_008,
                301_002, 301_007, 301_042,
            ],
        ),
    ],
    other: Later,
};

/// How long WeCom keeps a temporary file (Uploading temporary media, document 90253).
pub(crate) const WECOM_MEDIA: Duration = Duration::from_secs(3 * 86_400);

/// Whether WeCom or DingTalk says that a media id is none of theirs: 40007 at both.
pub(crate) fn is_invalid_media(reason: &Reason) -> bool {
    reason.code == "errcode_40007"
}

/// DingTalk (Global error codes of the server interface; Getting the result of work notices, error codes). 88 stands around
/// a finer code, `sub_code`, which is judged instead.
pub(crate) const DINGTALK: Codes<i64> = Codes {
    prefix: "errcode",
    classes: &[
        (Later, &[-1, 15, 1_430_003]),
        // Too many calls in a minute.
        (After(MINUTE_MS), &[90_018, 90_002, 143_103, 143_104, 143_203, 143_204]),
        // This person got all that may be sent in a day.
        (After(HOUR_MS), &[143_105, 143_205]),
        (Token, &[40_014, 41_001, 42_001]),
        (Recipient, &[33_012, 40_021, 50_002, 50_004, 60_003, 60_121, 1_430_000, 1_430_004]),
        // Fields and media; the same text to the same person on one day; forbidden words.
        (
            Content,
            &[
                34_004, 34_008, 34_009, 34_010, 34_011, 34_014, 34_016, 40_004, 40_005, 40_006, 40_007, 40_008, 40_009,
                40_035, 41_006, 44_001, 45_002, 143_106, 143_206, 1_430_002,
            ],
        ),
        (Account, &[33_001, 40_001, 40_013, 40_056, 40_089, 41_011, 50_003, 52_013, 60_011, 60_020]),
    ],
    other: Later,
};

/// Whether Feishu says that a key of a picture or a file is none of this application's (Sending messages; How to resolve
/// error 230001; the subcodes of 230099): it has one code for all wrong parameters, one for what another application
/// uploaded, and one for all that can be wrong with a card, in whose words stands a finer one. A key that is missing is
/// the content's fault.
pub(crate) fn is_invalid_key(reason: &Reason) -> bool {
    let names = |words: &[&str]| words.iter().any(|word| reason.words.contains(word));
    match reason.code.as_str() {
        "code_230017" => true,
        "code_230001" => names(&["invalid image_key", "invalid file_key"]),
        "code_230099" => names(&["ErrCode: 200570", "ErrCode: 300240"]),
        _ => false,
    }
}

/// Feishu (Common error codes; Sending messages; Recalling messages; Custom bot usage guide; Uploading images; Uploading files).
pub(crate) const FEISHU: Codes<i64> = Codes {
    prefix: "code",
    classes: &[
        (Later, &[1_500, 11_233, 45_500, 55_001, 230_049, 99_991_400]),
        // The robot's limit is hit; whole and half hours are the worst.
        (After(MINUTE_MS), &[11_232, 11_247, 230_020]),
        (Token, &[99_991_661, 99_991_663, 99_991_664, 99_991_665, 99_991_668, 99_991_671, 99_991_677]),
        // Not in the group, resigned, out of reach, other company, dissolved, stopped the bot.
        (
            Recipient,
            &[
                230_002, 230_013, 230_018, 230_029, 230_034, 230_035, 230_038, 230_050, 230_053, 230_075, 232_009,
                99_992_351, 99_992_356, 99_992_360, 99_992_361, 99_992_363, 99_992_364, 99_992_381,
            ],
        ),
        (
            Content,
            &[
                9_499, 10_003, 11_246, 19_002, 19_024, 230_001, 230_009, 230_015, 230_017, 230_019, 230_022, 230_025,
                230_028, 230_054, 230_055, 230_099, 230_110, 234_001, 234_006, 234_010, 99_992_354, 99_992_402,
            ],
        ),
        (
            Account,
            &[
                10_012, 10_014, 19_001, 19_021, 19_022, 19_023, 230_006, 230_026, 230_027, 230_036, 234_002, 234_007,
                99_991_401, 99_991_403, 99_991_543, 99_991_662, 99_991_672, 99_991_673, 99_991_676, 99_991_679,
            ],
        ),
    ],
    other: Later,
};

/// WeChat (Global return codes; template messages; subscribe messages).
pub(crate) const WECHAT: Codes<i64> = Codes {
    prefix: "errcode",
    classes: &[
        (Later, &[-1]),
        (After(MINUTE_MS), &[45_011]),
        // The day's quota is used up.
        (After(HOUR_MS), &[45_009]),
        (Token, &[40_001, 40_014, 41_001, 42_001, 42_007]),
        // Not this account's user, not following, refused or took the subscription back.
        (Recipient, &[40_003, 40_031, 43_004, 43_101, 43_104, 46_004, 50_002]),
        (
            Content,
            &[
                40_033, 40_035, 40_037, 40_097, 40_165, 40_248, 40_249, 45_168, 41_028, 41_029, 41_030, 43_002, 44_002,
                47_001, 47_003, 45_002, 45_003, 45_005,
            ],
        ),
        (
            Account,
            &[
                40_002, 40_013, 40_125, 40_164, 40_243, 41_002, 41_004, 43_107, 43_108, 48_001, 48_004, 50_001, 61_024,
                89_503, 89_507, 89_501,
            ],
        ),
    ],
    other: Later,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_that_feishu_does_not_know_is_told_from_everything_else() {
        let cases = [
            ("code_230017", "Bot is NOT the owner of the resource.", true),
            ("code_230001", "Your request contains an invalid request parameter, ext=invalid image_key", true),
            ("code_230001", "Your request contains an invalid request parameter, ext=invalid file_key", true),
            ("code_230001", "ext=message_content_img_tag's image_key field can't be nil", false),
            ("code_230001", "Your request contains an invalid request parameter, ext=invalid receive_id", false),
            (
                "code_230099",
                "ext=ErrCode: 200570; ErrMsg: card contains invalid image keys; ErrorValue: image key i",
                true,
            ),
            ("code_230099", "ext=ErrCode: 300240; ErrMsg: This application cannot retrieve audio information.", true),
            ("code_230099", "ext=ErrCode: 200621; ErrMsg: parse card json err", false),
            ("code_99992402", "image_key", false),
        ];
        for (code, words, expected) in cases {
            assert_eq!(is_invalid_key(&Reason::new(code, words)), expected, "{code} {words}");
        }
    }

    #[test]
    fn no_code_has_two_classes() {
        for codes in [&WECOM, &DINGTALK, &FEISHU, &WECHAT] {
            let mut seen = BTreeSet::new();
            for code in codes.classes.iter().flat_map(|(_, codes)| *codes) {
                assert!(seen.insert(code), "{} {code} is listed twice", codes.prefix);
            }
        }
    }
}
