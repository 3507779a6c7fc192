//! A recipient's server that is unwell costs the others nothing: no attempts, no places, no breaker of the account.

use std::time::Duration;

use tidings_contract::{AccountLimit, Clock, DeliveryId, LimitUnit, Outcome, Target, Time};
use tidings_machine::partition::{RetryPolicy, State, What};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, busy, delivered, states, world};
use crate::Settings;
use crate::testing::{FakeChannel, Spec, Step, World};

fn spec() -> Spec {
    let retry = RetryPolicy { max_attempts: 200, first_ms: 200, longest_ms: 2_000, give_up_after_ms: 3_600_000 };
    Spec { channel: "webhook".to_owned(), retry, ..Spec::default() }
}

fn urls(host: &str, path: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("https://{host}/{path}?n={n}")).collect()
}

fn refused() -> Outcome {
    Outcome::later("connect", "connection refused")
}

fn is_at(target: &Target, place: &str) -> bool {
    target.to.contains(place)
}

/// The longest time from `start` to the first attempt of each.
fn slowest(world: &World, sent: &[DeliveryId], start: Time) -> Option<Duration> {
    let seen = world.channel.seen();
    let first = |id: &DeliveryId| seen.iter().find(|seen| seen.delivery == *id).map(|seen| seen.at.since(start));
    sent.iter().map(first).collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn attempts_at(world: &World, place: &str) -> usize {
    world.channel.seen().iter().filter(|seen| seen.to.contains(place)).count()
}

/// What the trace says a pending delivery waits for.
fn waits_for(world: &World, delivery: DeliveryId) -> Option<String> {
    let mut events = Vec::new();
    crate::Ledger::with_partition(&*world.ledger, delivery.partition(), &mut |partition| {
        events = partition.delivery(&delivery).map(|(delivery, _)| delivery.events.clone()).unwrap_or_default();
    });
    events.iter().find_map(|event| match &event.what {
        What::Waited { waited, .. } => Some(format!("{} {}", waited.rule, waited.subject)),
        _ => None,
    })
}

/// Sends to a server that is well while others are not; gives how long the slowest took to be attempted.
async fn beside(world: &World, to: &[String]) -> Duration {
    let start = world.clock.now();
    let sent = world.send_to(&spec(), to);
    sleep(Duration::from_secs(20)).await;
    slowest(world, &sent, start).expect("all were attempted")
}

#[tokio::test(start_paused = true)]
async fn a_url_that_answers_500_does_not_delay_another_one_of_the_same_host_and_account() {
    let world =
        world(|_, target| if is_at(target, "/bad") { Step::Give(Duration::ZERO, busy()) } else { Step::deliver() });
    let world = world.await;
    for _ in 0..5 {
        world.send_to(&spec(), &urls("gateway.example", "bad", 100));
        sleep(Duration::from_secs(2)).await;
    }
    let took = beside(&world, &urls("gateway.example", "good", 100)).await;
    assert!(took < Duration::from_millis(100), "the good ones took {took:?}");
    let mut breakers = 1;
    crate::Ledger::with_control(&*world.ledger, &mut |control| breakers = control.breakers.accounts.len());
    assert_eq!(breakers, 0, "the account is not blamed");
}

#[tokio::test(start_paused = true)]
async fn while_a_host_refuses_deliveries_to_it_wait_and_use_no_attempts_up() {
    let world =
        world(|_, target| if is_at(target, "dead") { Step::Give(Duration::ZERO, refused()) } else { Step::deliver() });
    let world = world.await;
    let sent = world.send_to(&spec(), &urls("dead.example", "first", 200));
    sleep(Duration::from_secs(30)).await;
    let before = attempts_at(&world, "dead");
    let others = world.send_to(&spec(), &urls("dead.example", "other", 200));
    sleep(Duration::from_secs(60)).await;
    let more = attempts_at(&world, "dead") - before;
    assert!(more < 20, "{more} attempts in a minute at a host that is down");
    assert_eq!(waits_for(&world, others[0]), Some("breaker/host https://dead.example:443".to_owned()));
    world.channel.follow(|_, _| Step::deliver());
    sleep(Duration::from_secs(75)).await;
    assert_eq!(states(&world), [(State::Delivered, sent.len() + others.len())].into());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_leaves_places_in_a_small_pool() {
    let settings = Settings { pool_size: 4, in_motion: 64, ..Settings::default() };
    let channel = FakeChannel::new(|_, target| if is_at(target, "hangs") { Step::Hang } else { after(5, delivered()) });
    let world = World::new(1, LATENCY, settings, channel).await.expect("a world starts");
    world.send_to(&spec(), &urls("hangs.example", "in", 2_000));
    sleep(Duration::from_secs(3)).await;
    let took = beside(&world, &urls("good.example", "in", 20)).await;
    assert!(took < Duration::from_millis(1_500), "the good ones took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_well_and_begins_to_hang_leaves_places_too() {
    let channel = FakeChannel::new(|_, _| after(5, delivered()));
    let world = World::new(1, LATENCY, Settings::default(), channel).await.expect("a world starts");
    world.send_to(&spec(), &urls("moody.example", "in", 500));
    sleep(Duration::from_secs(5)).await;
    world.channel.follow(|_, target| if is_at(target, "moody") { Step::Hang } else { after(5, delivered()) });
    world.send_to(&spec(), &urls("moody.example", "in", 3_000));
    sleep(Duration::from_secs(3)).await;
    let took = beside(&world, &urls("good.example", "in", 50)).await;
    assert!(took < Duration::from_secs(2), "the good ones took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_hosts_that_hang_leave_places_for_one_that_answers() {
    let script = |_: &_, target: &Target| if is_at(target, "hangs") { Step::Hang } else { after(5, delivered()) };
    let world = World::new(2, LATENCY, Settings::default(), FakeChannel::new(script)).await.expect("a world starts");
    beside(&world, &urls("good.example", "in", 10)).await;
    let hanging: Vec<String> = (0..2_000).map(|n| format!("https://hangs{}.example/{n}", n % 200)).collect();
    world.send_to(&spec(), &hanging);
    for _ in 0..3 {
        let took = beside(&world, &urls("good.example", "in", 50)).await;
        assert!(took < Duration::from_millis(1_500), "the good ones took {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_holds_no_permits_of_the_account_that_others_wait_for() {
    let channel = FakeChannel::new(|_, target| if is_at(target, "hangs") { Step::Hang } else { after(5, delivered()) });
    let settings = Settings { pool_size: 8, ..Settings::default() };
    let world = World::new(1, LATENCY, settings, channel).await.expect("a world starts");
    world.account_of("main", "fake/one", &[AccountLimit { permits: 200, window_ms: 1_000 }], LimitUnit::Recipient);
    world.send_to(&spec(), &urls("hangs.example", "in", 2_000));
    sleep(Duration::from_secs(10)).await;
    let took = beside(&world, &urls("good.example", "in", 50)).await;
    assert!(took < Duration::from_secs(4), "the good ones took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_url_that_comes_back_has_everything_within_the_time_that_it_is_open() {
    let world = world(|_, _| Step::Give(Duration::ZERO, busy())).await;
    let sent = world.send_to(&spec(), &urls("moody.example", "in", 500));
    sleep(Duration::from_secs(10)).await;
    world.channel.follow(|_, _| Step::deliver());
    assert_eq!(world.until_ended(sent.len(), LONG).await, sent.len());
    assert_eq!(states(&world), [(State::Delivered, sent.len())].into());
}
