//! What a node keeps: one sled database, a log, a machine, snapshots and an archive per group.

#![allow(clippy::result_large_err, reason = "openraft decides how large its StorageError is")]

mod archive;
mod archive_block;
mod archive_find;
mod archive_index;
mod archive_material;
mod archive_stream;
#[cfg(test)]
mod archive_tests;
mod companion;
mod disk;
#[cfg(not(feature = "sim"))]
mod flusher;
#[cfg(feature = "sim")]
mod flusher_sim;
mod identity;
mod log;
mod machine;
#[cfg(test)]
mod memory;
mod rewrite;
pub(crate) mod skips;
mod snapshot;
#[cfg(test)]
mod suite;
mod upgrade;
#[cfg(not(feature = "sim"))]
mod witness;

#[cfg(feature = "sim")]
use flusher_sim as flusher;

pub use archive::{Archive, ArchiveError};
pub(crate) use archive::{ArchiveStore, RecordSink};
pub use archive_index::{Cursor, Page, Query};
pub(crate) use archive_stream::ArchivePiece;
pub(crate) use disk::{Disk, DiskOptions, unreadable};
pub(crate) use identity::{Heard, Life, Position};
pub(crate) use log::{AppendWatch, DiskLog};
pub(crate) use machine::MachineStore;
pub(crate) use skips::Skips;
pub(crate) use snapshot::{ChunkWriter, SnapshotBody, SnapshotStore};
pub(crate) use upgrade::{VERSION as DISK_VERSION, check as check_version};
