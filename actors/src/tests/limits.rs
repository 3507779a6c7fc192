//! The limit of an account holds in every window, whatever happens.

use std::time::Duration;

use tidings_contract::{AccountLimit, Lane};
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
