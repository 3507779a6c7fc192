//! What the groups stand on and the simulation replaces: the database, the sockets, and threads that may block.

#[cfg(not(feature = "sim"))]
mod real {
    pub(crate) use ::sled;
    pub(crate) use tokio::net;
    use tokio::sync::mpsc;
    pub(crate) use tokio::task::spawn_blocking;

    /// Sends from a thread that may block.
    pub(crate) fn send_blocking<T>(to: &mpsc::Sender<T>, value: T) -> std::io::Result<()> {
        to.blocking_send(value).map_err(|_| std::io::Error::other("the receiver is gone"))
    }

    /// How many values a reader on a thread of its own holds ready.
    pub(crate) const AHEAD: usize = 2;

    /// Nanoseconds since the machine started, those included in which it slept; `None` if the system has no such clock. A
    /// paused virtual machine may stop it. Read through the C library, so that a testbed can bend it.
    pub(crate) fn boottime() -> Option<u64> {
        #[cfg(target_os = "linux")]
        let clock = nix::time::ClockId::CLOCK_BOOTTIME;
        // Elsewhere, where Tidings is only developed, it may stop while the machine sleeps.
        #[cfg(not(target_os = "linux"))]
        let clock = nix::time::ClockId::CLOCK_MONOTONIC;
        let time = std::time::Duration::from(nix::time::clock_gettime(clock).ok()?);
        u64::try_from(time.as_nanos()).ok()
    }

    /// Real processes are frozen from outside.
    #[allow(clippy::unused_async, reason = "only a simulated node waits here")]
    pub(crate) async fn awake(_node: u64) {}
}

#[cfg(feature = "sim")]
mod simulated {
    use tokio::sync::mpsc;
    pub(crate) use turmoil::net;

    pub(crate) use crate::sim::database as sled;

    /// Does it at once: a simulated node has one thread.
    pub(crate) fn spawn_blocking<T>(
        work: impl FnOnce() -> T,
    ) -> std::future::Ready<Result<T, std::convert::Infallible>> {
        std::future::ready(Ok(work()))
    }

    /// Sends where there is only one thread, which must not block.
    pub(crate) fn send_blocking<T>(to: &mpsc::Sender<T>, value: T) -> std::io::Result<()> {
        to.try_send(value).map_err(|_| std::io::Error::other("the receiver is gone"))
    }

    /// Everything is read before the first value is taken.
    pub(crate) const AHEAD: usize = 4_096;

    /// Simulated nanoseconds since the simulation began; the same on all hosts, also while one is frozen.
    pub(crate) fn boottime() -> Option<u64> {
        u64::try_from(turmoil::sim_elapsed()?.as_nanos()).ok()
    }

    pub(crate) use crate::sim::awake;
}

#[cfg(not(feature = "sim"))]
pub(crate) use real::*;
#[cfg(feature = "sim")]
pub(crate) use simulated::*;
