//! An address goes onto the suppression list, is sent to, and now and then comes off it again. Each caller has addresses of
//! its own, so that it knows what stands on the list when it sends.

use rand::Rng;
use serde_json::json;

use super::{Caller, Letter};
use crate::clock::elapsed;
use crate::http::{Got, call};
use crate::world::Verdict;

pub(super) async fn suppress(caller: &mut Caller) {
    let address = format!("+861390{:02}{:05}", caller.number, caller.chance.random_range(0..8));
    if caller.doubtful.contains(&address) {
        return;
    }
    let entry = json!({"channel": "sms", "address": address, "reason": "manual"});
    let node = caller.node();
    match caller.ask(node, "/v1/suppressions", None, &entry).await {
        Verdict::Accepted(_) => {}
        Verdict::Refused(..) => return,
        // It may still come about, at any time: nothing is known of this address from here on.
        Verdict::Unknown(_) => return drop(caller.doubtful.insert(address)),
    }
    let sent = send(caller, &address).await;
    caller.world.book.borrow_mut().listed_out.extend(sent);
    if caller.chance.random_ratio(1, 2) {
        let (node, bearer) = (caller.node(), caller.world.book.borrow().key.clone());
        let path = format!("/v1/suppressions?channel=sms&address=%2B{}", &address[1..]);
        if matches!(call(node, &bearer, "DELETE", &path, None, None).await, Got::Answer(204, _)) {
            let sent = send(caller, &address).await;
            caller.world.book.borrow_mut().listed_in.extend(sent);
        } else {
            caller.doubtful.insert(address);
        }
    }
}

/// Sends to the address, and gives the ids of what was kept.
async fn send(caller: &mut Caller, address: &str) -> Vec<String> {
    let number = caller.chance.random_range(1_000..u64::MAX >> 12);
    let to = vec![address.to_owned()];
    let body = json!({"template": "plain", "to": to, "variables": {"n": number.to_string()}});
    let letter = Letter { template: "plain", number, to, body };
    let (node, began) = (caller.node(), elapsed());
    let verdict = caller.ask(node, "/v1/messages", None, &letter.body).await;
    let ids = match &verdict {
        Verdict::Accepted(answer) => {
            let deliveries = answer["deliveries"].as_array().into_iter().flatten();
            deliveries.filter_map(|delivery| delivery["id"].as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    caller.keep(began, None, &letter, verdict);
    ids
}
