//! Sends to those on lists, and to some who are not: by number, by tag, and by a template that is for guests alone.

use rand::Rng;
use serde_json::json;

use super::Caller;
use crate::lists::{COMES, FREE, GOES, GUESTS, STAYS, TAG};
use crate::world::Letter;

pub(super) async fn listed(caller: &mut Caller) {
    let number = caller.fresh();
    let person = caller.chance.random_range(0..100);
    let letter = if caller.chance.random_ratio(1, 4) {
        let guest = GUESTS.trim_end_matches('*');
        let to = vec![format!("{guest}000{person:05}"), format!("+86138000{person:05}")];
        Letter::new("vip", number, to)
    } else {
        let to = [STAYS, GOES, COMES, FREE].iter().map(|start| format!("{start}{person:05}")).collect();
        let mut letter = Letter::new("plain", number, to);
        if caller.chance.random_ratio(1, 5) {
            letter.body["tags"] = json!([TAG]);
        }
        letter
    };
    caller.send(&letter).await;
}
