//! Wall time as milliseconds since the Unix epoch, and the one way to ask for it.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in wall time, in milliseconds since the Unix epoch (UTC).
///
/// In JSON it is an RFC 3339 string; in binary formats a plain integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// `self` moved on by `span`, stopping at the end of time instead of wrapping.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        self.after_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// `self` moved on by `ms` milliseconds, stopping at the end of time instead of wrapping.
    #[must_use]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Days since the Unix epoch (UTC): the name of an archive day.
    pub const fn day(self) -> u32 {
        (self.0 / 86_400_000) as u32
    }

    /// Reads an RFC 3339 time such as `2026-11-23T09:00:00Z` or `2026-11-23T17:00:00+08:00`.
    ///
    /// # Errors
    /// What is wrong with the text, for the caller who typed it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let stamp: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| e.to_string())?;
        u64::try_from(stamp.as_millisecond()).map(Self).map_err(|_| "times before 1970 are not accepted".to_owned())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match stamp {
            Some(stamp) => write!(f, "{stamp:.3}"),
            None => f.write_str("never"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Where wall time enters the program; used by proposers and timers, never by a machine.
pub trait Clock: Send + Sync + 'static {
    /// The wall time now.
    fn now(&self) -> Time;

    /// The time that has elapsed since some fixed moment. It never jumps, however the wall clock is set, and goes on while
    /// the machine sleeps. A clock that does not say otherwise is one whose wall time never jumps.
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_in_json_and_survives_the_round_trip() {
        let time = Time(1_795_456_800_123);
        let json = serde_json::to_string(&time).expect("a time is serializable");
        assert_eq!(json, "\"2026-11-23T18:00:00.123Z\"");
        assert_eq!(serde_json::from_str::<Time>(&json).expect("and readable"), time);
    }

    #[test]
    fn a_zone_offset_is_understood_and_nonsense_is_refused() {
        assert_eq!(Time::parse("1970-01-01T08:00:01+08:00"), Ok(Time(1_000)));
        for bad in ["tomorrow", "2026-13-01T00:00:00Z", "1960-01-01T00:00:00Z", ""] {
            assert!(Time::parse(bad).is_err(), "{bad} was accepted");
        }
    }
}
