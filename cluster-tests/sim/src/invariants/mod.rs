//! What must hold: one file for each promise, judged from what callers were told, what arrived and what the cluster says.

mod counts;
mod dedup;
mod denied;
mod ends;
mod expiry;
mod failover;
mod fallback;
pub(crate) mod frequency;
mod history;
mod kept;
mod keys;
mod lease;
mod limits;
mod lists;
mod owner;
mod poison;
mod quiet;
pub(crate) mod replicas;
mod suppressions;
mod told;
mod words;

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_contract::Time;

use crate::clock::since_start;
use crate::provider::{Arrival, PATIENT_S};
use crate::world::{Book, Send, World};

/// How long after the last fault its effects may still be seen, in milliseconds: outcomes that nobody took meanwhile.
const AFTERMATH: u64 = 5_000;

/// How long an outcome may take until it stands in the log, in milliseconds; a call without an answer ends first.
fn recording(world: &World) -> u64 {
    if world.plan.freezes_calls() { PATIENT_S * 1_000 + 500 } else { 2_500 }
}

/// Judges everything, once all is settled.
pub(crate) fn judge(world: &World, looks: &std::cell::Ref<'_, BTreeMap<usize, tidings_node::sim::Look>>) {
    replicas::compare(world, looks);
    lists::judge(world);
    words::judge(world);
    kept::judge(world);
    ends::judge(world);
    counts::judge(world);
    owner::judge(world);
    lease::judge(world);
    history::judge(world);
    dedup::judge(world);
    limits::judge(world);
    fallback::judge(world);
    failover::judge(world);
    expiry::judge(world);
    frequency::judge(world);
    suppressions::judge(world);
    quiet::judge(world);
    told::judge(world);
    keys::judge(world);
    denied::judge(world);
    poison::judge(world);
}

/// What arrived, by delivery, in the order of arrival.
fn arrivals(world: &World) -> BTreeMap<String, Vec<Arrival>> {
    let mut all: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for arrival in world.arrivals.lock().iter() {
        all.entry(arrival.delivery.clone()).or_default().push(arrival.clone());
    }
    all
}

/// Whether something was broken when this call was under way, so that its end may not have been recorded.
fn troubled(world: &World, arrival: &Arrival) -> bool {
    troubled_between(world, arrival.at, arrival.answered.unwrap_or(arrival.at) + recording(world))
}

/// Whether something was broken then, or had been a moment before.
fn troubled_at(world: &World, at: u64) -> bool {
    troubled_between(world, at, at)
}

fn troubled_between(world: &World, from: u64, until: u64) -> bool {
    let damage = world.damage.borrow();
    damage.first.is_some_and(|first| first <= until && from <= damage.last.saturating_add(AFTERMATH))
}

/// What was sent and kept: by delivery, to whom, with the send that made it. Redrives make others.
fn sent(book: &Book) -> BTreeMap<&str, (&str, &Send)> {
    book.sends.iter().flat_map(|send| send.deliveries().map(move |(id, to)| (id, (to, send)))).collect()
}

/// The events of a trace.
fn events(trace: &Value) -> impl Iterator<Item = &Value> {
    trace["events"].as_array().into_iter().flatten()
}

/// The attempts a trace tells of, in order.
fn attempts(trace: &Value) -> impl Iterator<Item = &Value> {
    events(trace).filter(|event| event["what"] == "attempted")
}

/// The class of an attempt's outcome.
fn class(attempt: &Value) -> &str {
    attempt["outcome"]["class"].as_str().unwrap_or_default()
}

/// A time that an event names, in simulated milliseconds.
fn time(event: &Value, name: &str) -> Option<u64> {
    Some(since_start(Time::parse(event[name].as_str()?).ok()?))
}
