//! The wall clock of a simulated node: simulated time, and how wrong this node's clock is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidings_contract::{Clock, Time};

/// Noon of a day in 2026.
const START: u64 = 1_780_315_200_000;

/// Simulated milliseconds since the simulation began. Only on a simulated host.
pub(crate) fn elapsed() -> u64 {
    turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// The clock of one node.
#[derive(Debug)]
pub(crate) struct SimClock {
    /// By how many milliseconds it is ahead.
    pub(crate) ahead: Arc<AtomicI64>,
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        Time((START + elapsed()).saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }

    /// Every machine began when the simulation did.
    fn elapsed(&self) -> Duration {
        Duration::from_millis(elapsed())
    }
}

/// So many simulated milliseconds after the beginning that time is.
pub(crate) fn since_start(time: Time) -> u64 {
    time.0.saturating_sub(START)
}

/// The text form of the right time so many milliseconds from now.
pub(crate) fn in_ms(ms: u64) -> String {
    Time(START + elapsed() + ms).to_string()
}
