//! Reads what the suppliers' receipts have in common: times of China, phone numbers, and a key in the address.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use tidings_contract::{Reason, ReceiptMark, RecipientKind, Secret, Time};
use url::form_urlencoded;

use crate::check_recipient;

/// A time such as `2015-10-17 08:03:04` on the clocks of China (UTC+8, no summer time); `None` if it is none.
pub(crate) fn china_time(text: &str) -> Option<Time> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    let zoned = civil.to_zoned(TimeZone::fixed(Offset::constant(8))).ok()?;
    u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Time)
}

/// A supplier's way of writing a phone number in E.164; as it is, if it is none.
///
/// Without a country, eleven digits that begin as a mobile number of China does are one; anything else begins with its
/// country, with or without a plus.
pub(crate) fn phone_of(country: &str, number: &str) -> String {
    let bare = number.trim_start_matches('+');
    let second = bare.as_bytes().get(1).copied().unwrap_or_default();
    let text = match country.trim_start_matches('+') {
        "" if bare == number && bare.len() == 11 && bare.starts_with('1') && second >= b'3' => format!("+86{bare}"),
        "" => format!("+{bare}"),
        country => format!("+{country}{bare}"),
    };
    check_recipient(RecipientKind::Phone, &text).unwrap_or_else(|_| number.to_owned())
}

/// Received, or come back.
pub(crate) const fn mark(received: bool) -> ReceiptMark {
    if received { ReceiptMark::Received } else { ReceiptMark::Bounced }
}

/// Whether a callback came to the address with the right `key` in its query. The host gives the address's path and query
/// as the header `:path`. For suppliers that sign nothing; without a key set, nothing is believed.
///
/// # Errors
/// Why the callback is not believed.
pub(crate) fn called_with_key(key: Option<&Secret>, headers: &[(String, String)]) -> Result<(), Reason> {
    let Some(key) = key else {
        return Err(Reason::new("no_callback_key", "the account has no callback_key, so no callback is believed"));
    };
    let path = headers.iter().find(|(name, _)| name == ":path").map_or("", |(_, value)| value.as_str());
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "key");
    // Both are hashed, so that the time it takes says nothing about how much of it was right.
    let same = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    if given.is_some_and(|(_, given)| same(&given).as_ref() == same(key.expose()).as_ref()) {
        return Ok(());
    }
    Err(Reason::new("callback_key", "the callback's address does not hold the account's callback_key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_china_and_numbers_of_anywhere_are_read() {
        assert_eq!(china_time("1970-01-01 08:00:01"), Some(Time(1_000)));
        assert_eq!(china_time("2015-10-17 08:03:04"), Time::parse("2015-10-17T08:03:04+08:00").ok());
        assert_eq!(china_time("yesterday"), None);
        assert_eq!(phone_of("86", "13800138000"), "+8613800138000");
        assert_eq!(phone_of("", "13800138000"), "+8613800138000");
        assert_eq!(phone_of("1", "2125552368"), "+12125552368");
        assert_eq!(phone_of("", "12125552368"), "+12125552368");
        assert_eq!(phone_of("", "85291234567"), "+85291234567");
        assert_eq!(phone_of("", "+13105552368"), "+13105552368");
        assert_eq!(phone_of("", "x"), "x");
    }

    #[test]
    fn a_callback_without_the_key_is_not_believed() {
        let key = Secret::new("s3cret+key");
        let path = |path: &str| vec![(":path".to_owned(), path.to_owned())];
        assert!(called_with_key(Some(&key), &path("/v1/callbacks/a?x=1&key=s3cret%2Bkey")).is_ok());
        for wrong in ["/v1/callbacks/a", "/v1/callbacks/a?key=", "/v1/callbacks/a?key=s3cret", "?yek=s3cret%2Bkey"] {
            assert!(called_with_key(Some(&key), &path(wrong)).is_err(), "{wrong}");
        }
        assert!(called_with_key(Some(&key), &[]).is_err() && called_with_key(None, &path("/?key=")).is_err());
    }
}
