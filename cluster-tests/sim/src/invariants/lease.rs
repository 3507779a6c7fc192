//! The lease: nothing is attempted by a node that has been succeeded, however long it was frozen. What another node recorded
//! of an attempt, or of the end, comes before no call of a former owner. There is no excuse: a call arrives here when it begins.

use serde_json::Value;

use super::{arrivals, events, time};
use crate::world::World;

const PROMISE: &str = "one owner at the moment of the call";

pub(super) fn judge(world: &World) {
    // With a wrong clock the times of a trace are not those of the simulation.
    if world.plan.skew {
        return;
    }
    let arrived = arrivals(world);
    for (id, trace) in &world.book.borrow().traces {
        for arrival in arrived.get(id).into_iter().flatten() {
            let before = |event: &&Value| time(event, "at").is_some_and(|at| at < arrival.at);
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
