//! Expiry: no attempt begins after it, what nobody attempted by then is `expired`, and nothing else is.

use tidings_contract::Time;

use super::{arrivals, events, poison, sent, troubled};
use crate::clock::since_start;
use crate::world::World;

const PROMISE: &str = "expiry";
/// From the last look at the clock to the call, in milliseconds.
const MARGIN: u64 = 50;

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    let book = world.book.borrow();
    for (id, (_, send)) in sent(&book) {
        let Some(trace) = book.traces.get(id) else { continue };
        let here = arrived.get(id).map_or(&[][..], Vec::as_slice);
        let state = trace["state"].as_str().unwrap_or_default();
        let Some(expires) = send.letter.expires else {
            if state == "expired" {
                world.violated(PROMISE, format!("{id} is expired and never was to"));
            }
            continue;
        };
        let attempted = events(trace).any(|event| matches!(event["what"].as_str(), Some("attempted" | "begun")));
        let cannot_be_filled = trace["reason"]["code"] == poison::REASON;
        let otherwise = matches!(state, "expired" | "suppressed" | "cancelled") || cannot_be_filled;
        if here.is_empty() && !attempted && !otherwise {
            world.violated(PROMISE, format!("{id} was not attempted by {expires} and is {state}"));
        }
        let off_by = world.plan.off_by();
        // An attempt that is claimed is made, however long claiming it took.
        let claimed = send.letter.template == "once";
        let late =
            here.iter().find(|one| one.at > expires + MARGIN + world.lag() && !(claimed && troubled(world, one)));
        if let Some(late) = late {
            world.violated(PROMISE, format!("{id} expired at {expires} and was attempted then: {late:?}"));
        }
        // What would wait longer for quiet hours to end is not worth the wait.
        if events(trace).any(|event| event["what"] == "deferred") {
            continue;
        }
        let ended = trace["ended_at"].as_str().and_then(|at| Time::parse(at).ok()).map(since_start);
        // One that was attempted ends as soon as its next attempt would come too late.
        if state == "expired" && !attempted && ended.is_some_and(|ended| ended + off_by < expires) {
            world.violated(PROMISE, format!("{id} is expired since {ended:?}, before its time at {expires}"));
        }
    }
}
