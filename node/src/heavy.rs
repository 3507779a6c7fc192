//! Work that takes long without waiting for anything: done beside the workers that serve everybody else, and never more of it at
//! once than there are processors.

use std::num::NonZero;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Bodies that are shorter are read on the spot, in bytes: that takes less than a millisecond.
const SMALL: usize = 64 * 1024;

/// Turns for heavy work.
#[derive(Debug)]
pub(crate) struct Heavy(Semaphore);

impl Default for Heavy {
    fn default() -> Self {
        Self(Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get)))
    }
}

impl Heavy {
    /// Does `work` on so many bytes.
    pub(crate) async fn run<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes < SMALL {
            return work();
        }
        // The semaphore is never closed; without a turn the work would only be less fair.
        let _turn = self.0.acquire().await.ok();
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
            _ => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_lone_worker_serves_others_while_heavy_work_goes_on() {
        let heavy = Arc::new(Heavy::default());
        let (told, hears) = std::sync::mpsc::channel();
        // The work ends only when something else on the same worker has run meanwhile.
        let working = tokio::spawn({
            let heavy = Arc::clone(&heavy);
            async move { heavy.run(SMALL, move || hears.recv_timeout(Duration::from_secs(60)).is_ok()).await }
        });
        tokio::spawn(async move { told.send(()) });
        assert!(working.await.expect("it does not panic"), "nobody else had a turn");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_heavy_work_is_under_way_than_there_are_processors() {
        let heavy = Arc::new(Heavy::default());
        let most = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works: Vec<_> = (0..most * 8)
            .map(|_| {
                let (heavy, now, peak) = (Arc::clone(&heavy), Arc::clone(&now), Arc::clone(&peak));
                tokio::spawn(async move {
                    let work = || {
                        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    };
                    heavy.run(SMALL, work).await;
                })
            })
            .collect();
        for work in works {
            work.await.expect("it does not panic");
        }
        assert!((1..=most).contains(&peak.load(Ordering::SeqCst)));
    }
}
