//! Letters that are due just before a node is frozen: some of its calls are then between the last look and the first byte.

use rand::Rng;

use super::Caller;
use super::batch::submit;
use crate::clock::{elapsed, in_ms};
use crate::early::Early;
use crate::world::Letter;

/// How many.
const LETTERS: u32 = 40;
/// The last of them is due so long before the node is frozen, the first so much longer before, in milliseconds.
const BEFORE: u64 = 60;

pub(super) async fn due(caller: &mut Caller, early: Early) {
    let passed = elapsed() - *caller.world.began.borrow();
    let mut letters = Vec::new();
    for n in 0..LETTERS {
        let template = if n % 4 == 0 { "once" } else { "plain" };
        let mut letter = Letter::new(template, caller.fresh(), vec![format!("+86137200{n:05}")]);
        let before = caller.chance.random_range(0..BEFORE);
        letter.body["send_at"] = in_ms(early.at.saturating_sub(before + passed)).into();
        letters.push(letter);
    }
    submit(caller, &letters).await;
}
