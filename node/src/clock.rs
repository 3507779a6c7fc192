//! The one place where wall time enters the process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use tidings_contract::{Clock, Time};

/// The clock of the machine it runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one implementation the lint points to")]
    fn now(&self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// `CLOCK_BOOTTIME` of the C library (clock_gettime(2)): it counts the time that the machine was suspended. A virtual
    /// machine that its host pauses may find that it stood still.
    fn elapsed(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_knows_what_century_it_is() {
        assert!(SystemClock.now() > Time(1_700_000_000_000));
    }

    #[test]
    fn elapsed_time_is_that_since_the_machine_started() {
        let (first, second) = (SystemClock.elapsed(), SystemClock.elapsed());
        assert!(first > Duration::ZERO && second >= first, "{first:?}, then {second:?}");
    }
}
