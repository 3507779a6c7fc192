//! Blocks: many records of an archive in one value of sled, in the order of their keys, and the records still in memory.
//!
//! A block stands under `B` and its *name*: the log indexes it covers (from, to) and its number among those of that
//! range. One line of the *directory*, under `D`, its first key and its name, says up to which key it goes, so a look-up
//! reads a few short lines and then the right block. A block holds only keys of one kind whose times lie within
//! [`SPAN_MS`], so only lines that begin within that time before a key can have it. Records that would make a block of
//! fewer than [`FEW`] stand alone under their own key, as all did in disk version 1.

use std::ops::{Deref, Range};

use serde::Serialize;

use super::archive::{ArchiveError, unreadable};
use crate::base::sled;
use crate::codec::{self, CodecError};
use crate::older;

/// Most milliseconds between the times of the first and the last key of a block. Part of the disk's format: look-ups
/// rely on it.
pub(super) const SPAN_MS: u64 = 30_000;
/// Most bytes of a block of several records.
const BLOCK: usize = 64 * 1024;
/// Fewer records than this are not worth a block and its line.
const FEW: usize = 4;
/// Most records and bytes held in memory.
const PENDING_ROWS: usize = 512;
const PENDING_BYTES: usize = 256 * 1024;
/// Bytes of a name: two log indexes and a number.
const NAME: usize = 8 + 8 + 2;
/// Lengths in front of each record of a block: of its key and of its value.
const LENGTHS: usize = 1 + 4;

/// Bytes that are alone in a value of sled, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    whole: sled::IVec,
    at: Range<usize>,
}

impl Slice {
    /// All of a value.
    pub(super) fn alone(whole: sled::IVec) -> Self {
        let at = 0..whole.len();
        Self { whole, at }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.whole.get(self.at.clone()).unwrap_or_default()
    }
}

/// The records that are in memory only.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Keys and values one after the other.
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// The log indexes they come from: the first, and one more than the last.
    from: u64,
    to: u64,
}

#[derive(Clone, Debug)]
struct Row {
    day: u32,
    key: Range<usize>,
    value: Range<usize>,
}

/// What goes to the disk, in this order.
pub(super) struct Written {
    pub(super) day: u32,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Pending {
    /// Adds a record of the log entry at `index`, encoded here and never again.
    pub(super) fn push(
        &mut self,
        index: u64,
        day: u32,
        key: [&[u8]; 2],
        record: &impl Serialize,
    ) -> Result<(), CodecError> {
        let start = self.bytes.len();
        key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let middle = self.bytes.len();
        codec::encode_behind(record, &mut self.bytes)?;
        if self.rows.is_empty() {
            self.from = index;
        }
        self.to = index + 1;
        self.rows.push(Row { day, key: start..middle, value: middle..self.bytes.len() });
        Ok(())
    }

    /// Whether it is time to write them.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= PENDING_ROWS || self.bytes.len() >= PENDING_BYTES
    }

    /// One more than the log index of the newest.
    pub(super) fn to(&self) -> u64 {
        self.to
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Slice> {
        let row = self.rows.iter().rev().find(|row| self.part(&row.key) == key)?;
        Some(Slice::alone(self.part(&row.value).into()))
    }

    /// The keys of `day` in `range` with their values, in the order they came.
    pub(super) fn within(&self, day: u32, range: &Range<&[u8]>) -> Vec<(Vec<u8>, Slice)> {
        let rows = self.rows.iter().filter(|row| row.day == day && range.contains(&self.part(&row.key)));
        rows.map(|row| (self.part(&row.key).to_vec(), Slice::alone(self.part(&row.value).into()))).collect()
    }

    /// Forgets the records of days before `first`.
    pub(super) fn forget_before(&mut self, first: u32) {
        self.rows.retain(|row| row.day >= first);
    }

    fn part(&self, at: &Range<usize>) -> &[u8] {
        self.bytes.get(at.clone()).unwrap_or_default()
    }

    /// All of them as they go to the disk: blocks before their lines of the directory.
    pub(super) fn written(&self) -> Vec<Written> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| (a.day, self.part(&a.key)).cmp(&(b.day, self.part(&b.key))));
        let (mut out, mut number) = (Vec::new(), 0_u16);
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(self.chunk(rest));
            rest = behind;
            let block = if chunk.len() < FEW { None } else { self.block(chunk, number) };
            match (block, number.checked_add(1)) {
                (Some(block), Some(next)) => {
                    out.extend(block);
                    number = next;
                }
                _ => out.extend(chunk.iter().map(|row| self.alone(row))),
            }
        }
        out
    }

    /// How many of the first of these sorted rows make one block.
    fn chunk(&self, rows: &[&Row]) -> usize {
        let Some(first) = rows.first() else { return 0 };
        let (kind, until) = (self.part(&first.key).first(), time(self.part(&first.key)).saturating_add(SPAN_MS));
        let mut bytes = 0;
        let same = rows.iter().take_while(|row| {
            bytes += LENGTHS + row.key.len() + row.value.len();
            let key = self.part(&row.key);
            row.day == first.day && key.first() == kind && time(key) <= until && bytes <= BLOCK
        });
        same.count().max(1)
    }

    fn alone(&self, row: &Row) -> Written {
        Written { day: row.day, key: self.part(&row.key).to_vec(), value: self.part(&row.value).to_vec() }
    }

    fn block(&self, rows: &[&Row], number: u16) -> Option<[Written; 2]> {
        let (first, last) = (rows.first()?, rows.last()?);
        let name = [&self.from.to_be_bytes()[..], &self.to.to_be_bytes(), &number.to_be_bytes()].concat();
        let mut value = Vec::with_capacity(rows.iter().map(|r| LENGTHS + r.key.len() + r.value.len()).sum());
        for row in rows {
            add_row(&mut value, self.part(&row.key), self.part(&row.value))?;
        }
        let block = Written { day: first.day, key: [b"B", name.as_slice()].concat(), value };
        let key = [b"D", self.part(&first.key), &name].concat();
        Some([block, Written { day: first.day, key, value: self.part(&last.key).to_vec() }])
    }
}

