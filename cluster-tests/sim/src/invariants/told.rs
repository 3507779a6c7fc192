//! The trace is complete: it begins with how the delivery came to be, tells every attempt, and ends with its end.

use super::{arrivals, attempts, events, troubled};
use crate::world::World;

const PROMISE: &str = "the trace is complete";

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    for (id, trace) in &world.book.borrow().traces {
        let what: Vec<&str> = events(trace).filter_map(|event| event["what"].as_str()).collect();
        if what.first() != Some(&"accepted") {
            world.violated(PROMISE, format!("{id} begins with {:?}", what.first()));
        }
        if what.iter().filter(|what| **what == "ended").count() != 1 {
            world.violated(PROMISE, format!("{id} does not end once: {what:?}"));
        }
        if trace["state"] == "suppressed" && !what.contains(&"suppressed") {
            world.violated(PROMISE, format!("{id} does not say which rule suppressed it"));
        }
        for arrival in arrived.get(id).into_iter().flatten().filter(|arrival| !troubled(world, arrival)) {
            let told = attempts(trace).any(|attempt| attempt["attempt"] == u64::from(arrival.attempt));
            if !told && !what.contains(&"omitted") {
                world.violated(PROMISE, format!("{id} does not tell of {arrival:?}"));
            }
        }
    }
}
