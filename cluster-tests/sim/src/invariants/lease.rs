//! The lease: nothing is attempted by a node that has been succeeded, however long it was frozen. What another node recorded
//! of an attempt, or of the end, comes before no call of a former owner. There is no excuse: a call arrives here when it begins.
//! The times of a trace are the group's, which may lag behind the truth; so a call that the trace knows as an attempt of that
//! very node is none, and the others have to come later by more than the group's time may lag.

use serde_json::Value;

use super::{arrivals, attempts, events, time};
use crate::provider::Arrival;
use crate::world::World;

const PROMISE: &str = "one owner at the moment of the call";

/// By how much the time of a group may lag behind the truth, in milliseconds: what clocks may differ by.
const LAG: u64 = 500;

pub(super) fn judge(world: &World) {
    let lag = LAG + world.lag();
    let arrived = arrivals(world);
    for (id, trace) in &world.book.borrow().traces {
        for arrival in arrived.get(id).into_iter().flatten().filter(|arrival| !is_recorded(trace, arrival)) {
            let before = |event: &&Value| time(event, "at").is_some_and(|at| at + lag < arrival.at);
            for event in events(trace).filter(before) {
                let others = event["node"].as_u64().is_some_and(|node| node != arrival.node as u64);
                let same = event["attempt"].as_u64() >= Some(u64::from(arrival.attempt));
                let late = match event["what"].as_str() {
                    Some("ended") => true,
                    Some("attempted") => others && same,
                    _ => false,
                };
                if late {
                    world
                        .violated(PROMISE, format!("{id} was attempted after this was recorded: {event}; {arrival:?}"));
                }
            }
        }
    }
}

/// Whether the trace tells of this call as an attempt of the node that made it.
fn is_recorded(trace: &Value, arrival: &Arrival) -> bool {
    attempts(trace).any(|event| {
        event["node"].as_u64() == Some(arrival.node as u64) && event["attempt"].as_u64() == Some(arrival.attempt.into())
    })
}
