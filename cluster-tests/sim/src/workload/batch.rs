//! Several messages in one request, each judged on its own.

use rand::Rng;
use serde_json::json;

use super::Caller;
use crate::clock::elapsed;
use crate::world::{Letter, Verdict};

pub(super) async fn batch(caller: &mut Caller) {
    let count = caller.chance.random_range(2..5);
    let letters: Vec<Letter> = (0..count).map(|_| caller.letter()).collect();
    submit(caller, &letters).await;
}

/// Sends letters in one request, and keeps what became of each.
pub(super) async fn submit(caller: &mut Caller, letters: &[Letter]) {
    let bodies: Vec<_> = letters.iter().map(|letter| letter.body.clone()).collect();
    let (node, began) = (caller.node(), elapsed());
    let verdict = caller.ask(node, "/v1/messages/batch", None, &json!({"messages": bodies})).await;
    for (n, letter) in letters.iter().enumerate() {
        let verdict = match &verdict {
            Verdict::Accepted(answer) => one(&answer["results"][n]),
            other => other.clone(),
        };
        caller.keep(began, None, letter, verdict);
    }
}

fn one(result: &serde_json::Value) -> Verdict {
    if result["status"] == 202 {
        return Verdict::Accepted(result.clone());
    }
    let code = result["problem"]["code"].as_str().unwrap_or("none").to_owned();
    let status = result["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0);
    if code == "timeout" || status == 500 { Verdict::Unknown(code) } else { Verdict::Refused(status, code) }
}
