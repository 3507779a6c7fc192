//! What is written with every sync beside the work that asked for it, by the real flusher and the simulated one.

use std::io;
use std::sync::{Arc, OnceLock};

/// Writes what is to be durable with every sync.
pub(crate) type Companion = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// The companion, once there is one.
#[derive(Clone, Default)]
pub(super) struct Beside(Arc<OnceLock<Companion>>);

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Beside")
    }
}

impl Beside {
    /// Has `companion` run from here on; the first one that is given stays.
    pub(super) fn set(&self, companion: Companion) {
        let _ = self.0.set(companion);
    }

    /// Has it write what it has.
    pub(super) fn write(&self) -> io::Result<()> {
        self.0.get().map_or(Ok(()), |companion| companion())
    }
}
