//! What an HTTP status means for a delivery where a supplier gives nothing better, and when to come back.

use tidings_contract::{Blame, Outcome, Reason, Secret, Time};

use crate::http::Answer;
use crate::show;

/// Longest time a receiver can make us wait, in milliseconds: an hour.
pub(crate) const MOST_WAIT_MS: u64 = 3_600_000;

/// Classes an answer by its status alone (RFC 9110 §15).
///
/// Any 5xx is `Later`: the receiver answered, and its answer was that it had not done what was asked.
pub(crate) fn outcome_of_status(answer: &Answer, now: Time) -> Outcome {
    let code = format!("http_{}", answer.status);
    let reason = || Reason::new(code.clone(), words(answer));
    match answer.status {
        200..=299 => Outcome::Delivered { provider_id: None },
        408 | 425 | 429 | 500..=599 => Outcome::Later { reason: reason(), after_ms: retry_after(answer, now) },
        401 | 403 => Outcome::Never { reason: reason(), blame: Blame::Account },
        _ => Outcome::Never { reason: reason(), blame: Blame::Recipient },
    }
}

/// The same for a supplier's interface, whose address is the account's: what is not there or forbidden is the account's
/// fault, and a request that is refused as such is the content's.
pub(crate) fn outcome_of_api(answer: &Answer, now: Time) -> Outcome {
    match outcome_of_status(answer, now) {
        Outcome::Never { reason, .. } if matches!(answer.status, 400 | 413 | 415 | 422) => {
            Outcome::Never { reason, blame: Blame::Content }
        }
        Outcome::Never { reason, .. } => Outcome::Never { reason, blame: Blame::Account },
        other => other,
    }
}

/// `Retry-After` (RFC 9110 §10.2.3) in milliseconds, as seconds or as a date in any of the three forms of RFC 9110
/// §5.6.7, at most an hour.
pub(crate) fn retry_after(answer: &Answer, now: Time) -> Option<u64> {
    let text = answer.header("retry-after")?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1_000),
        Err(_) => {
            let then = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(then.as_millis()).unwrap_or(u64::MAX).saturating_sub(now.0)
        }
    };
    Some(wait.min(MOST_WAIT_MS))
}

/// The answer's words on one line.
pub(crate) fn words(answer: &Answer) -> String {
    // A reason keeps 300 bytes; there is no need to look at more than a few times that.
    let start = &answer.body[..answer.body.len().min(1_024)];
    String::from_utf8_lossy(start).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The outcome with every one of `secrets` taken out of its words.
pub(crate) fn without<'a>(mut outcome: Outcome, secrets: impl IntoIterator<Item = &'a Secret>) -> Outcome {
    if let Outcome::Later { reason, .. } | Outcome::Never { reason, .. } | Outcome::Unknown { reason } = &mut outcome {
        for secret in secrets {
            reason.words = show::without(&reason.words, &show::forms(secret));
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::{HeaderMap, HeaderValue};

    fn answer(status: u16, retry_after: Option<&'static str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert("retry-after", HeaderValue::from_static(text));
        }
        Answer { status, headers, body: Bytes::from_static(b"the\n  words"), cut: false }
    }

    #[test]
    fn every_status_has_its_class() {
        let cases = [
            (200, "delivered"),
            (204, "delivered"),
            (301, "never"),
            (400, "never"),
            (404, "never"),
            (408, "later"),
            (410, "never"),
            (425, "later"),
            (429, "later"),
            (500, "later"),
            (502, "later"),
            (503, "later"),
            (504, "later"),
        ];
        for (status, class) in cases {
            let outcome = outcome_of_status(&answer(status, None), Time(0));
            assert_eq!(outcome.class(), class, "{status}");
            if let Some(reason) = outcome.reason() {
                assert_eq!(reason.to_string(), format!("http_{status}: the words"));
            }
        }
        for (status, expected) in [(401, Blame::Account), (403, Blame::Account), (404, Blame::Recipient)] {
            let outcome = outcome_of_status(&answer(status, None), Time(0));
            assert!(matches!(outcome, Outcome::Never { blame, .. } if blame == expected), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_clamped() {
        // 1994-11-06 08:49:37 GMT, the example of RFC 9110 §5.6.7.
        let date = 784_111_777_000;
        let cases = [
            (None, 0, None),
            (Some("7"), 0, Some(7_000)),
            (Some("0"), 0, Some(0)),
            (Some("99999999999999999999"), 0, None),
            (Some("86400"), 0, Some(MOST_WAIT_MS)),
            (Some("soon"), 0, None),
            (Some("-5"), 0, None),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), date - 90_000, Some(90_000)),
            (Some("Sunday, 06-Nov-94 08:49:37 GMT"), date - 90_000, Some(90_000)),
            (Some("Sun Nov  6 08:49:37 1994"), date - 90_000, Some(90_000)),
            (Some("Sun, 06 Nov 1994 08:49:37"), date - 90_000, None),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), date + 1, Some(0)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0, Some(MOST_WAIT_MS)),
        ];
        for (text, now, expected) in cases {
            assert_eq!(retry_after(&answer(429, text), Time(now)), expected, "{text:?}");
        }
    }
}
