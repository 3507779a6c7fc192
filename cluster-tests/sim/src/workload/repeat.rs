//! A send under an idempotency key, repeated at several nodes at once and one after the other, now and then with another
//! body, which must be refused.

use std::time::Duration;

use rand::Rng;

use super::Caller;
use crate::clock::elapsed;
use crate::world::{Letter, Verdict};

/// Most repeats of a request that was not accepted.
const REPEATS: usize = 4;

pub(super) async fn repeat(caller: &mut Caller) {
    let letter = caller.letter();
    let key = format!("k-{}-{}", caller.number, caller.chance.random::<u32>());
    let first = caller.node();
    let second = caller.node();
    let apart = caller.chance.random_range(0..30);
    let began = elapsed();
    if caller.chance.random_ratio(1, 2) {
        let later = async {
            tokio::time::sleep(Duration::from_millis(apart)).await;
            let began = elapsed();
            (began, caller.ask(second, "/v1/messages", Some(&key), &letter.body).await)
        };
        let (one, (again, two)) = tokio::join!(caller.ask(first, "/v1/messages", Some(&key), &letter.body), later);
        caller.keep(began, Some(key.clone()), &letter, one);
        caller.keep(again, Some(key.clone()), &letter, two);
    }
    for _ in 0..REPEATS {
        let (node, began) = (caller.node(), elapsed());
        let verdict = caller.ask(node, "/v1/messages", Some(&key), &letter.body).await;
        let accepted = matches!(verdict, Verdict::Accepted(_));
        caller.keep(began, Some(key.clone()), &letter, verdict);
        if accepted {
            break;
        }
    }
    if caller.chance.random_ratio(1, 2) {
        let number = letter.number ^ 1;
        let mut body = letter.body.clone();
        body["variables"]["n"] = number.to_string().into();
        let text = letter.text.replace(&letter.number.to_string(), &number.to_string());
        let other = Letter { number, text, body, ..letter.clone() };
        let (node, began) = (caller.node(), elapsed());
        let verdict = caller.ask(node, "/v1/messages", Some(&key), &other.body).await;
        caller.keep(began, Some(key), &other, verdict);
    }
}
