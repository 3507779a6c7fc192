//! Phone numbers: what people write and paste, its one normal form (E.164, ITU-T), and which numbers take no message.
//!
//! A number that begins with `+` keeps its digits: it is asked only whether its country has numbers of that length. No parser
//! puts another number in its place, as one that reads it by the dialling rules of some other country would. Without `+` it is
//! a number of the default country.

use phonenumber::country;
use phonenumber::metadata::{DATABASE, Descriptor, Metadata};

/// Longest text, in characters: a number of 15 digits, with signs between and some that nobody sees around it.
const TEXT: usize = 64;
/// Fewest and most digits of a number with its country code (ITU-T E.164 §6.1 names the most; the shortest in use have six, in Iran).
const DIGITS: (usize, usize) = (6, 15);

/// The normal form of a number; one without `+` is a number of `home`.
///
/// # Errors
/// What is wrong, for the caller who typed it.
pub(crate) fn normal_form(text: &str, home: country::Id) -> Result<String, String> {
    let not_one = || "is not a phone number".to_owned();
    let digits = digits(text).ok_or_else(not_one)?;
    let (plus, digits) = match digits.strip_prefix('+') {
        Some(digits) => (true, digits),
        None => (false, digits.as_str()),
    };
    if digits.is_empty() {
        return Err(not_one());
    }
    // Whoever dials from home leaves the country this way; no number of a country begins so.
    let abroad = if plus { Some(digits) } else { digits.strip_prefix("00") };
    match abroad {
        Some(digits) if plus || leaves_by_two_zeros(home) => international(digits),
        _ => of_home(digits, home),
    }
}

/// The digits, and the `+` before them, out of what people write: signs that stand between digits, and those that nobody sees, fall
/// away; digits and signs of full width are digits and signs. `None` if there is anything else.
fn digits(text: &str) -> Option<String> {
    if text.chars().count() > TEXT {
        return None;
    }
    let mut digits = String::with_capacity(16);
    for sign in text.chars() {
        match sign {
            '0'..='9' => digits.push(sign),
            '\u{ff10}'..='\u{ff19}' => digits.push(char::from_digit(u32::from(sign) - 0xff10, 10)?),
            '+' | '\u{ff0b}' if digits.is_empty() => digits.push('+'),
            '-' | '(' | ')' | '.' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            '\u{ff08}' | '\u{ff09}' | '\u{ff0d}' | '\u{ff0e}' => {}
            _ if sign.is_whitespace() && !sign.is_control() => {}
            // Zero width, marks and embeddings of direction, soft hyphen, byte order mark.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' => {}
            '\u{ad}' | '\u{feff}' => {}
            _ => return None,
        }
    }
    Some(digits)
}

/// A number with its country code.
fn international(digits: &str) -> Result<String, String> {
    if !(DIGITS.0..=DIGITS.1).contains(&digits.len()) {
        return Err(format!(
            "has {} digits; a phone number with its country code has {} to {}",
            digits.len(),
            DIGITS.0,
            DIGITS.1
        ));
    }
    // No country code begins another one.
    let Some((code, national, regions)) = (1..=3).find_map(|length| {
        let (code, national) = digits.split_at_checked(length)?;
        let code: u16 = code.parse().ok().filter(|code: &u16| code.to_string().len() == length)?;
        Some((code, national, DATABASE.by_code(&code)?))
    }) else {
        return Err("begins with no country code; write it as +<country><number>".to_owned());
    };
    if !regions.iter().any(|region| is_valid(region, national) || is_possible(region, national)) {
        let zero = if national.starts_with('0') { " (without the 0 that is dialled inside the country)" } else { "" };
        return Err(format!("has not as many digits as a number of +{code} has{zero}"));
    }
    if regions.iter().any(|region| is_shared_cost(region, national)) {
        return Err("is a number of which callers bear a part of the cost, and takes no messages".to_owned());
    }
    Ok(format!("+{digits}"))
}

/// A number of a country, as it is written there: with or without the digits that are dialled before it, or with the country
/// code and no `+`.
fn of_home(digits: &str, home: country::Id) -> Result<String, String> {
    let unknown = || format!("is not a phone number of {}; write it as +<country><number>", home.as_ref());
    let region = DATABASE.by_id(home.as_ref()).ok_or_else(unknown)?;
    let code = region.country_code().to_string();
    let forms = [
        Some(digits),
        region.national_prefix().and_then(|trunk| digits.strip_prefix(trunk)),
        digits.strip_prefix(&code),
    ];
    let known = forms.iter().copied().flatten().find(|national| is_valid(region, national));
    // The list of prefixes in use is older than the newest of them; but a mobile number has a length of its own.
    let mobile = |national: &&str| has_length(region.descriptors().mobile(), national) && !national.starts_with('0');
    match known.or_else(|| forms.iter().copied().flatten().find(mobile)) {
        Some(national) => international(&format!("{code}{national}")),
        None => Err(unknown()),
    }
}

