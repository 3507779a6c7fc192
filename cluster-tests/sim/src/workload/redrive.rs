//! Dead letters of one template, sent again with an account that takes more.

use rand::Rng;
use serde_json::json;

use super::Caller;
use crate::world::Verdict;

pub(super) async fn redrive(caller: &mut Caller) {
    let account = if caller.chance.random_ratio(1, 2) { "good" } else { "bad" };
    let body = json!({"filter": {"template": "bad"}, "edit": {"account": account}, "limit": 5});
    let node = caller.node();
    let verdict = caller.ask(node, "/v1/dead-letters/redrive", None, &body).await;
    let mut book = caller.world.book.borrow_mut();
    match verdict {
        Verdict::Accepted(answer) => {
            if answer.get("incomplete").is_some() {
                book.redrives_in_doubt += 1;
            }
            for made in answer["deliveries"].as_array().into_iter().flatten() {
                let text = |field: &str| made[field].as_str().map(str::to_owned);
                if let Some(pair) = text("from").zip(text("id")) {
                    book.redrives.push(pair);
                }
            }
        }
        Verdict::Refused(..) | Verdict::Unknown(_) => book.redrives_in_doubt += 1,
    }
}
