//! Sending a snapshot, with the archive that belongs to it, piece by piece, and taking one in.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use openraft::Snapshot;
use openraft::raft::SnapshotResponse;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::client::{CallError, Lane};
use super::network::Remote;
use super::wire::Kind;
use crate::base::{AHEAD, send_blocking, spawn_blocking};
use crate::store::{ArchivePiece, ArchiveStore, ChunkWriter, SnapshotBody, SnapshotStore};
use crate::types::{GroupId, LogId, SnapshotMeta, Types, Vote};

/// Time limit of one piece.
const PIECE_LIMIT: Duration = Duration::from_secs(10);
/// An arrival that nobody went on with is given up.
const IDLE: Duration = Duration::from_secs(60);
/// Most snapshots that arrive at once.
const ARRIVALS: usize = 32;

/// One piece on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// Bytes of the machine, in order.
    Machine(#[serde(with = "raw")] Vec<u8>),
    /// Rows of the archive.
    Archive(ArchivePiece),
    /// The archive is complete up to this log index.
    ArchiveEnd(u64),
}

mod raw {
    //! Bytes as bytes, not as a list of numbers.
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        <bytes::Bytes as serde::Deserialize>::deserialize(deserializer).map(Vec::from)
    }
}

/// What is sent with the last piece.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Complete {
    pub(crate) arrival: u64,
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// The entries that its maker passed over, and those that it will.
    pub(crate) skips: Vec<LogId>,
    size: (u32, u64, u64),
}

/// Sends everything and waits until it is installed.
pub(super) async fn send_snapshot(
    remote: &Remote,
    vote: Vote,
    snapshot: Snapshot<Types>,
    install_within: Duration,
) -> Result<SnapshotResponse<u64>, CallError> {
    let arrival: u64 = remote.ask(Lane::Bulk, Kind::SnapshotBegin, &vote, PIECE_LIMIT).await?;
    let archive = (remote.network.archives)(remote.group);
    let body = (*snapshot.snapshot).clone();
    let size = body.size();
    // Two pieces are read ahead while one travels.
    let (ahead, mut pieces) = mpsc::channel(AHEAD);
    let reading = spawn_blocking(move || read_ahead(&body, archive.as_deref(), &ahead));
    while let Some(piece) = pieces.recv().await {
        let () = remote.ask(Lane::Bulk, Kind::SnapshotPiece, &(arrival, piece), PIECE_LIMIT).await?;
    }
    reading.await.map_err(not_sent)?.map_err(not_sent)?;
    let size = (size.pieces, size.bytes, size.checksum);
    let complete = Complete { arrival, vote, meta: snapshot.meta, skips: remote.skips.marks(), size };
    remote.ask(Lane::Bulk, Kind::SnapshotEnd, &complete, install_within).await
}

fn not_sent(error: impl std::fmt::Display) -> CallError {
    CallError::NotSent(error.to_string())
}

fn read_ahead(body: &SnapshotBody, archive: Option<&ArchiveStore>, ahead: &mpsc::Sender<Piece>) -> std::io::Result<()> {
    for number in 0..body.size().pieces {
        send_blocking(ahead, Piece::Machine(body.piece(number)?.to_vec()))?;
    }
    if let Some(archive) = archive {
        let mut walk = archive.walk()?;
        while let Some(piece) = walk.next_piece()? {
            send_blocking(ahead, Piece::Archive(piece))?;
        }
        send_blocking(ahead, Piece::ArchiveEnd(walk.watermark))?;
    }
    Ok(())
}

/// Snapshots that are arriving from leaders.
#[derive(Default)]
pub(crate) struct Arrivals {
    open: Mutex<HashMap<u64, Arrival>>,
}

struct Arrival {
    group: GroupId,
    touched: Instant,
    state: Arc<Mutex<Taking>>,
}

struct Taking {
    writer: Option<ChunkWriter>,
    archive: Option<Arc<ArchiveStore>>,
    archive_begun: bool,
}

impl Arrivals {
    /// Makes room for one.
    pub(crate) fn begin(
        &self,
        group: GroupId,
        snapshots: &SnapshotStore,
        archive: Option<Arc<ArchiveStore>>,
    ) -> Result<u64, String> {
        let writer = Some(snapshots.writer().map_err(|e| e.to_string())?);
        let state = Arc::new(Mutex::new(Taking { writer, archive, archive_begun: false }));
        let mut open = self.open.lock();
        open.retain(|_, arrival| arrival.group != group && arrival.touched.elapsed() < IDLE);
        if open.len() >= ARRIVALS {
            return Err("too many snapshots arrive at once".into());
        }
        let number = rand::random();
        open.insert(number, Arrival { group, touched: Instant::now(), state });
        Ok(number)
    }

    fn find(&self, group: GroupId, number: u64) -> Result<Arc<Mutex<Taking>>, String> {
        let mut open = self.open.lock();
        let arrival = open.get_mut(&number).filter(|a| a.group == group).ok_or("this snapshot was given up")?;
        arrival.touched = Instant::now();
        Ok(Arc::clone(&arrival.state))
    }

    /// Takes one piece.
    pub(crate) async fn piece(&self, group: GroupId, number: u64, piece: Piece) -> Result<(), String> {
        let state = self.find(group, number)?;
        let taken = spawn_blocking(move || state.lock().take(piece)).await;
        taken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// The complete snapshot, checked against what its sender says it is.
    pub(crate) async fn end(&self, group: GroupId, complete: &Complete) -> Result<SnapshotBody, String> {
        let state = self.find(group, complete.arrival)?;
        self.open.lock().remove(&complete.arrival);
        let writer = state.lock().writer.take().ok_or("this snapshot ended before")?;
        let finished = spawn_blocking(move || writer.finish()).await;
        let body = finished.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let size = body.size();
        if (size.pieces, size.bytes, size.checksum) == complete.size {
            Ok(body)
        } else {
            Err("the snapshot that arrived is not the one that was sent".into())
        }
    }
}

impl Taking {
    fn take(&mut self, piece: Piece) -> std::io::Result<()> {
        let ended = || std::io::Error::other("this snapshot ended before");
        match piece {
            Piece::Machine(bytes) => self.writer.as_mut().ok_or_else(ended)?.write_all(&bytes),
            Piece::Archive(rows) => {
                let Some(archive) = &self.archive else { return Ok(()) };
                if !std::mem::replace(&mut self.archive_begun, true) {
                    archive.begin_taking()?;
                }
                archive.take(rows)
            }
            Piece::ArchiveEnd(watermark) => match &self.archive {
                Some(archive) => archive.end_taking(watermark),
                None => Ok(()),
            },
        }
    }
}
