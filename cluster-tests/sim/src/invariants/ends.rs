//! Every accepted delivery ends in one final state, which the provider does not contradict. Unknown is never failed.

use serde_json::Value;

use super::{arrivals, attempts, class, events, troubled};
use crate::provider::{Arrival, Deed};
use crate::world::World;

const PROMISE: &str = "every accepted delivery ends";

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    for (id, trace) in &world.book.borrow().traces {
        let state = trace["state"].as_str().unwrap_or_default();
        let here = arrived.get(id).map_or(&[][..], Vec::as_slice);
        let doubtful = attempts(trace).any(|attempt| class(attempt) == "unknown");
        match state {
            "pending" | "" => world.violated(PROMISE, format!("{id} is {state:?} at the end")),
            "delivered" if !here.iter().any(|a| a.deed == Deed::Take && a.answered.is_some()) => {
                world.violated(PROMISE, format!("{id} is delivered and no provider took it"));
            }
            "suppressed" if !here.is_empty() && !barred_later(world, trace, here) => {
                world.violated(PROMISE, format!("{id} is suppressed and was attempted"));
            }
            "failed" | "expired" | "cancelled" if doubtful => {
                world.violated(PROMISE, format!("{id} is {state} although an attempt had an unknown end"));
            }
            "failed" | "expired" | "cancelled" if here.iter().any(|a| a.deed.takes() && !troubled(world, a)) => {
                world.violated(PROMISE, format!("{id} is {state} and a provider took it"));
            }
            _ => {}
        }
    }
}

/// Whether a rule could still say no to what was attempted, and nobody took it before: its address came on the suppression list
/// before a further attempt, or it had gone on by another leg and nothing was attempted there.
fn barred_later(world: &World, trace: &Value, here: &[Arrival]) -> bool {
    let what: Vec<&str> = events(trace).filter_map(|event| event["what"].as_str()).collect();
    let fell = what.iter().rposition(|what| *what == "fell_back");
    let untouched = match fell {
        Some(fell) => !what[fell..].iter().any(|what| matches!(*what, "attempted" | "begun")),
        None => events(trace).any(|event| event["rule"] == "suppression_list"),
    };
    let not_taken = |one: &Arrival| one.deed.tells() && !one.deed.takes() || troubled(world, one);
    untouched && here.iter().all(not_taken)
}
