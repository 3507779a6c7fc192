//! A limit is the cluster's limit, in any sliding window, counted at the provider.

use crate::world::World;

const PROMISE: &str = "a limit is the cluster's";
/// As the operator set them for the account `capped`: permits, and the length of the window in milliseconds.
const WINDOWS: [(usize, u64); 2] = [(4, 1_500), (10, 6_000)];

pub(super) fn judge(world: &World) {
    let mut at: Vec<u64> = world.arrivals.lock().iter().filter(|a| a.account == "capped").map(|a| a.at).collect();
    at.sort_unstable();
    for (permits, window_ms) in WINDOWS.map(|(permits, ms)| (permits, world.plan.window(ms))) {
        if let Some(window) = at.windows(permits + 1).find(|window| window[permits] - window[0] < window_ms) {
            world.violated(PROMISE, format!("{} calls within {window_ms} ms: {window:?}", permits + 1));
        }
    }
}
