//! Work that may take long: on a thread of its own, so that nobody waits for it; in a simulation at once.

#[cfg(not(feature = "sim"))]
pub(crate) use tokio::task::spawn_blocking;

/// Does it at once. A thread would end at a moment of the true time, and the same seed would live another life.
#[cfg(feature = "sim")]
pub(crate) fn spawn_blocking<T>(work: impl FnOnce() -> T) -> std::future::Ready<Result<T, std::convert::Infallible>> {
    std::future::ready(Ok(work()))
}
