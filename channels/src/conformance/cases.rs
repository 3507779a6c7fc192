//! Which provider runs through which case: what the suite asks of all, and what does not apply to whom and why.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use super::{EXCUSED, Subject, brief};
use crate::Registry;
use crate::json_api::{Class, Codes};
use crate::providers::subjects;
use crate::testing::HttpReply;

/// Every code of a supplier's table as `reply` brings it, and what it comes to; at the end one that is not listed.
pub(crate) fn every<K: Display>(
    codes: &Codes<K>,
    unlisted: K,
    reply: impl Fn(&K) -> HttpReply,
) -> Vec<(HttpReply, String)> {
    let comes_to = |class: Class, code: &K| {
        let outcome = class.outcome(format!("{}_{code}", codes.prefix), "the words");
        (reply(code), brief(&outcome))
    };
    let listed = codes.classes.iter().flat_map(|(class, codes)| codes.iter().map(move |code| (*class, code)));
    listed.chain([(codes.other, &unlisted)]).map(|(class, code)| comes_to(class, code)).collect()
}

/// What every provider must keep to, the test that shows it for all subjects, and the one for mail.
const FOR_ALL: [(&str, &str, &str); 10] = [
    ("success", "http::every_end_of_a_call_has_its_class", "smtp::every_end_of_a_submission_has_its_class"),
    ("5xx", "http::every_end_of_a_call_has_its_class", "smtp::every_end_of_a_submission_has_its_class"),
    (
        "429 with and without Retry-After",
        "http::every_end_of_a_call_has_its_class",
        "smtp::every_end_of_a_submission_has_its_class",
    ),
    ("hang", "http::every_end_of_a_call_has_its_class", "smtp::every_end_of_a_submission_has_its_class"),
    (
        "reset before and after the body was read",
        "http::every_end_of_a_call_has_its_class",
        "smtp::every_end_of_a_submission_has_its_class",
    ),
    (
        "answers cut short or in no known language",
        "http::every_end_of_a_call_has_its_class",
        "smtp::every_end_of_a_submission_has_its_class",
    ),
    (
        "never connected",
        "http::what_never_connected_was_certainly_not_sent",
        "smtp::a_server_that_is_not_there_took_nothing",
    ),
    (
        "secrets in no log",
        "secrets::no_secret_reaches_a_log_an_outcome_or_a_debug_print",
        "secrets::no_secret_reaches_a_log_an_outcome_or_a_debug_print",
    ),
    (
        "a dropped call",
        "http::a_dropped_call_does_no_harm_to_the_next",
        "smtp::a_dropped_submission_does_no_harm_to_the_next",
    ),
    (
        "two at once",
        "http::two_calls_at_once_do_not_wait_for_each_other",
        "smtp::mails_at_once_take_no_more_connections_than_allowed",
    ),
];

/// A case for which a provider must bring something itself.
struct Own {
    case: &'static str,
    shown_by: &'static str,
    brings: fn(&Subject) -> bool,
    /// To whom it does not apply, and why.
    not_for: &'static [(&'static str, &'static [&'static str])],
}

