//! Times and spans as people read them.

use tidings_contract::Time;

/// A span of milliseconds with three figures or two units: `7 ms`, `1.03 s`, `2 min 5 s`, `3 h 20 min`, `4 d 6 h`.
pub(super) fn span(ms: u64) -> String {
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |unit: u64, name: &str, less: u64, less_name: &str| match ms % unit / less {
        0 => format!("{} {name}", ms / unit),
        rest => format!("{} {name} {rest} {less_name}", ms / unit),
    };
    match ms {
        0..SECOND => format!("{ms} ms"),
        SECOND..MINUTE => format!("{}.{:02} s", ms / SECOND, ms % SECOND / 10),
        MINUTE..HOUR => two(MINUTE, "min", SECOND, "s"),
        HOUR..DAY => two(HOUR, "h", MINUTE, "min"),
        _ => two(DAY, "d", HOUR, "h"),
    }
}

/// A time of the API, shortened for a line: `2026-11-23 18:00:00.123` (UTC). What is no time stays as it is.
pub(super) fn absolute(text: &str) -> String {
    text.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}

/// Milliseconds from `start` to `end`, both times of the API; none when one is no time or `end` is before `start`.
pub(super) fn between(start: &str, end: &str) -> Option<u64> {
    let (start, end) = (Time::parse(start).ok()?, Time::parse(end).ok()?);
    end.0.checked_sub(start.0)
}

/// Takes an argument that is a time, for clap.
///
/// # Errors
/// What is wrong with it.
pub(super) fn argument(text: &str) -> Result<String, String> {
    Time::parse(text).map(|time| time.to_string()).map_err(|error| format!("{error}; write 2026-11-23T09:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_short_at_every_length() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_034, "1.03 s"),
            (59_999, "59.99 s"),
            (125_000, "2 min 5 s"),
            (7_200_000, "2 h"),
            (12_000_000, "3 h 20 min"),
            (367_200_000, "4 d 6 h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn a_time_is_shortened_and_an_argument_is_brought_to_utc() {
        assert_eq!(absolute("2026-11-23T18:00:00.123Z"), "2026-11-23 18:00:00.123");
        assert_eq!(argument("2026-11-23T17:00:00+08:00").as_deref(), Ok("2026-11-23T09:00:00.000Z"));
        assert!(argument("tomorrow").is_err());
        assert_eq!(between("2026-11-23T18:00:00.000Z", "2026-11-23T18:00:01.500Z"), Some(1_500));
        assert_eq!(between("2026-11-23T18:00:02.000Z", "2026-11-23T18:00:01.500Z"), None);
    }
}
