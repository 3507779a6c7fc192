//! Deliveries that match a filter, newest first, a page at a time, over all partitions.
//!
//! Each partition is a *stream*: its pending deliveries and its archive, merged. A page merges the heads of all streams
//! and remembers where each stands. The work for one page is bounded, so a page may be short although there is more.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId, Time};
use tidings_machine::partition::{Delivery, Partition, Sheet, State};
use tidings_raft::Query;

use super::{Question, Summary};
use crate::app::Shared;

/// Pending deliveries looked at for one page of one stream.
const WORK: usize = 20_000;
/// The first window of time in which pending deliveries are looked for, in milliseconds; each further one is 4 × as long.
const FIRST_WINDOW_MS: u64 = 1_000;

/// What deliveries are wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Filter {
    /// Only to this recipient, normalised.
    pub recipient: Option<String>,
    /// Only of this template.
    pub template: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only with this business id.
    pub biz_id: Option<String>,
    /// Only accepted at or after.
    pub since: Option<Time>,
    /// Only accepted before.
    pub until: Option<Time>,
}

impl Filter {
    /// Whether a delivery is wanted.
    pub(crate) fn takes(&self, delivery: &Delivery, sheet: &Sheet) -> bool {
        let at = delivery.id.message().time();
        self.recipient.as_ref().is_none_or(|to| *to == delivery.to)
            && self.template.as_ref().is_none_or(|template| *template == sheet.template)
            && self.state.is_none_or(|state| state == delivery.state)
            && (self.biz_id.is_none() || self.biz_id == sheet.biz_id)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
    }

    fn query(&self) -> Query {
        Query {
            recipient: self.recipient.clone(),
            template: self.template.clone(),
            biz_id: self.biz_id.clone(),
            states: self.state.into_iter().collect(),
            since: self.since.unwrap_or(Time(0)),
            until: self.until.unwrap_or(Time(u64::MAX)),
        }
    }
}

/// Where a stream stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Pending deliveries with smaller ids are still to come; `None` at the beginning.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pending_before: Option<DeliveryId>,
    /// There are no further pending deliveries.
    #[serde(rename = "q", default, skip_serializing_if = "is_false")]
    pending_done: bool,
    /// The place in the archive; `None` at its beginning.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    archive_from: Option<String>,
    /// Ended deliveries behind that place that were given already.
    #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
    archive_skip: usize,
    /// There are no further ended deliveries.
    #[serde(rename = "e", default, skip_serializing_if = "is_false")]
    archive_done: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Asks a partition for what comes next in its stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recent {
    pub partition: PartitionId,
    pub filter: Filter,
    pub place: Place,
    pub limit: usize,
}

/// What comes next in a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    /// Pending deliveries, newest first.
    pending: Vec<Summary>,
    /// All pending ones down to here were looked at; `None` if there are no others.
    pending_reached: Option<DeliveryId>,
    /// Ended deliveries behind the place, newest first.
    ended: Vec<Summary>,
    /// The place in the archive behind them; `None` at its end.
    archive_next: Option<String>,
}

impl Question for Recent {
    const KIND: u16 = 4;
    type Answer = Page;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Page, String> {
        let Self { partition, filter, place, limit } = self;
        let wants_pending = !place.pending_done && filter.state.is_none_or(|state| state == State::Pending);
        let (pending, pending_reached) = if wants_pending {
            let now = app.now();
            let look = |p: &Partition| pending(p, &filter, place.pending_before, limit, now);
            app.ledger.partition(partition, look).ok_or("no replica here")?
        } else {
            (Vec::new(), None)
        };
        let mut page = Page { pending, pending_reached, ended: Vec::new(), archive_next: None };
        if !place.archive_done && filter.state != Some(State::Pending) {
            let archive = app.ledger.archive(partition).ok_or("no archive here")?;
            let from =
                place.archive_from.map(|text| text.parse().map_err(|_| "not a cursor".to_owned())).transpose()?;
            let found =
                archive.scan(filter.query(), from, limit + place.archive_skip).await.map_err(|e| e.to_string())?;
            page.ended =
                found.items.iter().skip(place.archive_skip).map(|e| Summary::new(&e.delivery, &e.sheet)).collect();
            page.archive_next = found.next.map(|cursor| cursor.to_string());
        }
        // What ended between the two looks is in both.
        let ended: BTreeSet<DeliveryId> = page.ended.iter().map(|summary| summary.id).collect();
        page.pending.retain(|summary| !ended.contains(&summary.id));
        Ok(page)
    }
}

