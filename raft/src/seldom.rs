//! Says something at most once a minute, and how often it was left out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the same is not said again.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// One thing that may happen without bound and be said only now and then.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether it may be said now; then how often it was not since the last time.
    pub(crate) fn turn(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if state.said.is_some_and(|said| now.duration_since(said) < MINUTE) {
            state.left_out += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_with_the_number_left_out() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let turns: Vec<_> = [0, 1, 59, 60, 61, 200].map(|s| seldom.turn(start + Duration::from_secs(s))).into();
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
