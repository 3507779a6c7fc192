//! Backup and restore: one checksummed file with every group of the cluster, and a new cluster made of it.
//!
//! The file is a magic, a version and records, each with its own checksum. A *section* is one group as one replica knew
//! it at one log index: the pieces of its snapshot, the rows of its archive, and the entries that were applied since the
//! snapshot. Partitions come first and control last, so that whatever a partition refers to is in control.

mod check;
mod collect;
mod format;
mod give;
mod restore;
mod sessions;

pub use check::{Summary, inspect};
pub use collect::{Backup, BackupError};
pub use format::Head;
pub use restore::{Restore, RestoreError, Restored, restore};
pub(crate) use sessions::Departures;
