//! Accepted means kept, and nothing arrives that was not sent.

use std::collections::BTreeSet;

use crate::operator::accepted;
use crate::world::{Send, Verdict, World};

const PROMISE: &str = "accepted means kept";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    for id in accepted(world) {
        if !book.traces.contains_key(&id) {
            world.violated(PROMISE, format!("{id} was accepted and the cluster does not know it"));
        }
    }
    let possible: BTreeSet<(&String, &String)> = book
        .sends
        .iter()
        .filter(|send| !matches!(send.verdict, Verdict::Refused(..)))
        .flat_map(|Send { letter, .. }| letter.to.iter().chain(&letter.mail).map(move |to| (&letter.text, to)))
        .collect();
    for arrival in world.arrivals.lock().iter() {
        if !book.traces.contains_key(&arrival.delivery) {
            world.violated(PROMISE, format!("{} arrived and the cluster does not know it", arrival.delivery));
        }
        if !possible.contains(&(&arrival.text, &arrival.to)) {
            world.violated(
                PROMISE,
                format!("{} arrived and was not sent so, or its send was refused", arrival.delivery),
            );
        }
    }
}
