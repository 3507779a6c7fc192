//! Accepted means kept, and nothing arrives that was not sent.

use std::collections::BTreeSet;

use crate::operator::accepted;
use crate::world::{Verdict, World};

const PROMISE: &str = "accepted means kept";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    for id in accepted(world) {
        if !book.traces.contains_key(&id) {
            world.violated(PROMISE, format!("{id} was accepted and the cluster does not know it"));
        }
    }
    let possible: BTreeSet<(String, &String)> = book
        .sends
        .iter()
        .filter(|send| !matches!(send.verdict, Verdict::Refused(..)))
        .flat_map(|send| send.to.iter().map(|to| (format!("number {}", send.number), to)))
        .collect();
    for arrival in world.arrivals.lock().iter() {
        if !book.traces.contains_key(&arrival.delivery) {
            world.violated(PROMISE, format!("{} arrived and the cluster does not know it", arrival.delivery));
        }
        if !possible.contains(&(arrival.text.clone(), &arrival.to)) {
            world.violated(PROMISE, format!("{} arrived although its send was refused", arrival.delivery));
        }
    }
}
