//! Idempotency is linearizable: the history of every key fits a register that is written once.
//!
//! A key's claim is such a register: the first claim that takes effect fixes body and message, and every answer after
//! that shows them. So a history is linearizable exactly if (1) all accepted answers show one body and one message, (2) that
//! body's first request began before any of these answers came and before any request was told that the key had another
//! body, and (3) no request of another body is accepted. No search is needed, unlike for registers that are written often.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Send, Verdict, World};

const PROMISE: &str = "idempotency";

pub(super) fn judge(world: &World) {
    let book = world.book.borrow();
    let mut keys: BTreeMap<&String, Vec<&Send>> = BTreeMap::new();
    for send in &book.sends {
        if let Some(key) = &send.key {
            keys.entry(key).or_default().push(send);
        }
    }
    for (key, history) in keys {
        if let Some(why) = broken(&history) {
            world.violated(PROMISE, format!("{key}: {why}"));
        }
    }
}

fn broken(history: &[&Send]) -> Option<String> {
    let accepted = history.iter().filter_map(|send| match &send.verdict {
        Verdict::Accepted(answer) => Some((send, answer)),
        _ => None,
    });
    let shown: BTreeSet<(u64, &str)> = accepted
        .clone()
        .map(|(send, answer)| (send.letter.number, answer["message_id"].as_str().unwrap_or_default()))
        .collect();
    if shown.len() > 1 {
        return Some(format!("one key made several messages: {shown:?}"));
    }
    let mut ids: BTreeMap<u64, &str> = BTreeMap::new();
    for (_, answer) in accepted {
        for delivery in answer["deliveries"].as_array().into_iter().flatten() {
            let (index, id) =
                (delivery["index"].as_u64().unwrap_or_default(), delivery["id"].as_str().unwrap_or_default());
            if ids.insert(index, id).is_some_and(|before| before != id) {
                return Some(format!("recipient {index} got two deliveries"));
            }
        }
    }
    let mismatched =
        |send: &&&Send| matches!(&send.verdict, Verdict::Refused(422, code) if code == "idempotency_mismatch");
    for refused in history.iter().filter(mismatched) {
        let others =
            history.iter().filter(|send| send.letter.number != refused.letter.number && send.began < refused.ended);
        if others.count() == 0 {
            return Some("a body was refused before another was sent".to_owned());
        }
        if shown.iter().any(|(number, _)| *number == refused.letter.number) {
            return Some("the body that was accepted was refused as another".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::Letter;

    fn send(began: u64, ended: u64, number: u64, verdict: Verdict) -> Send {
        let letter = Letter { template: "plain", number, ..Letter::default() };
        Send { began, ended, key: Some("k".to_owned()), letter, verdict }
    }

    fn accepted(message: &str, delivery: &str) -> Verdict {
        Verdict::Accepted(json!({"message_id": message, "deliveries": [{"index": 0, "id": delivery}]}))
    }

    fn mismatch() -> Verdict {
        Verdict::Refused(422, "idempotency_mismatch".to_owned())
    }

    fn judged(history: &[Send]) -> Option<String> {
        broken(&history.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_history_with_repeats_doubt_and_a_refused_body_is_accepted() {
        let history = [
            send(0, 9, 1, Verdict::Unknown("timeout".to_owned())),
            send(1, 20, 1, accepted("m", "d")),
            send(5, 8, 1, Verdict::Refused(503, "no_leader".to_owned())),
            send(21, 30, 1, accepted("m", "d")),
            send(25, 31, 2, mismatch()),
        ];
        assert_eq!(judged(&history), None);
    }

    #[test]
    fn every_kind_of_history_that_no_register_could_have_is_refused() {
        let two_messages = [send(0, 9, 1, accepted("m", "d")), send(10, 19, 1, accepted("n", "e"))];
        let two_bodies = [send(0, 9, 1, accepted("m", "d")), send(10, 19, 2, accepted("m", "d"))];
        let two_deliveries = [send(0, 9, 1, accepted("m", "d")), send(10, 19, 1, accepted("m", "e"))];
        let before_anything = [send(0, 9, 2, mismatch()), send(10, 19, 1, accepted("m", "d"))];
        let own_body_refused =
            [send(0, 9, 1, accepted("m", "d")), send(0, 9, 2, mismatch()), send(10, 19, 1, mismatch())];
        for history in [&two_messages[..], &two_bodies, &two_deliveries, &before_anything, &own_body_refused] {
            assert!(judged(history).is_some(), "{history:?}");
        }
    }
}
