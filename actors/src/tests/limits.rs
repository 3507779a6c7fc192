//! The limit of an account holds in every window, whatever happens.

use std::time::Duration;

use tidings_contract::{AccountLimit, Lane, LimitUnit};
use tidings_machine::partition::OnUnknown;
use tokio::time::sleep;

use super::{LATENCY, LONG, after, delivered};
use crate::Settings;
use crate::testing::{FakeChannel, Seen, Spec, World};

async fn limited(limit: AccountLimit) -> World {
    let channel = FakeChannel::new(|_, _| after(5, delivered()));
    let world = World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts");
    world.account("limited", "fake/one", Some(limit));
    world
}

fn spec() -> Spec {
    Spec { account: Some("limited".to_owned()), ..Spec::default() }
}

fn check(seen: &[Seen], limit: AccountLimit) {
    let mut times: Vec<u64> = seen.iter().map(|seen| seen.at.0).collect();
    times.sort_unstable();
    let permits = limit.permits as usize;
    for window in times.windows(permits + 1) {
        let span = window[permits] - window[0];
        assert!(span >= limit.window_ms, "{} calls within {span} ms", permits + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_window_holds_more_than_the_limit() {
    for limit in [
        AccountLimit { permits: 50, window_ms: 1_000 },
        AccountLimit { permits: 7, window_ms: 3_000 },
        AccountLimit { permits: 1, window_ms: 1_000 },
    ] {
        let world = limited(limit).await;
        let count = u16::try_from(limit.permits * 8).expect("a few");
        world.send(&spec(), count);
        assert_eq!(world.until_ended(count.into(), LONG).await, usize::from(count));
        check(&world.channel.seen(), limit);
        let took = tidings_contract::Clock::now(&*world.clock).0 - world.channel.seen()[0].at.0;
        assert!(took < 11 * limit.window_ms, "{count} took {took} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_for_attempts_that_are_claimed_first() {
    let limit = AccountLimit { permits: 20, window_ms: 1_000 };
    let world = limited(limit).await;
    world.send(&Spec { on_unknown: OnUnknown::Stop, ..spec() }, 100);
    assert_eq!(world.until_ended(100, LONG).await, 100);
    check(&world.channel.seen(), limit);
    assert_eq!(world.channel.seen().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn permits_that_lapsed_in_a_full_pool_are_not_used() {
    let limit = AccountLimit { permits: 10, window_ms: 1_000 };
    let world = limited(limit).await;
    world.channel.follow(|_, target| after(if target.to.starts_with("+1") { 5_000 } else { 1 }, delivered()));
    let slow: Vec<String> = (0..64).map(|n| format!("+1{n:010}")).collect();
    world.send_to(&Spec::default(), &slow);
    sleep(Duration::from_millis(50)).await;
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        world.send(&Spec { on_unknown, ..spec() }, 50);
    }
    assert_eq!(world.until_ended(164, LONG).await, 164);
    let seen: Vec<_> = world.channel.seen().into_iter().filter(|seen| seen.to.starts_with("+86")).collect();
    assert_eq!(seen.len(), 100);
    check(&seen, limit);
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_while_the_rate_limiter_dies() {
    let limit = AccountLimit { permits: 20, window_ms: 1_000 };
    let world = limited(limit).await;
    world.send(&spec(), 200);
    for _ in 0..20 {
        sleep(Duration::from_millis(431)).await;
        assert!(world.motion.kill("rate_limiter"));
    }
    assert_eq!(world.until_ended(200, LONG).await, 200);
    check(&world.channel.seen(), limit);
}

#[tokio::test(start_paused = true)]
async fn who_waits_long_waits_in_the_state_and_holds_up_no_other_account() {
    let world = limited(AccountLimit { permits: 5, window_ms: 60_000 }).await;
    world.send(&spec(), 3_000);
    sleep(Duration::from_secs(2)).await;
    let in_room = world.motion.observe().into_iter().find(|actor| actor.name == "rate_limiter").map(|a| a.queue);
    assert_eq!(in_room, Some(0));
    let start = tidings_contract::Clock::now(&*world.clock);
    world.send(&Spec::default(), 1_000);
    assert_eq!(world.until_ended(1_005, LONG).await, 1_005);
    let took = tidings_contract::Clock::now(&*world.clock).since(start);
    assert!(took < Duration::from_secs(2), "others took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_uses_what_the_limit_allows() {
    let limit = AccountLimit { permits: 20, window_ms: 1_000 };
    let world = limited(limit).await;
    world.send(&spec(), 4_000);
    assert_eq!(world.until_ended(4_000, LONG).await, 4_000);
    check(&world.channel.seen(), limit);
    let seen = world.channel.seen();
    let took = seen[seen.len() - 1].at.0 - seen[0].at.0;
    assert!(took < 230_000, "4,000 at 20 a second took {took} ms");
}

#[tokio::test(start_paused = true)]
async fn permits_go_to_the_higher_lane_first() {
    let limit = AccountLimit { permits: 5, window_ms: 1_000 };
    let world = limited(limit).await;
    world.send(&Spec { lane: Some(Lane::Low), ..spec() }, 100);
    sleep(Duration::from_millis(2_500)).await;
    let before = world.channel.seen().len();
    let high = world.send_to(&Spec { lane: Some(Lane::High), ..spec() }, &["+8613900000000".to_owned()]);
    world.until_ended(101, LONG).await;
    let at = world.channel.seen().iter().position(|seen| seen.delivery == high[0]).expect("it was sent");
    assert!(at <= before + 5, "{} went before it", at - before);
}

#[tokio::test(start_paused = true)]
async fn all_windows_of_a_limit_hold_at_once() {
    let windows = [AccountLimit { permits: 5, window_ms: 1_000 }, AccountLimit { permits: 20, window_ms: 10_000 }];
    let world = limited(windows[0]).await;
    world.account_of("limited", "fake/one", &windows, LimitUnit::Recipient);
    world.send(&spec(), 100);
    assert_eq!(world.until_ended(100, LONG).await, 100);
    windows.iter().for_each(|window| check(&world.channel.seen(), *window));
    let seen = world.channel.seen();
    let took = seen[99].at.0 - seen[0].at.0;
    assert!((43_000..=46_000).contains(&took), "100 at 20 in 10 s took {took} ms");
}

#[tokio::test(start_paused = true)]
async fn a_limit_by_request_counts_calls_however_many_recipients_they_carry() {
    let window = AccountLimit { permits: 4, window_ms: 6_000 };
    let world = limited(window).await;
    world.account_of("limited", "fake/many", &[window], LimitUnit::Request);
    world.send(&spec(), 200);
    assert_eq!(world.until_ended(200, LONG).await, 200);
    let seen = world.channel.seen();
    let mut calls: Vec<u64> = Vec::new();
    let mut left = 0;
    for one in &seen {
        if left == 0 {
            calls.push(one.at.0);
            left = one.together;
        }
        left -= 1;
    }
    calls.sort_unstable();
    for within in calls.windows(5) {
        assert!(within[4] - within[0] >= 6_000, "5 calls within {} ms", within[4] - within[0]);
    }
    let took = seen[199].at.0 - seen[0].at.0;
    assert!(took < 40_000, "200 recipients took {took} ms");
}

#[tokio::test(start_paused = true)]
async fn at_least_nineteen_of_twenty_permits_are_used_while_there_is_demand() {
    for (permits, window_ms) in [(20, 6_000), (20, 60_000), (100, 1_000)] {
        let limit = AccountLimit { permits, window_ms };
        let world = limited(limit).await;
        world.send(&spec(), 4_000);
        sleep(Duration::from_millis(window_ms * 30)).await;
        check(&world.channel.seen(), limit);
        // What came in the first instant belongs to no window that is over.
        let start = world.channel.seen()[0].at.0;
        let seen = world.channel.seen().iter().filter(|seen| seen.at.0 < start + window_ms * 29).count() as u64;
        let budget = u64::from(permits) * 29;
        assert!(seen * 100 >= budget * 95, "{seen} of {budget} at {permits} in {window_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_and_is_used_while_its_home_has_no_leader_now_and_then() {
    let limit = AccountLimit { permits: 20, window_ms: 6_000 };
    let world = limited(limit).await;
    world.send(&spec(), 500);
    for _ in 0..10 {
        sleep(Duration::from_millis(9_700)).await;
        world.ledger.without_leader(true);
        sleep(Duration::from_millis(2_300)).await;
        world.ledger.without_leader(false);
    }
    assert_eq!(world.until_ended(500, LONG).await, 500);
    check(&world.channel.seen(), limit);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_used_up_early_has_its_next_permits_sooner() {
    let limit = AccountLimit { permits: 20, window_ms: 6_000 };
    let world = limited(limit).await;
    world.send(&spec(), 400);
    assert_eq!(world.until_ended(400, LONG).await, 400);
    check(&world.channel.seen(), limit);
    let seen = world.channel.seen();
    let took = seen[399].at.0 - seen[0].at.0;
    // Nineteen windows and their margins, and a little for each way to the home; with the life of the leases it would be 118.5 s.
    assert!(took < 117_500, "twenty windows took {took} ms");
}

#[tokio::test(start_paused = true)]
async fn permits_of_calls_that_take_long_count_until_they_lapse() {
    let limit = AccountLimit { permits: 10, window_ms: 6_000 };
    let world = limited(limit).await;
    // Calls end after the leases have lapsed, but for every fifth.
    world.channel.follow(|_, target| after(if target.to.ends_with('5') { 1 } else { 400 }, delivered()));
    world.send(&spec(), 100);
    assert_eq!(world.until_ended(100, LONG).await, 100);
    check(&world.channel.seen(), limit);
}
