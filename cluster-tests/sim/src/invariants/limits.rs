//! A limit is the cluster's limit, in any sliding window, counted at the provider.

use crate::world::World;

const PROMISE: &str = "a limit is the cluster's";
/// As the operator set them for the account `capped`.
const PERMITS: usize = 4;
const WINDOW_MS: u64 = 1_500;

pub(super) fn judge(world: &World) {
    // Windows are counted by the clocks of nodes; with wrong clocks they are other windows than ours.
    if world.plan.skew {
        return;
    }
    let mut at: Vec<u64> = world.arrivals.lock().iter().filter(|a| a.account == "capped").map(|a| a.at).collect();
    at.sort_unstable();
    if let Some(window) = at.windows(PERMITS + 1).find(|window| window[PERMITS] - window[0] < WINDOW_MS) {
        world.violated(PROMISE, format!("{} calls within {WINDOW_MS} ms: {window:?}", PERMITS + 1));
    }
}
