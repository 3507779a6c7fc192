//! Handing an archive to a new replica, in pieces that fit a frame between peers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};

use super::archive::{ArchiveStore, RecordSink};
use super::archive_block::{Line, begins, brought_up};
use super::archive_index::run_of;
use crate::base::sled;

/// About how many bytes one piece holds.
const PIECE: usize = 128 * 1024;

/// Some rows of one day.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ArchivePiece {
    day: u32,
    index: bool,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A walk over an archive as it stood when the walk began.
pub(crate) struct ArchiveWalk<'a> {
    archive: &'a ArchiveStore,
    /// Everything of entries below this log index is part of the walk.
    pub(crate) watermark: u64,
    /// Day, whether its index, and the last key that was handed out.
    at: Vec<(u32, bool)>,
    after: Vec<u8>,
}

impl ArchivePiece {
    /// The piece as today's program writes it, out of one of disk version `version`.
    ///
    /// # Errors
    /// A row is damaged.
    pub(crate) fn brought_up(mut self, version: u32) -> io::Result<Self> {
        if !self.index {
            let rows = self.rows.iter().map(|(key, value)| brought_up(version, key, value));
            self.rows = rows.collect::<Result<_, _>>().map_err(io::Error::other)?;
        }
        Ok(self)
    }
}

impl ArchiveStore {
    /// Begins to hand out the archive. Blocks.
    pub(crate) fn walk(&self) -> io::Result<ArchiveWalk<'_>> {
        self.flush()?;
        let watermark = self.fresh.lock().watermark();
        let mut at: Vec<(u32, bool)> = self.days.read().keys().flat_map(|day| [(*day, true), (*day, false)]).collect();
        at.reverse();
        Ok(ArchiveWalk { archive: self, watermark, at, after: Vec::new() })
    }

    /// Begins to take over another replica's archive: its index replaces ours, its records join ours, and its blocks, which
    /// hold the same cut differently, replace ours once all are here. Blocks.
    pub(crate) fn begin_taking(&self) -> io::Result<()> {
        let mut ours = BTreeMap::new();
        for (number, day) in self.days_from(0) {
            day.index.clear()?;
            let lines: Result<BTreeSet<_>, _> = day.records.scan_prefix(b"D").keys().collect();
            ours.insert(number, (false, lines?));
        }
        *self.replaced.lock() = ours;
        Ok(())
    }

    /// Takes one piece. Blocks.
    pub(crate) fn take(&self, piece: ArchivePiece) -> io::Result<()> {
        let day = self.day(piece.day)?;
        let tree = if piece.index { &day.index } else { &day.records };
        let mut replaced = self.replaced.lock();
        let mut ours = replaced.get_mut(&piece.day);
        for (key, value) in piece.rows {
            if let Some((begun, lines)) = &mut ours {
                *begun |= !piece.index;
                lines.remove(&sled::IVec::from(key.as_slice()));
            }
            tree.insert(key, value)?;
        }
        Ok(())
    }

    /// Everything up to `watermark` is here now. Blocks.
    pub(crate) fn end_taking(&self, watermark: u64) -> io::Result<()> {
        for (day, (begun, lines)) in std::mem::take(&mut *self.replaced.lock()) {
            if begun {
                self.forget_blocks(day, &lines, watermark)?;
            }
        }
        self.set_watermark(watermark)
    }

    /// Removes blocks, by their lines, that hold nothing of `watermark` and above.
    fn forget_blocks(&self, day: u32, old: &BTreeSet<sled::IVec>, watermark: u64) -> io::Result<()> {
        let records = self.day(day)?.records;
        for key in old {
            let Some(line) = Line::named(key).filter(|line| line.to() <= watermark) else { continue };
            // The line first: it is never found without its block.
            records.remove(key)?;
            records.remove(line.block())?;
        }
        Ok(())
    }
}

impl ArchiveWalk<'_> {
    /// The next piece; `None` at the end. Blocks.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<ArchivePiece>> {
        while let Some((day, index)) = self.at.last().copied() {
            let trees = self.archive.day(day)?;
            let tree = if index { &trees.index } else { &trees.records };
            let (mut rows, mut bytes) = (Vec::new(), 0);
            for row in tree.range(self.after.clone()..) {
                let (key, value) = row?;
                self.after = [&key, &[0][..]].concat();
                // Runs and blocks that began after the watermark belong to entries the new replica applies itself.
                let began = if index { run_of(&key) } else { begins(&key).or(Some(0)) };
                if began.is_none_or(|began| began >= self.watermark.max(1)) {
                    continue;
                }
                bytes += key.len() + value.len();
                rows.push((key.to_vec(), value.to_vec()));
                if bytes >= PIECE {
                    return Ok(Some(ArchivePiece { day, index, rows }));
                }
            }
            self.at.pop();
            self.after.clear();
            if !rows.is_empty() {
                return Ok(Some(ArchivePiece { day, index, rows }));
            }
        }
        Ok(None)
    }
}
