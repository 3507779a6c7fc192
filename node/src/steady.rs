//! A clock that does not fall behind what the groups have agreed on.
//!
//! Times in a log never go back. When the clock of one leader runs ahead, its partitions are ahead for good, and a node that
//! went on by its own clock would call every part too late, and wait until its own time had caught up before it tries
//! anything again. So a node takes the newest time it has applied for the present, and from there goes on at half speed
//! until its own clock is right again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_contract::{Clock, Time};
use tokio::time::Instant;

use crate::ledger::NodeLedger;

/// How often the groups' times are looked at. Far below the grace that the edge gives for clocks that differ.
const LOOK: Duration = Duration::from_millis(250);
/// Clocks that differ by less are not worth a line in the log.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The node's own clock, or the groups' time where that is ahead.
pub(crate) struct SteadyClock {
    own: Arc<dyn Clock>,
    /// The newest time heard that was ahead, and when it was heard.
    ahead: Mutex<Option<(Time, Instant)>>,
}

impl SteadyClock {
    pub(crate) fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, ahead: Mutex::new(None) }
    }

    /// Takes note of a time that a group has agreed on.
    pub(crate) fn hear(&self, at: Time) {
        let now = self.now();
        if at <= now {
            return;
        }
        if at.since(now) > WORTH_TELLING {
            tracing::warn!(ahead_ms = at.since(now).as_millis(), "the cluster's time is ahead of this node's clock");
        }
        *self.ahead.lock() = Some((at, Instant::now()));
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Time {
        let own = self.own.now();
        let ahead = *self.ahead.lock();
        ahead.map_or(own, |(at, heard)| own.max(after(at, heard.elapsed())))
    }
}

/// What a time that was heard so long ago has become, at half speed.
fn after(at: Time, elapsed: Duration) -> Time {
    at.after(elapsed / 2)
}

/// Listens to the groups that have a replica here, until the node is gone.
pub(crate) async fn listen(clock: Arc<SteadyClock>, ledger: Weak<NodeLedger>) {
    let mut every = tokio::time::interval(LOOK);
    loop {
        every.tick().await;
        let Some(ledger) = ledger.upgrade() else { return };
        if let Some(newest) = ledger.newest_time() {
            clock.hear(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Time);

    impl Clock for Fixed {
        fn now(&self) -> Time {
            self.0
        }
    }

    #[test]
    fn what_was_heard_counts_and_goes_on_at_half_speed() {
        let clock = SteadyClock::new(Arc::new(Fixed(Time(10_000))));
        clock.hear(Time(9_000));
        assert_eq!(clock.now(), Time(10_000), "what is behind changes nothing");
        clock.hear(Time(15_000));
        let heard = clock.now();
        assert!(heard >= Time(15_000));
        clock.hear(Time(14_000));
        assert!(clock.now() >= heard, "it never goes back");
        assert_eq!(after(Time(15_000), Duration::from_secs(4)), Time(17_000));
    }

    #[test]
    fn an_own_clock_that_is_ahead_is_believed() {
        let clock = SteadyClock::new(Arc::new(Fixed(Time(50_000))));
        clock.hear(Time(20_000));
        assert_eq!(clock.now(), Time(50_000));
    }
}
