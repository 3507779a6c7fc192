//! How steadily the machine runs: how much later than asked a thread wakes up. A proof that measures rates says by this whether
//! the machine was quiet enough for its figures to speak about Tidings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Proof;
use crate::failure::When;

/// How long the thread asks to sleep.
const NAP: Duration = Duration::from_millis(5);

/// A thread that naps until it is asked what it found.
#[derive(Debug)]
pub struct Steadiness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Steadiness {
    /// Begins to watch.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, no worker")]
    pub fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut late = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let asked = Instant::now();
                thread::sleep(NAP);
                late.push(asked.elapsed().saturating_sub(NAP));
            }
            late
        });
        Self { stop, thread }
    }

    /// How late one nap in a hundred ended, or later.
    ///
    /// # Errors
    /// When the thread died.
    pub fn one_in_a_hundred(self) -> Proof<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut late = self.thread.join().ok().when("asking how steadily the machine ran")?;
        late.sort_unstable();
        Ok(late.get(late.len() * 99 / 100).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_ends_when_it_is_asked_and_tells_a_time() {
        let watch = Steadiness::watch();
        assert!(watch.one_in_a_hundred().is_ok_and(|late| late < Duration::from_secs(60)));
    }
}
