//! The suppression list: what was sent after an address was put on it does not go out, and what was sent after it was taken
//! off does, unless the address is put on again before it went out.

use super::{arrivals, events};
use crate::world::{SentFree, World};

const PROMISE: &str = "the suppression list";

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    let book = world.book.borrow();
    let listed = |id: &String| {
        let trace = book.traces.get(id)?;
        Some(events(trace).any(|event| event["rule"] == "suppression_list"))
    };
    for id in &book.listed_out {
        if listed(id) == Some(false) || arrived.contains_key(id) {
            world.violated(PROMISE, format!("{id} went to an address on the list"));
        }
    }
    for SentFree { delivery: id, address, at } in &book.listed_in {
        let again = book.listings.iter().any(|(listed, since)| listed == address && since >= at);
        if listed(id) == Some(true) && !again {
            world.violated(PROMISE, format!("{id} was suppressed after its address was taken off the list"));
        }
    }
}
