//! Content dedup: within a window a recipient gets one content once, whichever nodes were asked at once.

use std::collections::BTreeMap;

use crate::world::World;

const PROMISE: &str = "content dedup";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    let mut twins: BTreeMap<(String, u64), Vec<(&str, &str)>> = BTreeMap::new();
    let mut of_number: BTreeMap<&str, u64> = BTreeMap::new();
    for send in book.sends.iter().filter(|send| send.letter.template == "unique") {
        of_number.extend(send.deliveries().map(|(id, _)| (id, send.letter.number)));
    }
    for (id, number) in of_number {
        let Some(trace) = book.traces.get(id) else { continue };
        let to = trace["to"].as_str().unwrap_or_default().to_owned();
        twins.entry((to, number)).or_default().push((id, trace["state"].as_str().unwrap_or_default()));
    }
    for ((to, number), all) in twins {
        let taken: Vec<_> = all.iter().filter(|(_, state)| matches!(*state, "delivered" | "unknown")).collect();
        if taken.len() > 1 {
            world.violated(PROMISE, format!("{to} got number {number} {} times: {taken:?}", taken.len()));
        }
    }
}
