//! A send without a key, once.

use super::Caller;
use crate::clock::elapsed;

pub(super) async fn send(caller: &mut Caller) {
    let (letter, node, began) = (caller.letter(), caller.node(), elapsed());
    let verdict = caller.ask(node, "/v1/messages", None, &letter.body).await;
    caller.keep(began, None, &letter, verdict);
}
