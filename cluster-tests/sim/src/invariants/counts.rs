//! Counts add up, and they are the counts of what can be looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::World;

const PROMISE: &str = "counts add up";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    if book.stats.is_null() {
        return;
    }
    let ended: BTreeMap<String, u64> = serde_json::from_value(book.stats["ended"].clone()).unwrap_or_default();
    let accepted = book.stats["accepted"].as_u64().unwrap_or_default();
    let sum: u64 = ended.values().sum();
    if accepted != sum + book.stats["pending"].as_u64().unwrap_or_default() {
        world.violated(PROMISE, format!("{} accepted, ended {ended:?}", book.stats["accepted"]));
    }
    let distinct: BTreeSet<&String> = book.listed.iter().collect();
    if distinct.len() != book.listed.len() {
        world.violated(PROMISE, format!("{} rows of {} deliveries are listed", book.listed.len(), distinct.len()));
    }
    if let Some(hidden) = book.traces.keys().find(|id| !distinct.contains(id)) {
        world.violated(PROMISE, format!("{hidden} can be looked at and is not listed"));
    }
    let mut listed: BTreeMap<String, u64> = BTreeMap::new();
    for trace in distinct.iter().filter_map(|id| book.traces.get(*id)) {
        *listed.entry(trace["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    if listed != ended {
        world.violated(PROMISE, format!("counted {ended:?}, listed {listed:?}"));
    }
}
