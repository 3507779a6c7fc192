//! Bounds may change and partitions may pause while everything runs: nothing that waits is lost, nothing is sent twice.

use std::time::Duration;

use tidings_contract::{Clock, PartitionId};
use tidings_machine::partition::{OnUnknown, State};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, delivered, states, taken, world};
use crate::Settings;
use crate::testing::{FakeChannel, Spec, World};

/// Calls of 100 ms each in pools of `pool_size`.
async fn slow(pool_size: usize) -> World {
    let settings = Settings { pool_size, ..Settings::default() };
    World::new(1, LATENCY, settings, FakeChannel::new(|_, _| after(100, delivered()))).await.expect("a world starts")
}

/// Most calls that were under way at once, of those that began from `from` on.
fn most_at_once(world: &World, from: tidings_contract::Time) -> usize {
    let seen = world.channel.seen();
    let began: Vec<_> = seen.iter().map(|seen| seen.at).filter(|at| *at >= from).collect();
    began
        .iter()
        .map(|at| began.iter().filter(|other| **other <= *at && at.0 < other.0 + 100).count())
        .max()
        .unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_grows_takes_what_waits_at_once() {
    let world = slow(2).await;
    world.send(&Spec::default(), 400);
    sleep(Duration::from_millis(1_000)).await;
    let before = world.channel.seen().len();
    assert!(before <= 22, "{before} calls in a second with two at once");
    let grown = world.clock.now();
    world.motion.resize(100, 1_024);
    assert_eq!(world.until_ended(400, LONG).await, 400);
    let took = world.clock.now().since(grown);
    assert!(took < Duration::from_millis(700), "a hundred at once took {took:?}");
    assert!(most_at_once(&world, grown) > 80);
    assert_eq!(states(&world), [(State::Delivered, 400)].into());
    assert!(taken(&world.channel).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_shrinks_begins_fewer_and_loses_nothing_that_waits() {
    let world = slow(50).await;
    world.send(&Spec::default(), 300);
    sleep(Duration::from_millis(150)).await;
    let shrunk = world.clock.now();
    world.motion.resize(3, 8);
    sleep(Duration::from_millis(120)).await;
    let settled = world.clock.now();
    assert_eq!(world.until_ended(300, LONG).await, 300);
    assert!(settled > shrunk && most_at_once(&world, settled) <= 3, "{} at once", most_at_once(&world, settled));
    assert_eq!(states(&world), [(State::Delivered, 300)].into());
    assert!(taken(&world.channel).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_pauses_ends_what_it_began_and_begins_nothing() {
    let world = slow(10).await;
    world.send(&Spec::default(), 50);
    world.send_to(&Spec { on_unknown: OnUnknown::Stop, ..Spec::default() }, &["+8613900000000".to_owned()]);
    sleep(Duration::from_millis(250)).await;
    let (pause, quiet) = world.motion.pause(PartitionId(0), Duration::from_secs(5)).await;
    assert!(quiet);
    let made = world.channel.seen().len();
    assert_eq!(world.ledger.ended_count(), made, "what was begun is recorded");
    assert!((20..51).contains(&made), "{made} were made");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.channel.seen().len(), made, "nothing is begun meanwhile");
    drop(pause);
    assert_eq!(world.until_ended(51, LONG).await, 51);
    assert_eq!(states(&world), [(State::Delivered, 51)].into());
    assert!(taken(&world.channel).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_wait_longer_than_it_was_told_for_a_provider_that_hangs() {
    let world = world(|_, _| crate::testing::Step::Hang).await;
    world.send(&Spec::default(), 4);
    sleep(Duration::from_millis(100)).await;
    let start = tokio::time::Instant::now();
    let (_pause, quiet) = world.motion.pause(PartitionId(0), Duration::from_millis(300)).await;
    assert!(!quiet && start.elapsed() < Duration::from_millis(400));
}
