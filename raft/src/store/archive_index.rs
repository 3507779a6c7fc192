//! Finding ended deliveries by recipient, template or business id: sorted runs of hashes, and pages with bounded work.
//!
//! Index entries gather in memory and are written as one *run* per 4,096 deliveries, cut into 64 buckets by hash, so a
//! delivery costs a fraction of a disk write and a search reads one bucket of each run. A run is named after the
//! watermark at which it began; the one still in memory has its name already, so a cursor holds while it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tidings_contract::{DeliveryId, Time, stable_hash};
use tidings_machine::partition::{Ended, State};

use super::archive::{ArchiveError, ArchiveStore, Day, ended_key, unreadable};
use super::archive_block::{Pending, Slice};
use crate::codec;

const BUCKETS: u64 = 64;
/// Hash and delivery id.
const ROW: usize = 8 + 21;
/// Most rows of one value, so that it stays below [`crate::MAX_ENTRY_BYTES`].
const ROWS: usize = 7_000;
/// Records looked at for one page.
const WORK: usize = 2_000;

/// What to look for: deliveries accepted in `[since, until)` that have all the given properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// To this recipient, normalised.
    pub recipient: Option<String>,
    /// Of this template.
    pub template: Option<String>,
    /// With this business id.
    pub biz_id: Option<String>,
    /// In one of these final states; any if empty.
    pub states: Vec<tidings_machine::partition::State>,
    /// Accepted at or after.
    pub since: Time,
    /// Accepted before.
    pub until: Time,
}

impl Default for Query {
    fn default() -> Self {
        let (recipient, template, biz_id, states) = (None, None, None, Vec::new());
        Self { recipient, template, biz_id, states, since: Time(0), until: Time(u64::MAX) }
    }
}

/// Some of what was found, newest first (by the day it ended; within a run by id).
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The deliveries. May be empty although there is more: the work for one page is bounded.
    pub items: Vec<Ended>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A place in a scan. Opaque; its text form goes to callers and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    day: u32,
    run: u64,
    id: DeliveryId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{}", self.day, self.run, self.id)
    }
}

impl FromStr for Cursor {
    type Err = ArchiveError;

    fn from_str(text: &str) -> Result<Self, ArchiveError> {
        let bad = || unreadable("not a cursor");
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or_else(bad);
        let day = u32::from_str_radix(part()?, 16).map_err(|_| bad())?;
        let run = u64::from_str_radix(part()?, 16).map_err(|_| bad())?;
        Ok(Self { day, run, id: part()?.parse().map_err(|_| bad())? })
    }
}

/// What a delivery can be found by.
pub(super) fn terms(ended: &Ended) -> Vec<u64> {
    let mut terms = vec![term(b'r', &ended.delivery.to), term(b't', &ended.sheet.template)];
    terms.extend(ended.sheet.biz_id.as_ref().map(|id| term(b'b', id)));
    terms
}

fn term(kind: u8, text: &str) -> u64 {
    stable_hash(&[&[kind], text.as_bytes()].concat())
}

fn bucket(term: u64) -> u8 {
    // Below 64.
    (term % BUCKETS) as u8
}

/// What is still in memory: the newest run of the index, and the newest records.
#[derive(Debug)]
pub(super) struct Fresh {
    watermark: u64,
    reached: u64,
    deliveries: usize,
    rows: BTreeMap<u32, Vec<(u64, DeliveryId)>>,
    pub(super) pending: Pending,
}

impl Fresh {
    pub(super) fn new(watermark: u64) -> Self {
        Self { watermark, reached: watermark, deliveries: 0, rows: BTreeMap::new(), pending: Pending::default() }
    }

    pub(super) fn add(&mut self, day: u32, terms: &[u64], id: DeliveryId) {
        self.deliveries += 1;
        self.rows.entry(day).or_default().extend(terms.iter().map(|term| (*term, id)));
    }

    /// Forgets what belongs to days before `first`.
    pub(super) fn forget_before(&mut self, first: u32) {
        self.rows.retain(|day, _| *day >= first);
        self.pending.forget_before(first);
    }

    pub(super) fn len(&self) -> usize {
        self.deliveries
    }

    /// Everything of entries below this index is on the disk with its index.
    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    pub(super) fn reach(&mut self, index: u64) {
        self.reached = self.reached.max(index);
    }

    /// The rows as they go to the disk: day, key and value.
    pub(super) fn rows(&self) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        for (day, rows) in &self.rows {
            let mut buckets: BTreeMap<u8, Vec<(u64, DeliveryId)>> = BTreeMap::new();
            for row in rows {
                buckets.entry(bucket(row.0)).or_default().push(*row);
            }
            for (bucket, mut rows) in buckets {
                rows.sort_unstable();
                for (part, rows) in rows.chunks(ROWS).enumerate() {
                    let mut value = Vec::with_capacity(rows.len() * ROW);
                    for (term, id) in rows {
                        value.extend_from_slice(&term.to_be_bytes());
                        value.extend_from_slice(id.bytes());
                    }
                    out.push((*day, run_key(bucket, self.watermark, u16::try_from(part).unwrap_or(u16::MAX)), value));
                }
            }
        }
        out
    }
}

