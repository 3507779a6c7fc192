//! Quiet hours: nothing of the quiet template arrives before they end, whoever leads when it falls due.

use std::collections::BTreeSet;

use crate::operator::QUIET_UNTIL;
use crate::world::{Send, World};

const PROMISE: &str = "quiet hours";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    let sends = book.sends.iter().filter(|send| send.letter.template == "night");
    let night: BTreeSet<&str> = sends.flat_map(Send::deliveries).map(|(id, _)| id).collect();
    for arrival in world.arrivals.lock().iter().filter(|arrival| night.contains(arrival.delivery.as_str())) {
        if arrival.at + world.plan.off_by() < QUIET_UNTIL {
            world.violated(PROMISE, format!("{} left in quiet hours: {arrival:?}", arrival.delivery));
        }
    }
}
