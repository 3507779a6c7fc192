//! What may have been taken with one account is not tried with another one, unless its template allows it.

use super::{arrivals, troubled};
use crate::world::World;

const PROMISE: &str = "an unknown outcome does not fail over";

pub(super) fn judge(world: &World) {
    for (delivery, seen) in arrivals(world) {
        // What nobody could record, the next owner cannot know of.
        let Some(first) = seen.iter().find(|one| !one.deed.tells() && !troubled(world, one)) else { continue };
        let begun = first.at;
        if let Some(other) = seen.iter().find(|one| one.at > begun && one.account != first.account) {
            let words = format!("{delivery}: attempt {} with {} may have been taken", first.attempt, first.account);
            world.violated(PROMISE, format!("{words}, attempt {} went by {}", other.attempt, other.account));
        }
    }
}
