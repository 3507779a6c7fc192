//! A revoked key: no node takes it longer than it may believe what it knew when it last heard from control.

use crate::host::STALE_AFTER_MS;
use crate::world::World;

const PROMISE: &str = "a revoked key stops working";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    let Some(revoked) = book.revoked else { return };
    for one in &book.tries {
        if one.at > revoked + STALE_AFTER_MS && !matches!(one.status, 401 | 503) {
            world.violated(PROMISE, format!("revoked at {revoked}, tried at {} and answered {}", one.at, one.status));
        }
    }
}
