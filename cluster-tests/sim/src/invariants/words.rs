//! Sensitive words: none arrives, what is masked arrives masked, and what is refused ends so, with the rule that did it.

use super::{arrivals, events, sent};
use crate::stock::{MASKED, REFUSED};
use crate::world::World;

const PROMISE: &str = "sensitive words";

pub(super) fn judge(world: &World) {
    for arrival in world.arrivals.lock().iter() {
        let text = arrival.text.to_lowercase();
        if let Some(word) = [MASKED, REFUSED].into_iter().find(|word| text.contains(word)) {
            world.violated(PROMISE, format!("{} arrived with {word:?}: {:?}", arrival.delivery, arrival.text));
        }
    }
    let arrived = arrivals(world);
    let book = world.book.borrow();
    for (id, (_, send)) in sent(&book) {
        let Some(trace) = book.traces.get(id) else { continue };
        let here = arrived.get(id).map_or(&[][..], Vec::as_slice);
        let says = |what: &str, rule: &str| events(trace).any(|event| event["what"] == what && event["rule"] == rule);
        let told = events(trace).all(|event| event["what"] != "omitted");
        let (masked, refused) = (send.letter.text.contains('*'), send.letter.text.contains(REFUSED));
        if let Some(one) = here.iter().find(|one| one.text != send.letter.text) {
            world.violated(PROMISE, format!("{id} arrived as {:?} instead of {:?}", one.text, send.letter.text));
        }
        if masked && told && trace["state"] == "delivered" && !says("masked", "words/mild@1") {
            world.violated(PROMISE, format!("{id} does not tell that words were masked"));
        }
        let ended = |state: &str| trace["state"] == state;
        if refused
            && !(ended("suppressed") && says("suppressed", "words/hard@1") || ended("cancelled") || ended("expired"))
        {
            world.violated(PROMISE, format!("{id} has a refused word and ended {}", trace["state"]));
        }
        if !refused && says("suppressed", "words/hard@1") {
            world.violated(PROMISE, format!("{id} was refused and has no such word"));
        }
    }
}
