//! A text that goes out in parts: in order, and honest about what was only partly sent.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tidings_contract::{Call, DeliveryId, MessageId, MessageType, Outcome, PartitionId, Target, Time};

use super::{busy, delivered};
use crate::parts::{Rendered, send};
use crate::testing::{FakeChannel, Step};

fn call(letters: usize) -> (Call, Vec<Arc<[Arc<serde_json::Value>]>>) {
    let text = |name: &str| json!({ "text": name });
    let rendered = Rendered::of(vec![text("one"), text("two"), text("three")]);
    let target = |index: u16| Target {
        delivery: DeliveryId::new(MessageId::first_at(Time(1)), index, PartitionId(0)),
        attempt: 1,
        to: format!("to{index}"),
        content: Arc::clone(&rendered.first),
        part: 0,
    };
    let call = Call {
        channel: "chat".to_owned(),
        message_type: MessageType::Notice,
        at: Time(1),
        targets: (0..letters as u16).map(target).collect(),
        token: None,
        materials: None,
    };
    // The last recipient's text was short enough for one message.
    let further = (0..letters).map(|n| if n + 1 == letters { Arc::default() } else { Arc::clone(&rendered.further) });
    (call, further.collect())
}

fn texts(channel: &FakeChannel) -> Vec<String> {
    let line =
        |seen: &crate::testing::Seen| format!("{} {}", seen.to, seen.content["text"].as_str().unwrap_or_default());
    channel.seen().iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn parts_follow_each_other_and_make_one_outcome() {
    let channel = Arc::new(FakeChannel::new(|_, _| Step::deliver()));
    let (call, further) = call(2);
    let outcomes = send(channel.opened_as("fake").as_ref(), call, further).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome.outcome, Outcome::Delivered { .. })), "{outcomes:?}");
    assert_eq!(texts(&channel), ["to0 one", "to1 one", "to0 two", "to0 three"]);
}

#[tokio::test(start_paused = true)]
async fn no_part_has_the_name_of_another_so_that_none_is_dropped_as_a_repeat() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&names);
    let channel = Arc::new(FakeChannel::new(move |_, target| {
        kept.lock().push((target.part, target.repeat_id()));
        Step::deliver()
    }));
    let (call, further) = call(2);
    let delivery = call.targets[0].delivery;
    send(channel.opened_as("fake").as_ref(), call, further).await;
    let names = names.lock().clone();
    assert_eq!(names.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [0, 0, 1, 2]);
    let of_first = [&names[0].1, &names[2].1, &names[3].1];
    assert_eq!(of_first, [&delivery.to_string(), &format!("{delivery}-2"), &format!("{delivery}-3")]);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_ends_it_and_the_whole_is_unknown_unless_nothing_was_taken() {
    for (failing, expected, sent) in [("one", "later", 1), ("two", "unknown", 2), ("three", "unknown", 3)] {
        let channel = Arc::new(FakeChannel::new(move |_, target| {
            let outcome = if target.content["text"] == failing { busy() } else { delivered() };
            super::after(0, outcome)
        }));
        let (mut call, mut further) = call(2);
        call.targets.truncate(1);
        further.truncate(1);
        let outcomes = send(channel.opened_as("fake").as_ref(), call, further).await;
        assert_eq!((outcomes[0].outcome.class(), channel.seen().len()), (expected, sent), "{failing}");
        if expected == "unknown" {
            let reason = outcomes[0].outcome.reason().expect("a reason");
            assert_eq!(reason.code, "partly_sent");
            assert!(reason.words.starts_with(&format!("part {sent} of 3: ")), "{reason}");
        }
    }
}
