//! The switch of the planted bugs: which one the simulation has turned on. Without the feature it is always off, and the
//! compiler drops every place that asks.

/// Whether this planted bug is turned on. Only builds with the feature `planted` have any.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_bug: &str) -> bool {
    false
}

/// Whether this planted bug is turned on.
#[cfg(feature = "planted")]
pub fn planted(bug: &str) -> bool {
    BUG.get().is_some_and(|on| on == bug)
}

/// Turns one planted bug on for the rest of the process.
#[cfg(feature = "planted")]
pub fn plant(bug: &str) {
    let _ = BUG.set(bug.to_owned());
}

#[cfg(feature = "planted")]
static BUG: std::sync::OnceLock<String> = std::sync::OnceLock::new();
