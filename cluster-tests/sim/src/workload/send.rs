//! A send without a key, once; under dedup now and then the same content at two nodes at once.

use rand::Rng;

use super::Caller;
use crate::clock::elapsed;

pub(super) async fn send(caller: &mut Caller) {
    let letter = caller.letter();
    if letter.template != "unique" || caller.chance.random_ratio(2, 3) {
        caller.send(&letter).await;
        return;
    }
    let (one, other, began) = (caller.node(), caller.node(), elapsed());
    let ask = |node| caller.ask(node, "/v1/messages", None, &letter.body);
    let (first, second) = tokio::join!(ask(one), ask(other));
    caller.keep(began, None, &letter, first);
    caller.keep(began, None, &letter, second);
}
