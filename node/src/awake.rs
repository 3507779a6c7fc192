//! A clock for how long something is ago that goes on while the machine sleeps.

/// A moment on that clock, in milliseconds since some start that is the same for the whole process.
///
/// Linux' `CLOCK_BOOTTIME` (clock_gettime(2)): like the monotonic clock, but it counts the time of a suspended machine. A
/// virtual machine that its host pauses may stop it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// Milliseconds since `earlier`; 0 if that lies ahead.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// For keeping it in an atomic.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// What [`Moment::bits`] gave.
    pub(crate) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// This moment. Read through libc, where a test can bend it.
#[cfg(not(feature = "sim"))]
pub(crate) fn now() -> Moment {
    use nix::time::{ClockId, clock_gettime};

    // Every Linux since 2.6.39 has this clock; on another system the monotonic one stands in.
    #[cfg(target_os = "linux")]
    let read = clock_gettime(ClockId::CLOCK_BOOTTIME);
    #[cfg(not(target_os = "linux"))]
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let read = read.map(std::time::Duration::from).unwrap_or_default();
    Moment(u64::try_from(read.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// This moment of the simulated time.
#[cfg(feature = "sim")]
pub(crate) fn now() -> Moment {
    // The same on all hosts; each host's own clock began at a moment of the true time.
    let passed = turmoil::sim_elapsed().unwrap_or_default();
    Moment(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_add(1))
}
