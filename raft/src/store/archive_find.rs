//! Finding records of one day wherever they stand: in memory, alone, or in blocks whose ranges overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::archive::{ArchiveError, ArchiveStore, Day, unreadable};
use super::archive_block::{Line, SPAN_MS, Slice, lines, time};
use crate::base::sled;

type Singles = Box<dyn Iterator<Item = Result<(sled::IVec, sled::IVec), sled::Error>>>;
type Lines = Box<dyn Iterator<Item = Result<Line, ArchiveError>>>;

impl ArchiveStore {
    /// What is in memory under `key`. Look here before the disk: what leaves memory is on the disk by then.
    pub(super) fn in_memory(&self, key: &[u8]) -> Option<Slice> {
        self.fresh.lock().pending.get(key)
    }

    /// What a day has under `key`, in memory or on the disk.
    pub(super) fn kept(&self, day: &Day, key: &[u8]) -> Result<Option<Slice>, ArchiveError> {
        self.in_memory(key).map_or_else(|| on_disk(day, key), |value| Ok(Some(value)))
    }

    /// The values of the lowest `limit` keys of `day` in `range`.
    pub(super) fn within(
        &self,
        (number, day): (u32, &Day),
        range: Range<&[u8]>,
        limit: usize,
    ) -> Result<BTreeMap<Vec<u8>, Slice>, ArchiveError> {
        let mut found: BTreeMap<Vec<u8>, Slice> =
            self.fresh.lock().pending.within(number, &range).into_iter().collect();
        for row in day.records.range(range.clone()).take(limit) {
            let (key, value) = row.map_err(unreadable)?;
            found.insert(key.to_vec(), Slice::alone(value));
        }
        shorten(&mut found, limit);
        for line in lines(&day.records, range.clone()) {
            let line = line?;
            // Lines come in the order of their first keys: no later one has a lower key.
            if found.len() >= limit && found.last_key_value().is_none_or(|(highest, _)| line.first > *highest) {
                break;
            }
            for row in line.rows(&day.records)? {
                let (key, value) = row?;
                if range.contains(&&*key) {
                    found.insert(key.to_vec(), value);
                }
            }
            shorten(&mut found, limit);
        }
        Ok(found)
    }

    /// Every key of `day` in `range` with its value, highest first, each once; blocks are read when it is their turn.
    pub(super) fn newest(&self, (number, day): (u32, &Day), range: Range<&[u8]>) -> Result<Newest, ArchiveError> {
        let known = self.fresh.lock().pending.within(number, &range).into_iter().collect();
        let mut singles: Singles = Box::new(day.records.range(range.clone()).rev());
        let mut directory: Lines = Box::new(lines(&day.records, range.clone()).rev());
        Ok(Newest {
            records: day.records.clone(),
            range: range.start.to_vec()..range.end.to_vec(),
            known,
            waiting: BTreeSet::new(),
            single: singles.next().transpose().map_err(unreadable)?,
            singles,
            line: directory.next().transpose()?,
            directory,
        })
    }
}

/// What the disk has under `key` in the records of a day.
pub(super) fn on_disk(day: &Day, key: &[u8]) -> Result<Option<Slice>, ArchiveError> {
    if let Some(value) = day.records.get(key).map_err(unreadable)? {
        return Ok(Some(Slice::alone(value)));
    }
    // Behind the name of every line that begins with this very key.
    let end = [key, &[0xff; 20]].concat();
    // The block whose first key is nearest most likely has it.
    for line in lines(&day.records, key..&end).rev() {
        for row in line?.rows(&day.records)? {
            let (found, value) = row?;
            if *found == *key {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

fn shorten(found: &mut BTreeMap<Vec<u8>, Slice>, limit: usize) {
    while found.len() > limit {
        found.pop_last();
    }
}

/// A walk over keys from the highest down.
pub(super) struct Newest {
    records: sled::Tree,
    range: Range<Vec<u8>>,
    /// Rows that were read and not yet handed out.
    known: BTreeMap<Vec<u8>, Slice>,
    /// Blocks that were not read yet, by their last key.
    waiting: BTreeSet<(Vec<u8>, Line)>,
    single: Option<(sled::IVec, sled::IVec)>,
    singles: Singles,
    line: Option<Line>,
    directory: Lines,
}

impl Newest {
    fn step(&mut self) -> Result<Option<(Vec<u8>, Slice)>, ArchiveError> {
        loop {
            let single = self.single.as_ref().map(|(key, _)| key.to_vec());
            let top = self.known.last_key_value().map(|(key, _)| key.clone()).max(single);
            let last = self.waiting.last().map(|(last, _)| last.clone());
            let best = top.clone().max(last.clone());
            // A block that is not looked at yet ends at most a span behind where its line begins.
            let may_pass = |line: &Line| best.as_ref().is_none_or(|best| time(&line.first) + SPAN_MS >= time(best));
            if let Some(line) = self.line.take_if(|line| may_pass(line)) {
                self.line = self.directory.next().transpose()?;
                self.waiting.insert((line.last.clone(), line));
                continue;
            }
            if last.is_some() && last >= top {
                self.read_block()?;
                continue;
            }
            let Some(top) = top else { return Ok(None) };
            let mut value = self.known.remove(&top);
            if let Some((_, alone)) = self.single.take_if(|(key, _)| **key == *top) {
                self.single = self.singles.next().transpose().map_err(unreadable)?;
                value = Some(Slice::alone(alone));
            }
            return Ok(value.map(|value| (top, value)));
        }
    }

    fn read_block(&mut self) -> Result<(), ArchiveError> {
        let Some((_, line)) = self.waiting.pop_last() else { return Ok(()) };
        for row in line.rows(&self.records)? {
            let (key, value) = row?;
            if (self.range.start.as_slice()..self.range.end.as_slice()).contains(&&*key) {
                self.known.insert(key.to_vec(), value);
            }
        }
        Ok(())
    }
}

impl Iterator for Newest {
    type Item = Result<(Vec<u8>, Slice), ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