const OWN: [Own; 5] = [
    Own {
        case: "documented codes",
        shown_by: "verdicts::every_documented_answer_has_its_class",
        brings: |subject| !(subject.answers)().is_empty(),
        not_for: &[
            ("the status decides, and nothing else is documented", &["webhook"]),
            ("sentences and no codes are documented: a test in its own file has one of each", &["teams", "telegram"]),
        ],
    },
    Own {
        case: "each recipient of a batch",
        shown_by: "verdicts::every_recipient_of_a_batch_has_an_outcome_of_its_own",
        brings: |subject| !(subject.partial)().is_empty(),
        not_for: &[
            ("the recipient is the account", &["dingtalk_robot", "discord", "feishu_robot", "teams", "wecom_robot"]),
            (
                "a request has one recipient",
                &[
                    "alipay_mini",
                    "feishu_app",
                    "push/apns",
                    "push/fcm",
                    "slack",
                    "sms/twilio",
                    "telegram",
                    "webhook",
                    "wechat_mini",
                    "wechat_official",
                ],
            ),
        ],
    },
    Own {
        case: "a token that ended",
        shown_by: "verdicts::tokens_are_fetched_and_a_spent_one_is_said_to_be",
        brings: |subject| subject.token.is_some_and(|case| !case().expired.is_empty()),
        not_for: &[
            (
                "each request is signed",
                &["alipay_mini", "push/apns", "sms/aliyun", "sms/lintong", "sms/tencent", "webhook"],
            ),
            (
                "its key lasts until somebody changes it",
                &[
                    "dingtalk_robot",
                    "discord",
                    "feishu_robot",
                    "slack",
                    "sms/twilio",
                    "sms/yunpian",
                    "teams",
                    "telegram",
                    "wecom_robot",
                ],
            ),
        ],
    },
    Own {
        case: "a golden request",
        shown_by: "golden::every_kind_of_message_is_the_request_in_its_file",
        brings: |subject| !(subject.golden)().is_empty(),
        not_for: &[],
    },
    Own {
        case: "a file uploaded",
        shown_by: "uploads::every_end_of_an_upload_has_its_class",
        brings: |subject| !(subject.uploads)().is_empty(),
        not_for: &[
            (
                "messages refer to no uploaded files",
                &[
                    "alipay_mini",
                    "custom_http",
                    "dingtalk_robot",
                    "push/apns",
                    "push/fcm",
                    "push/getui",
                    "sms/aliyun",
                    "sms/lintong",
                    "sms/tencent",
                    "sms/twilio",
                    "sms/yunpian",
                    "teams",
                    "webhook",
                    "wechat_mini",
                    "wechat_official",
                ],
            ),
            ("files are named by their address, or by an id that the supplier has", &["discord", "slack", "telegram"]),
            ("a robot has no way to upload", &["feishu_robot"]),
        ],
    },
];

/// The text of the suite's function `file::name`.
fn function(shown_by: &str) -> String {
    let (file, name) = shown_by.split_once("::").expect("file::function");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/conformance/{file}.rs"));
    let text = fs::read_to_string(&path).expect("it is there");
    let (_, body) = text.split_once(&format!("fn {name}()")).unwrap_or_else(|| panic!("there is no {shown_by}"));
    body.split("\n}\n").next().unwrap_or_default().to_owned()
}

#[test]
fn every_provider_runs_through_every_case_or_it_is_said_why_not() {
    let registered: BTreeSet<_> = Registry::new().providers().map(|provider| provider.info().name).collect();
    let mut asked: BTreeSet<_> = subjects().iter().map(|subject| subject.provider).collect();
    for (case, of_all, of_mail) in FOR_ALL {
        assert!(function(of_all).contains("for subject in subjects()"), "{case}: {of_all} leaves somebody out");
        assert!(function(of_mail).len() > 100, "{case}: {of_mail} shows nothing");
    }
    for Own { case, shown_by, brings, not_for } in OWN {
        assert!(function(shown_by).contains("for subject in subjects()"), "{case}: {shown_by} leaves somebody out");
        let lacking: BTreeSet<_> =
            subjects().iter().filter(|subject| !brings(subject)).map(|subject| subject.provider).collect();
        let excused: Vec<_> = not_for.iter().flat_map(|(_, providers)| *providers).copied().collect();
        let told: BTreeSet<_> = excused.iter().copied().collect();
        assert_eq!(
            (lacking, excused.len()),
            (told.clone(), told.len()),
            "{case}: who lacks it, and of whom it is said"
        );
    }
    asked.extend(EXCUSED.map(|(name, _)| name));
    assert_eq!(asked, registered, "nobody is asked nothing");
}
