//! A key that is revoked while a node hears nothing, and that somebody goes on using there.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::Caller;
use crate::clock::elapsed;
use crate::early::Early;
use crate::http::{Got, call};
use crate::world::Try;

/// How long after the node is cut off the key is revoked, in milliseconds.
const LATER: u64 = 200;
/// How long the key is tried after the node hears again, in milliseconds.
const AFTER: u64 = 1_500;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(120);

pub(super) async fn revoke(caller: &mut Caller, early: Early) {
    let (bearer, began) = (caller.world.book.borrow().key.clone(), *caller.world.began.borrow());
    let elsewhere = early.node % caller.world.plan.nodes + 1;
    let wanted = json!({"name": "short-lived", "role": "viewer"});
    let Got::Answer(201, made) = call(elsewhere, &bearer, "POST", "/v1/keys", None, Some(&wanted)).await else {
        return;
    };
    let (id, key) = (made["id"].as_str().unwrap_or_default(), made["key"].as_str().unwrap_or_default());
    let (from, until) = (began + early.at + LATER, began + early.until);
    sleep(Duration::from_millis(from.saturating_sub(elapsed()))).await;
    let path = format!("/v1/keys/{id}");
    // Whoever leads control may be the one that is cut off: then another one has to be elected first.
    while !matches!(call(elsewhere, &bearer, "DELETE", &path, None, None).await, Got::Answer(204, _)) {
        if elapsed() >= until {
            return;
        }
        sleep(PAUSE).await;
    }
    caller.world.book.borrow_mut().revoked = Some(elapsed());
    while elapsed() < until + AFTER {
        let at = elapsed();
        let got = call(early.node, key, "GET", "/v1/templates/plain", None, None).await;
        if let Got::Answer(status, _) = got {
            caller.world.book.borrow_mut().tries.push(Try { at, status });
        }
        sleep(PAUSE).await;
    }
}
