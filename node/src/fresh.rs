//! Makes sure control is fresh, once for everybody who waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::app::App;
use crate::problem::Problem;

/// Lets callers share a confirmation that began after all of them came.
///
/// Strangers with made-up keys or template names can ask for as many confirmations as they like; one is under way at a time.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    begun: AtomicU64,
    /// The number of the last confirmation that succeeded.
    confirmed: Mutex<u64>,
    /// Whether one has.
    caught_up: AtomicBool,
}

impl App {
    /// Returns once the local control has everything that was committed before the call.
    pub(crate) async fn fresh_control(&self) -> Result<(), Problem> {
        let seen = self.freshness.begun.load(Ordering::SeqCst);
        let mut confirmed = self.freshness.confirmed.lock().await;
        if *confirmed > seen {
            return Ok(());
        }
        let number = self.freshness.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.ledger.fresh_control().await.map_err(Problem::from)?;
        *confirmed = number;
        self.freshness.caught_up.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Returns once the local control has everything that was committed before this process began. A replica that comes
    /// back has the newest changes in its log and does not know that they are committed until somebody tells it: policies,
    /// templates and accounts are those of a moment ago till then.
    pub(crate) async fn caught_up(&self) -> Result<(), Problem> {
        if self.freshness.caught_up.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.fresh_control().await
    }
}