/// Whether the number is one of those that are given out, as far as is known.
fn is_valid(region: &Metadata, national: &str) -> bool {
    let all = region.descriptors();
    let kinds = [
        all.mobile(),
        all.fixed_line(),
        all.toll_free(),
        all.voip(),
        all.premium_rate(),
        all.shared_cost(),
        all.personal_number(),
        all.pager(),
        all.uan(),
        all.voicemail(),
    ];
    all.general().is_match(national) && kinds.into_iter().flatten().any(|kind| kind.is_match(national))
}

/// Whether subscribers have numbers of so many digits: more of them are given out than are known here.
fn is_possible(region: &Metadata, national: &str) -> bool {
    let descriptors = region.descriptors();
    has_length(descriptors.mobile(), national) || has_length(descriptors.fixed_line(), national)
}

fn has_length(kind: Option<&Descriptor>, national: &str) -> bool {
    let lengths = kind.map(Descriptor::possible_length).unwrap_or_default();
    u16::try_from(national.len()).is_ok_and(|length| lengths.contains(&length))
}

fn is_shared_cost(region: &Metadata, national: &str) -> bool {
    region.descriptors().shared_cost().is_some_and(|kind| kind.is_match(national))
}

/// Whether numbers of other countries are dialled there with two zeros.
fn leaves_by_two_zeros(home: country::Id) -> bool {
    let prefix = DATABASE.by_id(home.as_ref()).and_then(Metadata::international_prefix);
    prefix.is_some_and(|prefix| prefix.find("00").is_some_and(|found| found.start() == 0 && found.end() == 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        normal_form(text, country::CN)
    }

    #[test]
    fn a_number_with_a_plus_keeps_its_digits_whatever_country_it_is_of() {
        // Each of them was read by China's rules once, or refused.
        for number in [
            "+4917910653396",
            "+2250708123456",
            "+2290197123456",
            "+201112345678",
            "+60123456789",
            "+254112345678",
            "+5511912345678",
            "+390612345678",
            "+393123456789",
            "+881612345678",
            "+870773111632",
            "+8617412345678",
            "+8617912003456",
            "+12125552368",
            "+37041234567",
        ] {
            assert_eq!(read(number).as_deref(), Ok(number));
        }
    }

    #[test]
    fn what_people_paste_is_the_number_that_they_see() {
        for text in [
            "+86 138-0013-8000",
            "\u{202d}+86 138 0013 8000\u{202c}",
            "+86\u{a0}138\u{2011}0013\u{2011}8000",
            "\u{ff0b}\u{ff18}\u{ff16}\u{ff11}\u{ff13}\u{ff18}\u{ff10}\u{ff10}\u{ff11}\u{ff13}\u{ff18}\u{ff10}\u{ff10}\u{ff10}",
            "\u{feff}13800138000\u{200b}",
            "138.0013.8000",
            "(+86) 13800138000",
            "0086 13800138000",
            "86 13800138000",
            "013800138000",
            "13800138000",
        ] {
            assert_eq!(read(text).as_deref(), Ok("+8613800138000"), "{text:?}");
        }
        for (text, expected) in [
            ("020-8888 8888", "+862088888888"),
            ("00 49 179 10653396", "+4917910653396"),
            ("17412345678", "+8617412345678"),
            ("17912003456", "+8617912003456"),
            ("14912345678", "+8614912345678"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn without_a_plus_it_is_a_number_of_the_country_that_was_asked_for() {
        for (home, text, expected) in [
            (country::DE, "0179 10653396", "+4917910653396"),
            (country::DE, "17910653396", "+4917910653396"),
            (country::IT, "06 1234 5678", "+390612345678"),
            (country::GB, "020 7183 8750", "+442071838750"),
            (country::US, "(212) 555-2368", "+12125552368"),
            (country::US, "1 212 555 2368", "+12125552368"),
            (country::DE, "0086 13800138000", "+8613800138000"),
        ] {
            assert_eq!(normal_form(text, home).as_deref(), Ok(expected), "{text} in {home:?}");
        }
    }

    #[test]
    fn what_is_no_number_or_takes_no_message_is_refused_by_name() {
        for (text, words) in [
            ("", "is not a phone number"),
            ("+", "is not a phone number"),
            ("call 13800138000", "is not a phone number"),
            ("13800138000;ext=5", "is not a phone number"),
            ("13800138000,13800138001", "is not a phone number"),
            ("+86+13800138000", "is not a phone number"),
            ("12", "is not a phone number of CN"),
            ("1380013800", "is not a phone number of CN"),
            ("138001380001", "is not a phone number of CN"),
            ("+86138001380001", "has not as many digits"),
            ("+44 (0)20 7183 8750", "without the 0"),
            ("+12345", "has 5 digits"),
            ("+1234567890123456", "has 16 digits"),
            ("+2101234567", "begins with no country code"),
            ("+41840123456", "bear a part of the cost"),
            ("+33884012345", "bear a part of the cost"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }
}
