//! Further legs: a delivery goes on by its second channel only after the first one certainly did not take it, never goes
//! back, and the suppression list and the caps of the address there hold.

use serde_json::Value;

use super::{arrivals, class, events, frequency, sent, troubled};
use crate::provider::Arrival;
use crate::stock::LEG_ACCOUNT;
use crate::world::World;

const PROMISE: &str = "further legs";

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    let book = world.book.borrow();
    for (id, (_, send)) in sent(&book).into_iter().filter(|(_, (_, send))| send.letter.template == "fall") {
        let here = arrived.get(id).map_or(&[][..], Vec::as_slice);
        if let Some(what) = book.traces.get(id).and_then(|trace| told(trace, here, send.letter.expires.is_some())) {
            world.violated(PROMISE, format!("{id} {what}"));
        }
        if let Some(what) = seen(world, here) {
            world.violated(PROMISE, format!("{id} {what}"));
        }
    }
    let window_ms = world.plan.window(frequency::WINDOW_MS);
    for what in frequency::crowded(&world.arrivals.lock(), window_ms, |arrival| arrival.account == LEG_ACCOUNT) {
        world.violated(PROMISE, what);
    }
    let barred = |id: &str| book.traces.get(id).is_some_and(|trace| names(trace, "suppression_list"));
    let further = |id: &str| arrived.get(id).is_some_and(|here| here.iter().any(is_further));
    for id in book.legs_out.iter().filter(|id| further(id)) {
        world.violated(PROMISE, format!("{id} went on to an address on the suppression list"));
    }
    for id in book.legs_in.iter().filter(|id| barred(id)) {
        world.violated(PROMISE, format!("{id} was kept from an address that had been taken off the list"));
    }
}

fn is_further(arrival: &Arrival) -> bool {
    arrival.account == LEG_ACCOUNT
}

fn names(trace: &Value, rule: &str) -> bool {
    events(trace).any(|event| event["rule"] == rule)
}

/// What is wrong with a trace. The log knows everything, so nothing is excused here.
fn told(trace: &Value, here: &[Arrival], expires: bool) -> Option<String> {
    let all: Vec<&Value> = events(trace).collect();
    let place = |what: &str| all.iter().position(|event| event["what"] == what);
    if place("omitted").is_some() {
        return None;
    }
    let fell = place("fell_back");
    let before = &all[..fell.unwrap_or(all.len())];
    let mut attempts = before.iter().filter(|event| event["what"] == "attempted");
    match fell {
        Some(_) => {
            if let Some(one) = attempts.find(|one| !matches!(class(one), "later" | "never")) {
                return Some(format!("went on after an attempt that may have been taken: {one}"));
            }
        }
        None if here.iter().any(is_further) => return Some("went on and does not tell".to_owned()),
        // It gave up without the second channel, though nothing kept it from there.
        None if trace["state"] == "failed" && !expires && place("leg_barred").is_none() => {
            return Some("failed, and its second channel was not tried".to_owned());
        }
        None => {}
    }
    // It ends where a rule says no to its last leg.
    let barred = fell.is_some_and(|fell| all[fell..].iter().any(|event| event["what"] == "suppressed"));
    (barred && here.iter().any(is_further)).then(|| "was attempted on a leg that a rule said no to".to_owned())
}

/// What is wrong with what the provider saw: both legs took it, or it went back.
fn seen(world: &World, here: &[Arrival]) -> Option<String> {
    let first = here.iter().find(|one| is_further(one))?;
    let mut others = here.iter().filter(|one| !is_further(one) && !troubled(world, one));
    // What nobody could record, the next owner cannot know of.
    let wrong = others.find(|one| one.deed.takes() || !one.deed.tells() || one.at > first.at)?;
    Some(format!("went on by {first:?} beside {wrong:?}"))
}
