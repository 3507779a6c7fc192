//! What one node was told is kept, no node denies.

use crate::world::World;

pub(super) fn judge(world: &World) {
    for denied in &world.book.borrow().denied {
        world.violated("nothing that is kept is denied", denied.clone());
    }
}
