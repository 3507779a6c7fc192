//! Lists: what stood on one when it was accepted never arrives, and its trace names the rule and its version. Once a new
//! version is kept, every node that can know it follows it a second later.

use serde_json::Value;

use super::{AFTERMATH, arrivals, events, sent};
use crate::lists::{BARRED_MAIL, Edition, STAYS, barred};
use crate::world::{Book, Send, World};

const PROMISE: &str = "lists";
/// How long nodes have to hear of a change, in milliseconds.
const HEARD: u64 = 1_000;

pub(super) fn judge(world: &World) {
    let arrived = arrivals(world);
    let book = world.book.borrow();
    for (id, (to, send)) in sent(&book) {
        let Some(trace) = book.traces.get(id) else { continue };
        let editions = editions(world, &book, send);
        let out = |edition: &Edition| barred(&send.letter, to, *edition).is_some();
        if editions.iter().all(out) && arrived.contains_key(id) {
            world.violated(PROMISE, format!("{id} went to {to}, who is on a list"));
        }
        match rule(trace) {
            None if editions.iter().all(out) => {
                world.violated(PROMISE, format!("{id} to {to} does not tell that a list said no"));
            }
            Some(rule) if !editions.iter().any(|edition| says(rule, send, to, *edition)) => {
                world.violated(PROMISE, format!("{id} to {to} was kept back by {rule}, which does not hold for it"));
            }
            _ => {}
        }
        let mail = send.letter.mail.as_ref().filter(|mail| mail.ends_with(BARRED_MAIL));
        let left_out =
            |event: &Value| event["what"] == "leg_barred" && event["to"].as_str() == mail.map(String::as_str);
        if mail.is_some() && !events(trace).any(left_out) {
            world.violated(PROMISE, format!("{id} does not tell that its second address is on a list"));
        }
    }
    // Whatever callers were told: these stand on the list from beginning to end.
    let never = |to: &str| to.starts_with(STAYS) || to.ends_with(BARRED_MAIL);
    for arrival in world.arrivals.lock().iter().filter(|arrival| never(&arrival.to)) {
        world.violated(PROMISE, format!("{} went to {}, who is on a list", arrival.delivery, arrival.to));
    }
}

/// The editions of the discard list under which a send may have come in.
fn editions(world: &World, book: &Book, send: &Send) -> &'static [Edition] {
    let Some((_, kept)) = book.change.filter(|(asked, _)| send.ended >= *asked) else { return &[Edition::First] };
    // A node that was cut off hears of it when it is joined again and its connections are. A repeat shows what the first
    // request of its key came to.
    let heard = send.key.is_none()
        && kept.is_some_and(|kept| kept + HEARD < send.began)
        && world.damage.borrow().was_whole(send.began.saturating_sub(AFTERMATH), send.ended);
    if heard { &[Edition::Second] } else { &[Edition::First, Edition::Second] }
}

/// The list that said no, as the trace names it.
fn rule(trace: &Value) -> Option<&str> {
    let said_no = events(trace).filter(|event| event["what"] == "suppressed");
    let mut rules = said_no.filter_map(|event| event["rule"].as_str());
    rules.find(|rule| rule.starts_with("discard/") || rule.starts_with("allow/"))
}

/// Whether a rule, in the version that is named, is what says no under that edition.
fn says(rule: &str, send: &Send, to: &str, edition: Edition) -> bool {
    let (name, version) = rule.split_once('@').unwrap_or((rule, ""));
    // Only the discard list has another version; one that was put twice is the same.
    let current = !name.starts_with("discard/") || (version == "1") == (edition == Edition::First);
    current && barred(&send.letter, to, edition) == Some(name)
}
