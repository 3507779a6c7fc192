//! What stops a proof: one sentence, with what was being done when it happened.

use std::fmt::Display;

/// A proof that could not be completed, or that came out wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// The result of a step of a proof.
pub type Proof<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure in these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Says what was being done when an error came.
pub trait When<T> {
    /// Turns the error into a [`Failure`] that begins with `doing`.
    ///
    /// # Errors
    /// The failure.
    fn when(self, doing: impl Display) -> Proof<T>;
}

impl<T, E: Display> When<T> for Result<T, E> {
    fn when(self, doing: impl Display) -> Proof<T> {
        self.map_err(|error| Failure(format!("{doing}: {error}")))
    }
}

impl<T> When<T> for Option<T> {
    fn when(self, doing: impl Display) -> Proof<T> {
        self.ok_or_else(|| Failure(format!("{doing}: nothing there")))
    }
}

/// Fails with `words` unless `holds`.
///
/// # Errors
/// The failure.
pub fn ensure(holds: bool, words: impl FnOnce() -> String) -> Proof {
    if holds { Ok(()) } else { Err(Failure(words())) }
}
