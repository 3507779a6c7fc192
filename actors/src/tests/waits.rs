//! What the trace tells of a wait for a limit: once for each attempt, with the policy and its version; nothing of those
//! that did not wait.

use std::time::Duration;

use tidings_contract::{AccountLimit, Clock, DeliveryId, LimitUnit};
use tidings_machine::control::Selector;
use tidings_machine::partition::{State, Waited, What};
use tokio::time::sleep;

use super::{LONG, after, delivered, world};
use crate::testing::{Spec, World};

async fn quick() -> World {
    world(|_, _| after(5, delivered())).await
}

fn waits(events: &[tidings_machine::partition::Event]) -> Vec<(u16, Waited)> {
    let told =
        |what: &What| if let What::Waited { attempt, waited } = what { Some((*attempt, waited.clone())) } else { None };
    events.iter().filter_map(|event| told(&event.what)).collect()
}

fn waits_of(world: &World, delivery: &DeliveryId) -> Vec<(u16, Waited)> {
    waits(&world.ended(delivery).expect("it ended").delivery.events)
}

#[tokio::test(start_paused = true)]
async fn who_waits_long_is_told_of_while_it_waits_and_once() {
    let world = quick().await;
    let spec = r#"{"of": "template", "windows": [{"permits": 5, "window_ms": 300000}]}"#;
    world.policy("slow", "limits", Selector::default(), spec);
    let sent = world.send(&Spec::default(), 30);
    sleep(Duration::from_secs(2)).await;
    let mut told = 0;
    for delivery in &sent {
        crate::Ledger::with_partition(&*world.ledger, delivery.partition(), &mut |partition| {
            let Some((pending, _)) = partition.delivery(delivery) else { return };
            let waits = waits(&pending.events);
            assert_eq!(waits.len(), 1, "{:?}", pending.events);
            let (attempt, Waited { rule, subject, until }) = waits[0].clone();
            assert_eq!((attempt, rule.as_str(), subject.as_str()), (1, "limits/slow@1", "template/hello"));
            assert!(until > pending.due.after_ms(200_000), "{until}");
            told += 1;
        });
    }
    assert_eq!(told, 25);
    assert_eq!(world.ledger.waits(), 25);
    assert_eq!(world.until_ended(30, LONG).await, 30);
    assert_eq!(world.ledger.waits(), 25, "they came back many times and said it once");
    assert_eq!(sent.iter().filter(|delivery| waits_of(&world, delivery).len() == 1).count(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_told_with_the_attempt_and_costs_no_command() {
    let world = quick().await;
    world.account_of("limited", "fake/one", &[AccountLimit { permits: 10, window_ms: 500 }], LimitUnit::Recipient);
    let spec = Spec { account: Some("limited".to_owned()), ..Spec::default() };
    let sent = world.send(&spec, 40);
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!(world.ledger.waits(), 0);
    let waited = sent.iter().filter(|delivery| !waits_of(&world, delivery).is_empty()).count();
    assert!((30..40).contains(&waited), "{waited} of 40 waited");
    let one = sent.iter().map(|delivery| waits_of(&world, delivery)).find(|waits| !waits.is_empty());
    let (attempt, Waited { rule, subject, .. }) = one.expect("one waited")[0].clone();
    assert_eq!((attempt, rule.as_str(), subject.as_str()), (1, "account_limit/limited@1", "account/limited"));
}

#[tokio::test(start_paused = true)]
async fn who_finds_room_at_once_did_not_wait() {
    let world = quick().await;
    let spec = r#"{"of": "recipient", "windows": [{"permits": 2, "window_ms": 60000}]}"#;
    world.policy("gently", "limits", Selector::default(), spec);
    let sent = world.send(&Spec::default(), 50);
    assert_eq!(world.until_ended(50, LONG).await, 50);
    assert!(sent.iter().all(|delivery| waits_of(&world, delivery).is_empty()));
    assert_eq!(world.ledger.waits(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_it_waits_for_a_limit_ends_then_and_not_when_there_is_room() {
    let world = quick().await;
    let spec = r#"{"of": "template", "windows": [{"permits": 5, "window_ms": 300000}]}"#;
    world.policy("slow", "limits", Selector::default(), spec);
    let expires_at = world.clock.now().after_ms(20_000);
    let sent = world.send(&Spec { expires_at: Some(expires_at), ..Spec::default() }, 12);
    assert_eq!(world.until_ended(12, LONG).await, 12);
    assert!(world.clock.now() <= expires_at.after_ms(1_000), "{} is long after {expires_at}", world.clock.now());
    assert_eq!(sent.iter().filter(|delivery| world.state(delivery) == State::Expired).count(), 7);
}
