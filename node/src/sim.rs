//! The door of the simulation: what it needs to start a node, to break its disk and to compare its replicas.

pub use tidings_channels::Registry;
pub use tidings_config::Config;
pub use tidings_raft::sim::{Copy, Replica, awake, copy, crash, freeze, put_back, set_sync, wipe};

pub use tidings_actors::render::RenderError;
pub use tidings_actors::render::apart::{Apart, Asked, Told, Whose, Wish, here as fill_here, install as install_apart};
use tidings_contract::PartitionId;

use crate::Running;

/// Looks into a running node.
pub type Look = Box<dyn Fn(PartitionId) -> Option<Replica>>;

impl Running {
    /// Gives what looks at the replicas of this node; of use until it dies.
    pub fn look(&self) -> Look {
        let app = std::sync::Arc::downgrade(&self.app);
        Box::new(move |partition| app.upgrade()?.ledger.replica(partition))
    }
}