/// Adds a record to a block. Keys have at most 22 bytes, and a block about 64 KiB; `None` if that is not so.
fn add_row(block: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Option<()> {
    block.push(u8::try_from(key.len()).ok()?);
    block.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
    block.extend_from_slice(key);
    block.extend_from_slice(value);
    Some(())
}

/// A row of a day's records as a program of disk version `version` wrote it, in the form of today: its key and its value.
pub(super) fn brought_up(version: u32, key: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CodecError> {
    if key.first() != Some(&b'B') {
        return older::record(version, key, value);
    }
    let damaged = || CodecError::new("a damaged block");
    let mut block = Vec::with_capacity(value.len());
    for row in (Rows { block: value.into(), at: 0 }) {
        let (key, value) = row.map_err(|_| damaged())?;
        let (key, value) = older::record(version, &key, &value)?;
        add_row(&mut block, &key, &value).ok_or_else(damaged)?;
    }
    Ok((key.to_vec(), block))
}

/// The time a key carries behind its kind, in milliseconds.
pub(super) fn time(key: &[u8]) -> u64 {
    key.get(1..7).unwrap_or_default().iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
}

/// One line of the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) first: Vec<u8>,
    pub(super) last: Vec<u8>,
    name: Vec<u8>,
}

impl Line {
    /// The line under `key`, as far as its key says.
    pub(super) fn named(key: &[u8]) -> Option<Self> {
        let (first, name) = key.split_at_checked(key.len().checked_sub(NAME)?)?;
        Some(Self { first: first.get(1..)?.to_vec(), last: Vec::new(), name: name.to_vec() })
    }

    fn read((key, last): &(sled::IVec, sled::IVec)) -> Option<Self> {
        Some(Self { last: last.to_vec(), ..Self::named(key)? })
    }

    /// The key of the block.
    pub(super) fn block(&self) -> Vec<u8> {
        [b"B", self.name.as_slice()].concat()
    }

    /// One more than the last log index of the block.
    pub(super) fn to(&self) -> u64 {
        self.name.get(8..16).and_then(|b| <[u8; 8]>::try_from(b).ok()).map_or(u64::MAX, u64::from_be_bytes)
    }

    /// The records of the block, in the order of their keys.
    pub(super) fn rows(&self, records: &sled::Tree) -> Result<Rows, ArchiveError> {
        let block = records.get(self.block()).map_err(unreadable)?;
        Ok(Rows { block: block.ok_or_else(|| unreadable("a block is gone"))?, at: 0 })
    }
}

/// The log index at which the block begins that stands, or is named, under this key of a day; `None` for other keys.
pub(super) fn begins(key: &[u8]) -> Option<u64> {
    let at = match key.first()? {
        b'B' => 1,
        b'D' => key.len().checked_sub(NAME)?,
        _ => return None,
    };
    key.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()).map(u64::from_be_bytes)
}

/// The lines of blocks that may hold keys in `range`, in the order of their first keys.
pub(super) fn lines(
    records: &sled::Tree,
    range: Range<&[u8]>,
) -> impl DoubleEndedIterator<Item = Result<Line, ArchiveError>> + use<> {
    let earliest = time(range.start).saturating_sub(SPAN_MS).to_be_bytes();
    let from = [b"D", range.start.get(..1).unwrap_or_default(), &earliest[2..]].concat();
    let low = range.start.to_vec();
    records.range(from..[b"D", range.end].concat()).filter_map(move |row| {
        let line = row.map_err(unreadable).and_then(|row| Line::read(&row).ok_or_else(|| unreadable("a damaged line")));
        match line {
            Ok(line) if line.last < low => None,
            line => Some(line),
        }
    })
}

/// The records of a block.
pub(super) struct Rows {
    block: sled::IVec,
    at: usize,
}

impl Rows {
    fn read(&mut self) -> Option<(Slice, Slice)> {
        let (lengths, _) = self.block.get(self.at..)?.split_first_chunk::<LENGTHS>()?;
        let [key, value @ ..] = *lengths;
        let key = self.at + LENGTHS..self.at + LENGTHS + usize::from(key);
        let value = key.end..key.end.checked_add(usize::try_from(u32::from_be_bytes(value)).ok()?)?;
        self.block.get(key.start..value.end)?;
        self.at = value.end;
        Some((Slice { whole: self.block.clone(), at: key }, Slice { whole: self.block.clone(), at: value }))
    }
}

impl Iterator for Rows {
    type Item = Result<(Slice, Slice), ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.block.len() {
            return None;
        }
        let row = self.read().ok_or_else(|| unreadable("a damaged block"));
        if row.is_err() {
            self.at = self.block.len();
        }
        Some(row)
    }
}