fn run_key(bucket: u8, run: u64, part: u16) -> Vec<u8> {
    [&[bucket][..], &run.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// The run an index key belongs to.
pub(super) fn run_of(key: &[u8]) -> Option<u64> {
    key.get(1..9).and_then(|b| <[u8; 8]>::try_from(b).ok()).map(u64::from_be_bytes)
}

/// The deliveries under `term` in a sorted value, newest first.
fn ids_in(value: &[u8], term: u64) -> Vec<DeliveryId> {
    let (rows, _) = value.as_chunks::<ROW>();
    let start = rows.partition_point(|row| row[..8] < term.to_be_bytes()[..]);
    let same = rows[start..].iter().take_while(|row| row[..8] == term.to_be_bytes()[..]);
    let mut ids: Vec<DeliveryId> = same.filter_map(|row| DeliveryId::from_bytes(&row[8..])).collect();
    ids.reverse();
    ids
}

/// A run, a delivery in it, and its record if that was met on the way.
type Candidate = (u64, DeliveryId, Option<Slice>);

impl Query {
    /// The rarest property to search by.
    fn term(&self) -> Option<u64> {
        let biz_id = self.biz_id.as_ref().map(|id| term(b'b', id));
        let recipient = || self.recipient.as_ref().map(|to| term(b'r', to));
        biz_id.or_else(recipient).or_else(|| self.template.as_ref().map(|name| term(b't', name)))
    }

    fn takes(&self, id: &DeliveryId) -> bool {
        (self.since..self.until).contains(&id.message().time())
    }

    /// Whether a delivery is wanted, as far as its record says: what was delivered may have been recalled since.
    fn may_match(&self, ended: &Ended) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        same(&self.recipient, &ended.delivery.to)
            && same(&self.template, &ended.sheet.template)
            && (self.biz_id.is_none() || self.biz_id == ended.sheet.biz_id)
            && (self.takes_state(ended)
                || ended.delivery.state == State::Delivered && self.states.contains(&State::Recalled))
    }

    fn takes_state(&self, ended: &Ended) -> bool {
        self.states.is_empty() || self.states.contains(&ended.delivery.state)
    }
}

impl ArchiveStore {
    /// One page: at most `limit` deliveries and a bounded number of looks.
    pub(crate) fn scan(&self, query: &Query, from: Option<Cursor>, limit: usize) -> Result<Page, ArchiveError> {
        let mut page = Page::default();
        let mut work = WORK;
        for (day, trees) in self.days_from(query.since.day().saturating_sub(1)) {
            let from = match from {
                Some(cursor) if cursor.day < day => continue,
                Some(cursor) if cursor.day == day => Some(cursor),
                _ => None,
            };
            let runs: Box<dyn Iterator<Item = Result<Candidate, ArchiveError>>> = match query.term() {
                Some(term) => {
                    Box::new(self.runs(day, &trees, term, from).map(|found| found.map(|(r, id)| (r, id, None))))
                }
                None => Box::new(self.all_of((day, &trees), from)?),
            };
            for candidate in runs {
                let (run, id, value) = candidate?;
                work = work.saturating_sub(1);
                if query.takes(&id)
                    && let Some(value) =
                        value.map_or_else(|| self.kept(&trees, &ended_key(&id)), |value| Ok(Some(value)))?
                {
                    let ended: Ended = codec::decode(&value).map_err(unreadable)?;
                    if query.may_match(&ended) {
                        let ended = self.amended(ended)?;
                        page.items.extend(query.takes_state(&ended).then_some(ended));
                    }
                }
                if work == 0 || page.items.len() >= limit {
                    page.next = Some(Cursor { day, run, id });
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Every ended delivery of a day, newest id first, beginning behind `from`.
    fn all_of(
        &self,
        day: (u32, &Day),
        from: Option<Cursor>,
    ) -> Result<impl Iterator<Item = Result<Candidate, ArchiveError>> + use<>, ArchiveError> {
        let end = from.map_or_else(|| b"f".to_vec(), |cursor| ended_key(&cursor.id));
        let newest = self.newest(day, b"e"..&end)?;
        Ok(newest.map(|row| {
            let (key, value) = row?;
            let id = key.get(1..).and_then(DeliveryId::from_bytes);
            id.map(|id| (0, id, Some(value))).ok_or_else(|| unreadable("a damaged record key"))
        }))
    }

    /// The deliveries of a day under `term`, newest run first, beginning behind `from`.
    fn runs<'a>(
        &'a self,
        day: u32,
        trees: &Day,
        term: u64,
        from: Option<Cursor>,
    ) -> impl Iterator<Item = Result<(u64, DeliveryId), ArchiveError>> + 'a {
        let (fresh_run, mut fresh) = {
            let fresh = self.fresh.lock();
            let rows = fresh.rows.get(&day).into_iter().flatten();
            (fresh.watermark, rows.filter(|row| row.0 == term).map(|row| row.1).collect::<Vec<_>>())
        };
        fresh.sort_unstable_by(|a, b| b.cmp(a));
        let newest = from.map_or(u64::MAX, |cursor| cursor.run);
        let range = run_key(bucket(term), 0, 0)..=run_key(bucket(term), newest, u16::MAX);
        let on_disk = trees.index.range(range).rev().map(move |row| {
            let (key, value) = row.map_err(unreadable)?;
            let run = run_of(&key).ok_or_else(|| unreadable("a damaged index key"))?;
            Ok((run, ids_in(&value, term)))
        });
        let runs = std::iter::once(Ok((fresh_run, fresh))).chain(on_disk);
        runs.flat_map(move |run: Result<_, ArchiveError>| match run {
            Ok((run, ids)) => {
                let behind = move |id: &DeliveryId| from.is_none_or(|c| run < c.run || (run == c.run && *id < c.id));
                ids.into_iter().filter(behind).map(|id| Ok((run, id))).collect::<Vec<_>>()
            }
            Err(error) => vec![Err(error)],
        })
    }
}
