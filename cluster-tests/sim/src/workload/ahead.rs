//! One at once and two a little later, under a cap of two in a window: the first one is slow now and then, and then all three
//! would be taken in one window.

use rand::Rng;

use super::Caller;
use super::batch::submit;
use crate::clock::in_ms;
use crate::invariants::frequency::WINDOW_MS;
use crate::world::Letter;

pub(super) async fn ahead(caller: &mut Caller) {
    // Recipients of its own, who get little else.
    let to = format!("+861371{:02}{:05}", caller.number, caller.chance.random_range(0..12));
    let mut letters: Vec<Letter> = (0..3).map(|_| Letter::new("often", caller.fresh(), vec![to.clone()])).collect();
    // Just out of reach of the first one, so that it is let in.
    let then = in_ms(WINDOW_MS + 150);
    letters[1..].iter_mut().for_each(|letter| letter.body["send_at"] = then.clone().into());
    submit(caller, &letters).await;
}
