//! An address goes onto the suppression list, is sent to, and now and then comes off it again. Each caller has addresses of
//! its own, so that it knows what stands on the list when it sends.

use rand::Rng;
use serde_json::json;

use super::Caller;
use crate::clock::elapsed;
use crate::http::{Got, call};
use crate::world::{Letter, SentFree, Verdict};

pub(super) async fn suppress(caller: &mut Caller) {
    if caller.chance.random_ratio(1, 3) {
        return leg(caller).await;
    }
    let address = format!("+861390{:02}{:05}", caller.number, caller.chance.random_range(0..8));
    if caller.doubtful.contains(&address) {
        return;
    }
    let entry = json!({"channel": "sms", "address": address, "reason": "manual"});
    let node = caller.node();
    caller.world.book.borrow_mut().listings.push((address.clone(), elapsed()));
    match caller.ask(node, "/v1/suppressions", None, &entry).await {
        Verdict::Accepted(_) => {}
        Verdict::Refused(..) => return,
        // It may still come about, at any time: nothing is known of this address from here on.
        Verdict::Unknown(_) => {
            caller.doubtful.insert(address);
            return;
        }
    }
    let sent = send(caller, &address).await;
    caller.world.book.borrow_mut().listed_out.extend(sent);
    if caller.chance.random_ratio(1, 2) {
        let (node, bearer) = (caller.node(), caller.world.book.borrow().key.clone());
        let path = format!("/v1/suppressions?channel=sms&address=%2B{}", &address[1..]);
        if matches!(call(node, &bearer, "DELETE", &path, None, None).await, Got::Answer(204, _)) {
            let sent = send(caller, &address).await;
            let at = elapsed();
            let sent = sent.into_iter().map(|delivery| SentFree { delivery, address: address.clone(), at });
            caller.world.book.borrow_mut().listed_in.extend(sent);
        } else {
            caller.doubtful.insert(address);
        }
    }
}

/// Sends to the address, and gives the ids of what was kept.
async fn send(caller: &mut Caller, address: &str) -> Vec<String> {
    let letter = Letter::new("plain", caller.fresh(), vec![address.to_owned()]);
    caller.send(&letter).await
}

/// The address on the fallback channel stands on the list, or did. It is asked for when the delivery comes there, which may be
/// any time: so each address is used once, and either stays on the list or comes off it before anything is sent.
async fn leg(caller: &mut Caller) {
    caller.mails += 1;
    let address = format!("c{}n{}@legs.example", caller.number, caller.mails);
    let entry = json!({"channel": "email", "address": address, "reason": "manual"});
    let node = caller.node();
    if !matches!(caller.ask(node, "/v1/suppressions", None, &entry).await, Verdict::Accepted(_)) {
        return;
    }
    let comes_off = caller.chance.random_ratio(1, 3);
    if comes_off {
        let (node, bearer) = (caller.node(), caller.world.book.borrow().key.clone());
        let path = format!("/v1/suppressions?channel=email&address={}", address.replace('@', "%40"));
        if !matches!(call(node, &bearer, "DELETE", &path, None, None).await, Got::Answer(204, _)) {
            return;
        }
    }
    let to = format!("+86138002{:05}", caller.chance.random_range(0..1_000));
    let letter = Letter::new("fall", caller.fresh(), vec![to]).or_by(address);
    let sent = caller.send(&letter).await;
    let mut book = caller.world.book.borrow_mut();
    if comes_off { book.legs_in.extend(sent) } else { book.legs_out.extend(sent) }
}
