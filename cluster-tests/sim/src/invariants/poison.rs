//! Content that kills whoever fills it: ends as `failed` after the second death and never arrives; nothing else does so.

use super::{arrivals, events, sent, troubled_at};
use crate::poison::{self, DEADLY};
use crate::world::World;

const PROMISE: &str = "poison ends";
/// What is said of a delivery that ended so.
pub(super) const REASON: &str = "poisonous_content";
/// So many deaths end a delivery.
const MOST: usize = 2;

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    let book = world.book.borrow();
    for (id, (_, send)) in sent(&book) {
        let Some(trace) = book.traces.get(id) else { continue };
        let told = events(trace).filter(|event| event["what"] == "rendering_died").count();
        let failed = trace["reason"]["code"] == REASON;
        if send.letter.text.ends_with(DEADLY) {
            if arrived.contains_key(id) {
                world.violated(PROMISE, format!("{id} arrived and cannot be filled"));
            }
            // One of the others: it was cancelled, came too late, or its recipient stands on a list.
            if trace["state"] == "failed" && !(failed && told == MOST) {
                world.violated(PROMISE, format!("{id} tells of {told} deaths and failed for {}", trace["reason"]));
            }
            // While something is broken a death may not be recorded, and happens again.
            let mut deaths = poison::deaths(&send.letter.number.to_string());
            deaths.retain(|at| !troubled_at(world, *at));
            if deaths.len() > MOST {
                world.violated(PROMISE, format!("{id} killed at {deaths:?}, while nothing was broken"));
            }
        } else if failed || told > 0 {
            world.violated(PROMISE, format!("{id} is called poisonous: {}", trace["reason"]));
        }
    }
}
