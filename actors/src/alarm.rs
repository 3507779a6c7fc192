//! The next time at which a dispatcher wants to be woken.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_contract::Time;
use tokio::sync::Notify;

/// Set by a dispatcher, watched by its timers. It belongs to the process, so that either may be restarted.
#[derive(Debug)]
pub(crate) struct Alarm {
    next: AtomicU64,
    earlier: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { next: AtomicU64::new(u64::MAX), earlier: Notify::new() }
    }
}

impl Alarm {
    /// Sets the alarm; `None` for never.
    pub(crate) fn set(&self, at: Option<Time>) {
        let at = at.map_or(u64::MAX, |at| at.0);
        if at < self.next.swap(at, Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// When it is due.
    pub(crate) fn next(&self) -> Time {
        Time(self.next.load(Ordering::SeqCst))
    }

    /// Waits until it is set to an earlier time.
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
