//! Whether a text can be a recipient of a kind, and its one normal form.

use std::str::FromStr;

use lettre::Address;
use phonenumber::country;
use tidings_contract::RecipientKind;
use url::Url;

use crate::phone;

/// Longest name of an account and longest id of a supplier's, in bytes.
const NAME_LIMIT: usize = 256;
/// Longest mail address, in bytes (RFC 5321 §4.5.3.1.3: a path of 256 with its angle brackets).
const EMAIL_LIMIT: usize = 254;
/// Longest URL, in bytes.
const URL_LIMIT: usize = 2_048;

/// Checks `text` and gives its normal form, by which partitions, dedup and suppressions know the recipient.
///
/// Phone numbers become E.164: one with `+` keeps its digits, one without is a number of mainland China. The domain of a mail address
/// becomes lower case, the part before `@` stays as it is. A URL loses its fragment, which is never sent anyway.
///
/// # Errors
/// What is wrong, for the caller who typed it.
pub fn check_recipient(kind: RecipientKind, text: &str) -> Result<String, String> {
    let text = text.trim();
    match kind {
        RecipientKind::Phone => phone::normal_form(text, country::CN),
        RecipientKind::Email => email(text),
        RecipientKind::Url => url(text),
        RecipientKind::Account | RecipientKind::Opaque => name(text),
    }
}

fn email(text: &str) -> Result<String, String> {
    if text.len() > EMAIL_LIMIT {
        return Err(format!("is longer than {EMAIL_LIMIT} bytes"));
    }
    let address = Address::from_str(text).map_err(|_| "is not a mail address".to_owned())?;
    Ok(format!("{}@{}", address.user(), address.domain().to_lowercase()))
}

fn url(text: &str) -> Result<String, String> {
    if text.len() > URL_LIMIT {
        return Err(format!("is longer than {URL_LIMIT} bytes"));
    }
    let mut url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if url.host().is_none() {
        return Err("has no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password".to_owned());
    }
    url.set_fragment(None);
    Ok(url.into())
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > NAME_LIMIT {
        return Err(format!("is longer than {NAME_LIMIT} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_come_out_in_their_normal_form() {
        use RecipientKind::{Account, Email, Opaque, Phone, Url};
        let cases = [
            (Phone, "13800138000", "+8613800138000"),
            (Phone, " +86 138-0013-8000 ", "+8613800138000"),
            (Phone, "19912345678", "+8619912345678"),
            (Phone, "+1 (212) 555-2368", "+12125552368"),
            (Phone, "+442071838750", "+442071838750"),
            (Email, "Ann.Lee@Example.COM", "Ann.Lee@example.com"),
            (Email, "a+b@mail.example.com", "a+b@mail.example.com"),
            (Url, "HTTPS://Example.com:443/In?a=b#top", "https://example.com/In?a=b"),
            (Url, "http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            (Account, " ops robot ", "ops robot"),
            (Opaque, "用户-7", "用户-7"),
        ];
        for (kind, given, expected) in cases {
            assert_eq!(check_recipient(kind, given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_cannot_be_a_recipient_is_refused() {
        use RecipientKind::{Account, Email, Opaque, Phone, Url};
        let long = "x".repeat(300);
        let cases = [
            (Phone, ""),
            (Phone, "12"),
            (Phone, "+86138001380001"),
            (Phone, "13800138000,13800138001"),
            (Phone, "call 13800138000"),
            (Phone, "13800138000;ext=5"),
            (Email, ""),
            (Email, "ann"),
            (Email, "ann@"),
            (Email, "ann@example.com\r\nBcc: all@example.com"),
            (Email, "ann@example.com, bob@example.com"),
            (Email, long.as_str()),
            (Url, "example.com/in"),
            (Url, "ftp://example.com/in"),
            (Url, "https://"),
            (Url, "https://ann:secret@example.com/"),
            (Account, " "),
            (Account, long.as_str()),
            (Opaque, "a\u{0}b"),
        ];
        for (kind, given) in cases {
            assert!(check_recipient(kind, given).is_err(), "{given:?} was accepted");
        }
    }
}
