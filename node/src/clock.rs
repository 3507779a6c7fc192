//! The one place where wall time enters the process.

use std::time::{SystemTime, UNIX_EPOCH};

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_knows_what_century_it_is() {
        assert!(SystemClock.now() > Time(1_700_000_000_000));
    }
}
