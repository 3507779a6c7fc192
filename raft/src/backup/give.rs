//! Gives one group as the replica of this node knows it: its current snapshot, its archive, and what was applied since.
//!
//! Nothing is frozen and nothing waits: the snapshot is the one the group keeps anyway, and the log entries behind it
//! are read while the archive is walked, so that they are handed out before they are purged.

use std::sync::Arc;
use std::time::Duration;

use openraft::{EntryPayload, RaftLogReader};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::format::{Begin, Entry, Frame, Sum, body_of};
use crate::group::AnyGroup;
use crate::peers::Piece;
use crate::types::LogId;

/// A section whose reader takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The body of a record, or why there will be none.
pub(super) type Given = Result<Vec<u8>, String>;

/// Gives the records of `group` one after the other, from `Begin` to `End`. Blocks: not for an async worker.
pub(super) fn give(group: &Arc<dyn AnyGroup>, runtime: &Handle, to: mpsc::Sender<Given>) {
    let mut out = Out { to, runtime: runtime.clone(), sum: Sum::default() };
    if let Err(why) = section(group, &mut out) {
        tracing::info!(group = %group.id(), why, "a backup of the group was given up");
        // Whoever does not take it any more need not be told.
        drop(out.to.try_send(Err(why)));
    }
}

fn section(group: &Arc<dyn AnyGroup>, out: &mut Out) -> Result<(), String> {
    let current = group.snapshots().current().map_err(|e| e.to_string())?;
    let last = current.as_ref().and_then(|(meta, _)| meta.last_log_id);
    let mut since = Since { group: Arc::clone(group), next: last.map_or(0, |id| id.index + 1), last };
    let begin = Begin { group: group.id(), machine: current.is_some(), next: since.next };
    out.give(&Frame::Begin(begin))?;
    since.catch_up(out)?;
    if let Some((_, body)) = current {
        for number in 0..body.size().pieces {
            let piece = body.piece(number).map_err(|e| e.to_string())?.to_vec();
            out.give(&Frame::Piece(Piece::Machine(piece)))?;
            since.catch_up(out)?;
        }
    }
    if let Some(archive) = group.archive() {
        let mut walk = archive.walk().map_err(|e| e.to_string())?;
        while let Some(piece) = walk.next_piece().map_err(|e| e.to_string())? {
            out.give(&Frame::Piece(Piece::Archive(piece)))?;
            since.catch_up(out)?;
        }
        out.give(&Frame::Piece(Piece::ArchiveEnd(walk.watermark)))?;
    }
    // Every row that was walked over belongs to an entry that is applied by now.
    since.catch_up(out)?;
    let last = since.last.ok_or("the group has not begun yet")?;
    let end = out.sum.end(last.index, last.leader_id.term);
    out.give(&Frame::End(end))
}

/// The entries behind the snapshot, in order and without a gap.
struct Since {
    group: Arc<dyn AnyGroup>,
    next: u64,
    last: Option<LogId>,
}

impl Since {
    /// Gives what was applied up to the moment of the call. What is applied is committed, so it is never taken back.
    fn catch_up(&mut self, out: &mut Out) -> Result<(), String> {
        let applied = *self.group.applied().borrow();
        let mut log = self.group.log().clone();
        while self.next < applied {
            let read = out.runtime.block_on(log.limited_get_log_entries(self.next, applied));
            let entries = read.map_err(|e| e.to_string())?;
            if entries.is_empty() {
                return Err("the log was purged before it was read".to_owned());
            }
            for entry in entries {
                if entry.log_id.index != self.next {
                    return Err("the log was purged before it was read".to_owned());
                }
                if let EntryPayload::Normal(blob) = entry.payload {
                    out.give(&Frame::Entry(Entry { index: self.next, payload: blob.0 }))?;
                }
                (self.next, self.last) = (self.next + 1, Some(entry.log_id));
            }
        }
        Ok(())
    }
}

struct Out {
    to: mpsc::Sender<Given>,
    runtime: Handle,
    sum: Sum,
}

impl Out {
    fn give(&mut self, frame: &Frame) -> Result<(), String> {
        let body = body_of(frame).map_err(|e| e.to_string())?;
        self.sum.add(&body);
        let sent = self.runtime.block_on(timeout(PATIENCE, self.to.send(Ok(body))));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("nobody takes it any more".to_owned()),
            Err(_) => Err("it was not taken in time".to_owned()),
        }
    }
}
