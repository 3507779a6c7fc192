//! How many files and sockets this process may have open, raised as far as the system lets it.

/// What is assumed where the system does not say.
const UNKNOWN: u64 = 1_024;

/// Raises the limit of open descriptors to the hard one, as a process may (getrlimit(2)), and says so.
#[cfg(not(feature = "sim"))]
pub(crate) fn raise() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= hard {
        tracing::info!(descriptors = soft, "the limit of descriptors is as high as it may be");
        return;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => tracing::info!(descriptors = hard, before = soft, "the limit of descriptors was raised"),
        Err(error) => tracing::warn!(%error, descriptors = soft, "the limit of descriptors cannot be raised"),
    }
}

/// How many descriptors this process may have.
#[cfg(not(feature = "sim"))]
pub(crate) fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};

    getrlimit(Resource::RLIMIT_NOFILE).map_or(UNKNOWN, |(soft, _)| soft)
}

/// The sockets of a simulated machine are no descriptors.
#[cfg(feature = "sim")]
pub(crate) fn raise() {}

#[cfg(feature = "sim")]
pub(crate) fn limit() -> u64 {
    UNKNOWN * UNKNOWN
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn the_limit_is_the_hard_one_after_it_was_raised() {
        super::raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the system says");
        assert_eq!((soft, super::limit()), (hard, hard));
    }
}
