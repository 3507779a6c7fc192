//! Deliveries that end otherwise than by being sent: cancelled, expired, impossible.

use std::time::Duration;

use tidings_contract::Clock;
use tidings_machine::partition::{OnUnknown, State};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, busy, delivered, world};
use crate::Settings;
use crate::testing::{FakeChannel, Spec, Step, World};

async fn cancelled_while(outcome: tidings_contract::Outcome, on_unknown: OnUnknown) -> State {
    let world = world(move |_, _| after(500, outcome.clone())).await;
    let sent = world.send(&Spec { on_unknown, ..Spec::default() }, 1);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.channel.seen().len(), 1, "the attempt is in flight");
    world.cancel(sent[0]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.state(&sent[0]), State::Pending, "nothing ends while its attempt is in flight");
    world.until_ended(1, LONG).await;
    assert_eq!(world.channel.seen().len(), 1);
    world.state(&sent[0])
}

#[tokio::test(start_paused = true)]
async fn cancelled_in_flight_it_ends_as_the_attempt_does_and_is_not_tried_again() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        assert_eq!(cancelled_while(delivered(), on_unknown).await, State::Delivered);
        assert_eq!(cancelled_while(busy(), on_unknown).await, State::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_waits_for_a_free_call_it_is_not_sent() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        let world = world(|_, _| after(1_000, delivered())).await;
        let sent = world.send(&Spec { on_unknown, ..Spec::default() }, 200);
        sleep(Duration::from_millis(100)).await;
        let begun: Vec<_> = world.channel.seen().iter().map(|seen| seen.delivery).collect();
        sent.iter().for_each(|delivery| drop(world.cancel(*delivery)));
        assert_eq!(world.until_ended(200, LONG).await, 200);
        assert_eq!(world.channel.seen().len(), 64);
        for delivery in sent {
            let made = world.channel.seen().iter().any(|seen| seen.delivery == delivery);
            assert_eq!(world.state(&delivery), if made { State::Delivered } else { State::Cancelled });
            assert!(made || !begun.contains(&delivery));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_time_is_cancelled_at_once() {
    let world = world(|_, _| Step::deliver()).await;
    let send_at = Some(world.clock.now().after_ms(3_600_000));
    let sent = world.send(&Spec { send_at, ..Spec::default() }, 3);
    sleep(Duration::from_secs(1)).await;
    world.cancel(sent[1]);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.state(&sent[1]), State::Cancelled);
    assert_eq!(world.until_ended(3, LONG * 2).await, 3);
    assert_eq!((world.state(&sent[0]), world.state(&sent[2])), (State::Delivered, State::Delivered));
    assert_eq!(world.channel.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_next_attempt_is_cancelled_at_once() {
    let world = world(|_, _| Step::Give(Duration::ZERO, busy())).await;
    let sent = world.send(&Spec::default(), 1);
    sleep(Duration::from_secs(3)).await;
    world.cancel(sent[0]);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(world.state(&sent[0]), State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn what_runs_out_while_it_waits_for_its_next_attempt_expires_then() {
    let world = world(|_, _| Step::Give(Duration::ZERO, busy())).await;
    let expires_at = world.clock.now().after_ms(20_000);
    let sent = world.send(&Spec { expires_at: Some(expires_at), ..Spec::default() }, 1);
    world.until_ended(1, LONG).await;
    let ended = world.ended(&sent[0]).expect("it ended");
    // The machine sees that no further attempt fits, or the dispatcher that the time is up.
    assert_eq!(ended.delivery.state, State::Expired);
    assert!(world.clock.now() <= expires_at.after_ms(50));
}

#[tokio::test(start_paused = true)]
async fn what_runs_out_while_its_pool_is_full_expires_without_an_attempt() {
    let world = world(|_, _| Step::Hang).await;
    world.send(&Spec::default(), 2_000);
    sleep(Duration::from_secs(1)).await;
    let expires_at = world.clock.now().after_ms(3_000);
    let sent = world.send_to(&Spec { expires_at: Some(expires_at), ..Spec::default() }, &["+8613900000000".to_owned()]);
    sleep(Duration::from_millis(3_050)).await;
    assert_eq!(world.state(&sent[0]), State::Expired);
}

async fn impossible(world: &World, spec: &Spec) -> (State, String) {
    let sent = world.send(spec, 1);
    world.until_ended(1, LONG).await;
    let ended = world.ended(&sent[0]).expect("it ended");
    (ended.delivery.state, ended.delivery.reason.map(|reason| reason.code).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_rendered_fails_with_the_reason_and_costs_nobody_else() {
    let world = world(|_, _| Step::deliver()).await;
    let spec = Spec { variables: "{}".to_owned(), ..Spec::default() };
    assert_eq!(impossible(&world, &spec).await, (State::Failed, "missing_variable".to_owned()));
    world.send(&Spec::default(), 10);
    assert_eq!(world.until_ended(11, LONG).await, 11);
    assert_eq!(world.channel.seen().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_gone_makes_a_delivery_impossible_after_a_while() {
    let world = world(|_, _| Step::deliver()).await;
    let spec = Spec { account: Some("gone".to_owned()), ..Spec::default() };
    let start = world.clock.now();
    assert_eq!(impossible(&world, &spec).await, (State::Failed, "unknown_account".to_owned()));
    assert!(world.clock.now().since(start) >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_template_and_an_account_of_which_the_node_hears_late_are_waited_for() {
    let world = world(|_, _| Step::deliver()).await;
    let spec = Spec { template: "late".to_owned(), account: Some("late".to_owned()), ..Spec::default() };
    let sent = world.send(&spec, 3);
    sleep(Duration::from_secs(5)).await;
    world.template("late", "{\"text\":\"late\"}");
    sleep(Duration::from_secs(5)).await;
    world.account("late", "fake/one", None);
    world.until_ended(3, LONG).await;
    assert!(sent.iter().all(|delivery| world.state(delivery) == State::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_an_account_holds_within_a_second_for_what_waits_for_its_turn_too() {
    let settings = Settings { pool_size: 4, ..Settings::default() };
    let channel = FakeChannel::new(|_, _| after(500, delivered()));
    let world = World::new(2, LATENCY, settings, channel).await.expect("a world starts");
    world.account("slow", "fake/one", None);
    world.send(&Spec { account: Some("slow".to_owned()), ..Spec::default() }, 100);
    sleep(Duration::from_secs(2)).await;
    // From here on it cannot be opened.
    world.account("slow", "fake/none", None);
    let changed = world.clock.now();
    sleep(Duration::from_secs(3)).await;
    let seen = world.channel.seen();
    assert!(seen.len() >= 8, "it was in use before: {}", seen.len());
    let late: Vec<_> = seen.iter().filter(|seen| seen.at >= changed.after_ms(1_000)).collect();
    assert!(late.is_empty(), "{} went out by what was no longer so", late.len());
    world.account("slow", "fake/one", None);
    assert_eq!(world.until_ended(100, LONG).await, 100);
    assert!(world.channel.seen().len() > seen.len(), "and it is used again");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_cannot_be_opened_is_tried_again_later() {
    let world = world(|_, _| Step::deliver()).await;
    world.account("broken", "fake/none", None);
    let sent = world.send(&Spec { account: Some("broken".to_owned()), ..Spec::default() }, 1);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(world.state(&sent[0]), State::Pending);
    world.account("broken", "fake/one", None);
    world.until_ended(1, LONG).await;
    assert_eq!(world.state(&sent[0]), State::Delivered);
}