/// Pending deliveries before `before`, newest first. The machine gives them oldest first, so windows of time are searched
/// backwards, each longer than the one before.
fn pending(
    partition: &Partition,
    filter: &Filter,
    before: Option<DeliveryId>,
    limit: usize,
    now: Time,
) -> (Vec<Summary>, Option<DeliveryId>) {
    let mut found = Vec::new();
    let mut end = before;
    let mut window = FIRST_WINDOW_MS;
    let mut work = 0;
    let mut top = before.map_or(now.after_ms(60_000), |id| id.message().time());
    loop {
        let low = Time(top.0.saturating_sub(window));
        let start = (low > Time(0)).then(|| DeliveryId::new(MessageId::first_at(low), 0, PartitionId(0)));
        let mut some = Vec::new();
        for (delivery, sheet) in partition.pending(start).take_while(|(d, _)| end.is_none_or(|end| d.id < end)) {
            work += 1;
            if filter.takes(&delivery, &sheet) {
                some.push((delivery, sheet));
            }
        }
        let room = limit - found.len();
        found.extend(some.iter().rev().take(room).map(|(delivery, sheet)| Summary::new(delivery, sheet)));
        if some.len() > room {
            let last = found.last().map(|summary| summary.id);
            return (found, last.or(before));
        }
        let Some(start) = start.filter(|_| filter.since.is_none_or(|since| low > since)) else { return (found, None) };
        // Everything from `start` on was looked at; the next window ends just there.
        end = Some(after(start));
        if found.len() == limit || work >= WORK {
            return (found, end);
        }
        (top, window) = (low, window.saturating_mul(4));
    }
}

/// The pending scan excludes its start, so what ends a window must include it.
fn after(id: DeliveryId) -> DeliveryId {
    id.next_generation().unwrap_or(id)
}

/// A page of all streams, merged, and where each stands behind it; no places when all are at their end.
/// A stream without a page could not be asked: it stays where it stands.
pub(crate) fn merge(streams: Vec<(Place, Option<Page>)>, limit: usize) -> (Vec<Summary>, Vec<Place>) {
    let mut heads: Vec<Stream> = streams.into_iter().map(|(place, page)| Stream::new(place, page)).collect();
    let mut merged = Vec::with_capacity(limit);
    while merged.len() < limit {
        let newest = heads.iter_mut().filter(|stream| stream.head().is_some()).max_by_key(|stream| stream.head());
        match newest.and_then(Stream::take) {
            Some(summary) => merged.push(summary),
            None => break,
        }
    }
    let places: Vec<Place> = heads.into_iter().map(Stream::place).collect();
    let done = places.iter().all(|place| place.pending_done && place.archive_done);
    (merged, if done { Vec::new() } else { places })
}

struct Stream {
    place: Place,
    page: Option<Page>,
    /// How many were taken of each, from the front.
    taken: (usize, usize),
}

impl Stream {
    fn new(place: Place, page: Option<Page>) -> Self {
        Self { place, page, taken: (0, 0) }
    }

    fn heads(&self) -> (Option<&Summary>, Option<&Summary>) {
        let Some(page) = &self.page else { return (None, None) };
        (page.pending.get(self.taken.0), page.ended.get(self.taken.1))
    }

    fn head(&self) -> Option<DeliveryId> {
        let (pending, ended) = self.heads();
        pending.map(|s| s.id).max(ended.map(|s| s.id))
    }

    fn take(&mut self) -> Option<Summary> {
        let (pending, ended) = self.heads();
        let from_pending = pending.map(|s| s.id) > ended.map(|s| s.id);
        let taken = if from_pending { pending.cloned() } else { ended.cloned() };
        if from_pending {
            self.taken.0 += 1
        } else {
            self.taken.1 += 1
        }
        taken
    }

    /// Where the stream stands behind what was taken.
    fn place(self) -> Place {
        let Self { mut place, page, taken: (pending, ended) } = self;
        let Some(page) = page else { return place };
        if pending < page.pending.len() {
            if let Some(last) = pending.checked_sub(1).and_then(|at| page.pending.get(at)) {
                place.pending_before = Some(last.id);
            }
        } else {
            place.pending_done = page.pending_reached.is_none();
            place.pending_before = page.pending_reached;
        }
        if ended < page.ended.len() {
            place.archive_skip += ended;
        } else {
            place.archive_skip = 0;
            place.archive_done = page.archive_next.is_none();
            place.archive_from = page.archive_next;
        }
        place
    }
}

/// The text of some places, for callers to give back.
pub(crate) fn cursor(places: &[Place]) -> Option<String> {
    if places.is_empty() {
        return None;
    }
    serde_json::to_vec(places).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads what [`cursor`] wrote.
pub(crate) fn read_cursor(text: &str) -> Option<Vec<Place>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
