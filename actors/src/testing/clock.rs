//! A wall clock that moves with tokio's time, so that a test that pauses one pauses both.

use tidings_contract::{Clock, Time};
use tokio::time::Instant;

/// A wall clock that moves with tokio's time.
#[derive(Debug)]
pub struct TokioClock {
    start: Instant,
    base: Time,
}

impl TokioClock {
    /// A clock that shows `base` now.
    pub fn at(base: Time) -> Self {
        Self { start: Instant::now(), base }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Time {
        self.base.after(self.start.elapsed())
    }
}
