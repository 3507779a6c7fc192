//! The ledger refuses, does not tell, loses hints and loses the lead.

use std::time::Duration;

use tidings_contract::{Clock, PartitionId};
use tidings_machine::partition::{Command, OnUnknown, State};
use tokio::time::sleep;

use super::{LONG, after, delivered, states, taken, world};
use crate::testing::{Fault, Spec, Step};

#[tokio::test(start_paused = true)]
async fn proposals_may_fail_in_every_way() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        let world = world(|_, _| after(5, delivered())).await;
        sleep(Duration::from_millis(100)).await;
        let faults = [Fault::UnknownButKept, Fault::Refused, Fault::UnknownAndLost];
        for round in 0..20 {
            let to: Vec<String> = (0..50).map(|n| format!("+86138{:08}", round * 50 + n)).collect();
            world.send_to(&Spec { on_unknown, ..Spec::default() }, &to);
            world.ledger.go_wrong([faults[round % 3], faults[round / 3 % 3]]);
            sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(world.until_ended(1_000, LONG).await, 1_000);
        assert_eq!(states(&world), [(State::Delivered, 1_000)].into());
        assert!(taken(&world.channel).values().all(|times| *times == 1));
        assert_eq!(world.channel.seen().len(), 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn outcomes_wait_for_a_leader_and_are_not_sent_again() {
    let world = world(|_, _| after(50, delivered())).await;
    world.send(&Spec::default(), 60);
    sleep(Duration::from_millis(20)).await;
    world.ledger.without_leader(true);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.ledger.ended_count(), 0);
    world.ledger.without_leader(false);
    assert_eq!(world.until_ended(60, LONG).await, 60);
    assert_eq!(world.channel.seen().len(), 60);
}

#[tokio::test(start_paused = true)]
async fn lost_hints_cost_delay_and_no_message() {
    let world = world(|_, target| if target.attempt == 1 { after(1, super::busy()) } else { Step::deliver() }).await;
    sleep(Duration::from_millis(100)).await;
    world.ledger.lose_hints(true);
    let sent = world.send(&Spec::default(), 200);
    sleep(Duration::from_secs(5)).await;
    assert!(world.channel.seen().is_empty());
    assert_eq!(world.until_ended(200, Duration::from_secs(60)).await, 200);
    assert!(sent.iter().all(|delivery| world.state(delivery) == State::Delivered));
    // A cancel that nobody heard of is seen when the delivery's time has come, at the latest.
    let send_at = Some(world.clock.now().after_ms(100_000));
    let sent = world.send(&Spec { send_at, ..Spec::default() }, 1);
    sleep(Duration::from_secs(30)).await;
    world.cancel(sent[0]);
    world.until_ended(201, LONG).await;
    assert_eq!(world.state(&sent[0]), State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_short_loss_of_the_lead_doubles_nothing() {
    let world = world(|_, target| after(10 + u64::from(target.delivery.index()) % 90, delivered())).await;
    world.send(&Spec::default(), 1_000);
    for term in 2..8 {
        sleep(Duration::from_millis(23)).await;
        for partition in [PartitionId(0), PartitionId(1)] {
            world.ledger.lead(partition, None);
        }
        sleep(Duration::from_millis(17)).await;
        for partition in [PartitionId(0), PartitionId(1)] {
            world.ledger.lead(partition, Some(term));
        }
    }
    assert_eq!(world.until_ended(1_000, LONG).await, 1_000);
    assert_eq!(world.channel.violations(), Vec::<String>::new());
    assert!(taken(&world.channel).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_without_the_lead() {
    let world = world(|_, _| Step::deliver()).await;
    sleep(Duration::from_millis(50)).await;
    world.ledger.lead(PartitionId(0), None);
    world.ledger.lead(PartitionId(1), None);
    world.send(&Spec::default(), 100);
    sleep(Duration::from_secs(60)).await;
    assert!(world.channel.seen().is_empty());
    assert!(world.motion.observe().iter().all(|actor| !actor.name.starts_with("dispatcher")));
    world.ledger.lead(PartitionId(0), Some(2));
    world.ledger.lead(PartitionId(1), Some(2));
    assert_eq!(world.until_ended(100, LONG).await, 100);
}

#[tokio::test(start_paused = true)]
async fn results_of_an_older_ownership_are_refused_and_the_delivery_is_looked_at_again() {
    let world = world(|_, _| after(200, delivered())).await;
    let sent = world.send(&Spec::default(), 50);
    sleep(Duration::from_millis(100)).await;
    for partition in [PartitionId(0), PartitionId(1)] {
        world.ledger.lead(partition, None);
        world.ledger.owned_elsewhere(partition, 2);
    }
    // The calls under way come back to an owner that is none any more.
    sleep(Duration::from_millis(500)).await;
    assert_eq!((world.ledger.ended_count(), world.channel.seen().len()), (0, 50));
    for partition in [PartitionId(0), PartitionId(1)] {
        world.ledger.lead(partition, Some(3));
    }
    assert_eq!(world.until_ended(50, LONG).await, 50);
    assert!(sent.iter().all(|delivery| world.state(delivery) == State::Delivered));
    assert_eq!(world.channel.seen().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_claimed_by_an_owner_that_is_gone_ends_unknown() {
    let world = world(|_, _| Step::deliver()).await;
    let partition = PartitionId(0);
    world.ledger.lead(PartitionId(1), None);
    world.ledger.lead(partition, None);
    sleep(Duration::from_millis(50)).await;
    let sent = world.send(&Spec { on_unknown: OnUnknown::Stop, ..Spec::default() }, 40);
    let here: Vec<_> = sent.into_iter().filter(|delivery| delivery.partition() == partition).collect();
    world.ledger.owned_elsewhere(partition, 2);
    for delivery in here.iter().take(3) {
        let (delivery, account) = (*delivery, "main".to_owned());
        world.ledger.apply(partition, vec![Command::Begin { delivery, attempt: 1, epoch: 2, account, via: None }]);
    }
    world.ledger.lead(partition, Some(3));
    assert_eq!(world.until_ended(here.len(), LONG).await, here.len());
    for (n, delivery) in here.iter().enumerate() {
        assert_eq!(world.state(delivery), if n < 3 { State::Unknown } else { State::Delivered });
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_is_told_that_time_passes() {
    let world = world(|_, _| Step::deliver()).await;
    sleep(Duration::from_secs(10)).await;
    let (_, before) = world.ledger.applied();
    sleep(Duration::from_secs(600)).await;
    let (_, after) = world.ledger.applied();
    assert!((10..=20).contains(&(after - before)), "{} ticks of two partitions in ten minutes", after - before);
}

#[tokio::test(start_paused = true)]
async fn more_than_fits_in_motion_is_walked_page_by_page() {
    let world = world(|_, _| after(1, delivered())).await;
    world.ledger.lead(PartitionId(0), None);
    world.ledger.lead(PartitionId(1), None);
    sleep(Duration::from_millis(50)).await;
    world.send(&Spec::default(), 9_000);
    world.ledger.lead(PartitionId(0), Some(2));
    world.ledger.lead(PartitionId(1), Some(2));
    let start = world.clock.now();
    assert_eq!(world.until_ended(9_000, LONG).await, 9_000);
    let took = world.clock.now().since(start);
    assert!(took < Duration::from_secs(2), "what came back was not noticed: {took:?}");
    assert_eq!(world.channel.seen().len(), 9_000);
}
