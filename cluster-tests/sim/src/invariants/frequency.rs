//! Frequency caps: no sliding window at the provider holds more deliveries to one recipient than the policy allows,
//! whichever nodes were asked at once and however late a delivery was.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::Arrival;
use crate::world::{Send, World};

const PROMISE: &str = "frequency caps";
/// As the operator set them in the policies `often` and `further`.
pub(crate) const MOST: usize = 2;
pub(crate) const WINDOW_MS: u64 = 2_500;

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    let often = book.sends.iter().filter(|send| send.letter.template == "often");
    // What was redriven is not capped: somebody wished for it.
    let capped: BTreeSet<&str> = often.flat_map(Send::deliveries).map(|(id, _)| id).collect();
    let counts = |arrival: &Arrival| capped.contains(arrival.delivery.as_str());
    for what in crowded(&world.arrivals.lock(), world.plan.window(WINDOW_MS), counts) {
        world.violated(PROMISE, what);
    }
}

/// Every window of those arrivals that count that holds more deliveries to one recipient than the policy allows.
pub(super) fn crowded(arrivals: &[Arrival], window_ms: u64, counts: impl Fn(&Arrival) -> bool) -> Vec<String> {
    let mut taken: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for arrival in arrivals.iter().filter(|arrival| arrival.deed.takes() && counts(arrival)) {
        taken.entry(&arrival.to).or_default().push((arrival.at, &arrival.delivery));
    }
    let mut crowded = Vec::new();
    for (to, mut all) in taken {
        all.sort_unstable();
        for (n, (first, _)) in all.iter().enumerate() {
            let window = all[n..].iter().take_while(|(at, _)| at - first < window_ms);
            let distinct: BTreeSet<&str> = window.map(|(_, delivery)| *delivery).collect();
            if distinct.len() > MOST {
                crowded.push(format!("{to} got {} within {window_ms} ms from {first}", distinct.len()));
            }
        }
    }
    crowded
}
