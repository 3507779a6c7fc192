//! A message that is cancelled soon after it was sent.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

use super::Caller;
use crate::clock::{elapsed, in_ms};
use crate::world::Verdict;

pub(super) async fn cancel(caller: &mut Caller) {
    let mut letter = caller.letter();
    if caller.chance.random_ratio(1, 2) {
        letter.body["send_at"] = in_ms(caller.chance.random_range(500..4_000)).into();
    }
    let (node, began) = (caller.node(), elapsed());
    let verdict = caller.ask(node, "/v1/messages", None, &letter.body).await;
    caller.keep(began, None, &letter, verdict.clone());
    let Verdict::Accepted(answer) = verdict else { return };
    let pause = caller.chance.random_range(0..400);
    tokio::time::sleep(Duration::from_millis(pause)).await;
    let ids = answer["deliveries"].as_array().into_iter().flatten().filter_map(|d| d["id"].as_str().map(str::to_owned));
    caller.world.book.borrow_mut().cancels.extend(ids);
    let path = format!("/v1/messages/{}/cancel", answer["message_id"].as_str().unwrap_or_default());
    let node = caller.node();
    caller.ask(node, &path, None, &Value::Object(json!({}).as_object().cloned().unwrap_or_default())).await;
}
