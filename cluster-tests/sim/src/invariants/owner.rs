//! One owner: attempts are made one after the other, results of older owners are refused, and a second copy has a reason.

use serde_json::Value;

use super::{arrivals, attempts, class, events, time, troubled};
use crate::provider::{Arrival, Deed};
use crate::world::World;

const PROMISE: &str = "one owner";

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    for (id, trace) in &world.book.borrow().traces {
        let here = arrived.get(id).map_or(&[][..], Vec::as_slice);
        recorded(world, id, trace, here);
        if trace["template"] == "once" {
            once(world, id, here);
        } else {
            copies(world, id, here);
        }
    }
}

/// What the trace says was attempted is what the provider saw, numbered from 1.
fn recorded(world: &World, id: &str, trace: &Value, here: &[Arrival]) {
    if events(trace).any(|event| event["what"] == "omitted") {
        return;
    }
    for (n, attempt) in attempts(trace).enumerate() {
        let number = n as u64 + 1;
        if attempt["attempt"] != number {
            world.violated(PROMISE, format!("{id} tells attempt {} in place {number}", attempt["attempt"]));
        }
        let seen = here.iter().any(|a| {
            let same = u64::from(a.attempt) == number && attempt["node"] == a.node as u64;
            same && match class(attempt) {
                "delivered" => a.deed == Deed::Take,
                "later" => a.deed == Deed::Later,
                "never" => a.deed == Deed::Never,
                _ => true,
            }
        });
        // A call whose deadline passed while its node was frozen on the way may not have got there.
        let times = time(attempt, "began").zip(time(attempt, "at"));
        let frozen = times.is_some_and(|(began, at)| {
            let node = attempt["node"].as_u64().unwrap_or_default();
            let lag = world.lag();
            world.damage.borrow().was_frozen(node, began.saturating_sub(lag), at + lag)
        });
        let lost_on_the_way = frozen && class(attempt) == "unknown";
        if !seen && !lost_on_the_way {
            world.violated(PROMISE, format!("{id} tells of an attempt the provider never saw: {attempt}"));
        }
    }
}

/// At most once: a claimed attempt is made once, and nothing follows one that may have been taken.
fn once(world: &World, id: &str, here: &[Arrival]) {
    if here.iter().filter(|a| a.deed.takes()).count() > 1 {
        world.violated("at most once", format!("{id} was taken more than once"));
    }
    if here.windows(2).any(|pair| pair[0].attempt >= pair[1].attempt) {
        world.violated("at most once", format!("{id}: one attempt was made twice"));
    }
    if here.iter().rev().skip(1).any(|a| !a.deed.tells()) {
        world.violated("at most once", format!("{id} was attempted again after an attempt with unknown end"));
    }
}

/// At least once: another call after one that was taken needs a call without an end, or a fault.
fn copies(world: &World, id: &str, here: &[Arrival]) {
    for earlier in here.iter().rev().skip(1).filter(|a| a.deed.takes()) {
        if earlier.deed.tells() && !troubled(world, earlier) {
            world.violated(PROMISE, format!("{id} was attempted again after {earlier:?}"));
        }
    }
}
