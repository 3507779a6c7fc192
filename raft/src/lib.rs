//! What is agreed and kept: Raft groups on one disk and one set of peer connections.
//!
//! [`Ledgers`] is the door: it proposes to groups wherever their leader is, reads local replicas, and keeps every group
//! where control wants it. The machines themselves are in `tidings_machine`.

mod admitting;
mod answering;
mod backup;
mod base;
mod codec;
mod departing;
mod error;
mod failing;
mod founding;
mod group;
mod host;
mod leading;
mod lease;
mod leaving;
mod ledgers;
mod older;
mod options;
mod peers;
mod placement;
mod probing;
mod propose;
mod reconcile;
mod rescuing;
mod routing;
mod secret_check;
mod seldom;
#[cfg(feature = "sim")]
pub mod sim;
mod skipping;
mod status;
mod store;
#[cfg(test)]
mod testing;
mod time;
mod transfer;
mod types;

pub use admitting::force_disk;
pub use backup::{Backup, BackupError, Head as BackupHead, Restore, RestoreError, Restored, Summary, inspect, restore};
pub use error::{AskError, OpenError, ProposeError};
pub use lease::Tenure;
pub use ledgers::{AskHandler, Ledgers};
pub use options::{BatchLimits, LogLimits, MAX_ENTRY_BYTES, Options, Timing};
pub use probing::ProbeError;
pub use skipping::{Skipped, skip_entry};
pub use status::{DiskUse, GroupStatus, Replica, Role};
pub use store::{Archive, ArchiveError, Cursor, Page, Query};
pub use time::{PeerOffset, RepairedGroup, Stand, TimeReport};
pub use transfer::QuietHandler;
pub use types::{GroupId, Peer};
