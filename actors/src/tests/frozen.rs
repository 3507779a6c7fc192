//! A node whose lease is over before it has heard so, as right after a freeze: it attempts nothing, and records nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_contract::{Clock, DeliveryId, PartitionId, partition_of};
use tidings_machine::partition::{Command, OnUnknown, State, Suppress, SuppressionReason, What};
use tokio::time::sleep;

use super::{LONG, after, attempts, delivered, states, world};
use crate::testing::{FakeChannel, Spec, Step, World};

const ANN: &str = "+8613800138000";

fn lapse(world: &World, over: bool) {
    for partition in [0, 1] {
        world.ledger.lapse(PartitionId(partition), over);
    }
}

fn lead(world: &World, term: Option<u64>) {
    for partition in [0, 1] {
        world.ledger.lead(PartitionId(partition), term);
    }
}

/// The kinds of events that attempts leave.
fn told(world: &World, delivery: &DeliveryId) -> Vec<&'static str> {
    let name = |what: &What| match what {
        What::Begun { .. } => Some("begun"),
        What::Withdrawn { .. } => Some("withdrawn"),
        What::Attempted { .. } => Some("attempted"),
        _ => None,
    };
    let ended = world.ended(delivery).expect("it ended");
    ended.delivery.events.iter().filter_map(|event| name(&event.what)).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_attempted_while_only_the_report_says_that_it_leads() {
    let world = world(|_, _| Step::deliver()).await;
    let send_at = Some(world.clock.now().after_ms(60_000));
    world.send(&Spec { send_at, ..Spec::default() }, 20);
    world.send(&Spec { send_at, on_unknown: OnUnknown::Stop, ..Spec::default() }, 20);
    sleep(Duration::from_secs(30)).await;
    lapse(&world, true);
    sleep(Duration::from_secs(120)).await;
    assert_eq!((world.channel.seen().len(), world.ledger.ended_count()), (0, 0));
    lapse(&world, false);
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!(states(&world), [(State::Delivered, 40)].into());
    let ended = world.ledger.ended();
    let numbers = ended.values().map(|ended| attempts(ended).len());
    assert!(numbers.clone().all(|attempts| attempts == 1), "{:?}", numbers.collect::<Vec<_>>());
}

/// A node whose lease ended after it had claimed an attempt, while the connection was made.
async fn claimed() -> (World, DeliveryId) {
    let world = world(|_, _| Step::deliver()).await;
    world.channel.connects_for(Duration::from_millis(50));
    let sent = world.send(&Spec { on_unknown: OnUnknown::Stop, ..Spec::default() }, 1)[0];
    sleep(Duration::from_millis(40)).await;
    lapse(&world, true);
    (world, sent)
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_taken_back_and_the_attempt_is_made_when_the_lease_is_there_again() {
    let (world, sent) = claimed().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.channel.seen().len(), 0);
    lapse(&world, false);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    assert_eq!(told(&world, &sent), ["begun", "withdrawn", "begun", "attempted"]);
    assert_eq!(world.state(&sent), State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_another_owner_found_is_lost() {
    let (world, sent) = claimed().await;
    for partition in [0, 1] {
        world.ledger.owned_elsewhere(PartitionId(partition), 2);
    }
    sleep(Duration::from_secs(2)).await;
    lead(&world, None);
    sleep(Duration::from_secs(1)).await;
    lapse(&world, false);
    lead(&world, Some(3));
    assert_eq!(world.until_ended(1, LONG).await, 1);
    // What the owner in between did with it nobody here knows.
    assert_eq!((world.state(&sent), told(&world, &sent)), (State::Unknown, vec!["begun"]));
    assert_eq!(world.channel.seen().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_while_the_connection_is_made_is_found_over_at_the_first_byte() {
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (knows, asks) = (Arc::clone(&over), Arc::clone(&asked));
    // The provider asks as the HTTP client does: when its connection is there.
    let world = world(move |_, _| {
        asks.store(true, Ordering::SeqCst);
        assert!(!knows.load(Ordering::SeqCst), "the call is made though the lease is over");
        after(100, delivered())
    })
    .await;
    world.channel.connects_for(Duration::from_millis(50));
    let sent = world.send(&Spec::default(), 1)[0];
    sleep(Duration::from_millis(30)).await;
    over.store(true, Ordering::SeqCst);
    lapse(&world, true);
    sleep(Duration::from_millis(500)).await;
    assert!(!asked.load(Ordering::SeqCst));
    over.store(false, Ordering::SeqCst);
    lapse(&world, false);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    assert_eq!(told(&world, &sent), ["attempted"]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_suppressed_while_the_connection_is_made_gets_nothing() {
    let world = world(|_, _| Step::deliver()).await;
    world.channel.connects_for(Duration::from_millis(400));
    let ann = world.send_to(&Spec::default(), &[ANN.to_owned()])[0];
    sleep(Duration::from_millis(100)).await;
    let (channel, address, by) = ("sms".to_owned(), ANN.to_owned(), "key".to_owned());
    let reason = SuppressionReason::Unsubscribed;
    let wish = Suppress { channel, address, reason, until: None, by, bounce: None };
    world.ledger.apply(partition_of(ANN, 2), vec![Command::Suppress(Box::new(wish))]);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    assert_eq!((world.state(&ann), world.channel.seen().len()), (State::Suppressed, 0));
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_the_connection_is_made_is_not_attempted() {
    let world = world(|_, _| Step::deliver()).await;
    world.channel.connects_for(Duration::from_millis(400));
    let expires_at = Some(world.clock.now().after_ms(300));
    let sent = world.send(&Spec { expires_at, ..Spec::default() }, 1)[0];
    assert_eq!(world.until_ended(1, LONG).await, 1);
    assert_eq!((world.state(&sent), world.channel.seen().len()), (State::Expired, 0));
}

#[tokio::test(start_paused = true)]
async fn many_recipients_of_one_call_are_held_back_together() {
    let world = World::new(2, super::LATENCY, crate::Settings::default(), FakeChannel::new(|_, _| Step::deliver()));
    let world = world.await.expect("a world starts");
    world.account("many", "fake/many", None);
    world.ledger.lapse(PartitionId(1), true);
    world.send(&Spec { account: Some("many".to_owned()), ..Spec::default() }, 30);
    sleep(Duration::from_secs(20)).await;
    let seen = world.channel.seen();
    assert!(seen.iter().all(|seen| seen.delivery.partition() == PartitionId(0)), "one of a lapsed partition went out");
    world.ledger.lapse(PartitionId(1), false);
    assert_eq!(world.until_ended(30, LONG).await, 30);
    assert_eq!(states(&world), [(State::Delivered, 30)].into());
}
