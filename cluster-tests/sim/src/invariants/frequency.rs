//! Frequency caps: no sliding window at the provider holds more deliveries to one recipient than the policy allows,
//! whichever nodes were asked at once and however late a delivery was.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Verdict, World};

const PROMISE: &str = "frequency caps";
/// As the operator set them in the policy `often`.
pub(crate) const MOST: usize = 2;
pub(crate) const WINDOW_MS: u64 = 2_500;

pub(super) fn judge(world: &World) {
    // Windows are counted by the clocks of nodes; with wrong clocks they are other windows than ours.
    if world.plan.skew {
        return;
    }
    let capped = capped(world);
    let mut taken: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for arrival in world.arrivals.lock().iter() {
        if arrival.deed.takes() && capped.contains(&arrival.delivery) {
            taken.entry(arrival.to.clone()).or_default().push((arrival.at, arrival.delivery.clone()));
        }
    }
    for (to, mut all) in taken {
        all.sort_unstable();
        for (n, (first, _)) in all.iter().enumerate() {
            let window = all[n..].iter().take_while(|(at, _)| at - first < WINDOW_MS);
            let distinct: BTreeSet<&String> = window.map(|(_, delivery)| delivery).collect();
            if distinct.len() > MOST {
                world.violated(PROMISE, format!("{to} got {} within {WINDOW_MS} ms from {first}", distinct.len()));
            }
        }
    }
}

/// The deliveries that the cap is for. What was redriven is not: somebody wished for it.
fn capped(world: &World) -> BTreeSet<String> {
    let book = world.book.borrow();
    let of = book.sends.iter().filter(|send| send.template == "often");
    let answers = of.filter_map(|send| match &send.verdict {
        Verdict::Accepted(answer) => answer["deliveries"].as_array(),
        _ => None,
    });
    answers.flatten().filter_map(|delivery| delivery["id"].as_str().map(str::to_owned)).collect()
}
