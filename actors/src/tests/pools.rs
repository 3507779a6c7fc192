//! Pools keep a slow or broken provider to itself, and lanes keep urgent things first.

use std::time::Duration;

use tidings_contract::{Lane, MessageType, Outcome, Reason};
use tidings_machine::partition::{RetryPolicy, State};
use tokio::time::sleep;

use super::{LATENCY, LONG, after, attempts, delivered, states, world};
use crate::Settings;
use crate::testing::{FakeChannel, Spec, Step, World};

#[tokio::test(start_paused = true)]
async fn a_hanging_provider_holds_up_only_its_own_pool() {
    let world = world(|call, _| if call.channel == "sms" { Step::Hang } else { Step::deliver() }).await;
    world.send(&Spec::default(), 3_000);
    sleep(Duration::from_secs(1)).await;
    let start = tidings_contract::Clock::now(&*world.clock);
    let mail = Spec { channel: "email".to_owned(), ..Spec::default() };
    world.send(&mail, 1_000);
    world.send(&Spec { message_type: MessageType::AuthCode, channel: "push".to_owned(), ..Spec::default() }, 1_000);
    assert_eq!(world.until_ended(2_000, Duration::from_secs(5)).await, 2_000);
    let took = tidings_contract::Clock::now(&*world.clock).since(start);
    assert!(took < Duration::from_millis(500), "others took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_the_pools_size_are_under_way() {
    let world = world(|_, _| after(100, delivered())).await;
    world.send(&Spec::default(), 640);
    assert_eq!(world.until_ended(640, LONG).await, 640);
    let seen = world.channel.seen();
    for n in 64..seen.len() {
        assert!(seen[n].at.0 >= seen[n - 64].at.0 + 100, "call {n} began before call {} had ended", n - 64);
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_within_the_deadline_is_unknown() {
    let world = world(|_, target| if target.attempt == 1 { Step::Hang } else { Step::deliver() }).await;
    let sent = world.send(&Spec::default(), 1);
    world.until_ended(1, LONG).await;
    let ended = world.ended(&sent[0]).expect("it ended");
    let wanted = [(1, "unknown", "timeout".to_owned()), (2, "delivered", String::new())];
    assert_eq!(attempts(&ended), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_costs_only_that_attempt() {
    let world =
        world(|_, target| if target.attempt == 1 && target.to.ends_with('7') { Step::Panic } else { Step::deliver() })
            .await;
    let sent = world.send(&Spec::default(), 20);
    assert_eq!(world.until_ended(20, LONG).await, 20);
    assert!(sent.iter().all(|delivery| world.state(delivery) == State::Delivered));
    let panicked: Vec<_> = sent.iter().filter_map(|d| world.ended(d)).filter(|e| attempts(e).len() == 2).collect();
    assert_eq!(panicked.len(), 2);
    assert!(panicked.iter().all(|ended| attempts(ended)[0] == (1, "unknown", "panic".to_owned())));
    assert!(world.motion.observe().iter().all(|actor| actor.restarts == 0));
}

#[tokio::test(start_paused = true)]
async fn a_higher_lane_goes_first_in_a_full_pool() {
    let settings = Settings { pool_size: 1, in_motion: 4, ..Settings::default() };
    let channel = FakeChannel::new(|_, _| after(10, delivered()));
    let world = World::new(1, LATENCY, settings, channel).await.expect("a world starts");
    world.send(&Spec { lane: Some(Lane::Low), ..Spec::default() }, 100);
    sleep(Duration::from_millis(200)).await;
    let high = world.send_to(&Spec { lane: Some(Lane::High), ..Spec::default() }, &["+8613900000000".to_owned()]);
    let before = world.channel.seen().len();
    world.until_ended(101, LONG).await;
    let at = world.channel.seen().iter().position(|seen| seen.delivery == high[0]).expect("it was sent");
    // Those already in motion go before it.
    assert!(at <= before + 4, "{} went before it", at - before);
}

#[tokio::test(start_paused = true)]
async fn recipients_of_one_account_and_template_share_a_call_where_the_provider_can() {
    let world = world(|_, _| after(20, delivered())).await;
    world.account("many", "fake/many", None);
    world.send(&Spec { account: Some("many".to_owned()), ..Spec::default() }, 2_000);
    assert_eq!(world.until_ended(2_000, LONG).await, 2_000);
    let seen = world.channel.seen();
    assert!(seen.iter().all(|seen| seen.together <= 10));
    assert!(seen.iter().filter(|seen| seen.together == 10).count() > 1_000);
}

#[tokio::test(start_paused = true)]
async fn each_recipient_of_a_shared_call_has_an_outcome_of_its_own() {
    let world = world(|_, target| {
        let outcome = match target.to.chars().last() {
            Some('3') => Outcome::never(tidings_contract::Blame::Recipient, "gone", ""),
            Some('4') => Outcome::Later { reason: Reason::new("busy", ""), after_ms: None },
            _ => delivered(),
        };
        Step::Give(Duration::ZERO, outcome)
    })
    .await;
    world.account("many", "fake/many", None);
    let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::default() };
    world.send(&Spec { account: Some("many".to_owned()), retry, ..Spec::default() }, 100);
    assert_eq!(world.until_ended(100, LONG).await, 100);
    assert_eq!(states(&world), [(State::Delivered, 80), (State::Failed, 20)].into());
}

/// How long deliveries took that were sent now, the slowest of them.
async fn slowest(world: &World, spec: &Spec, count: u16) -> Duration {
    let start = tidings_contract::Clock::now(&*world.clock);
    let before = world.channel.seen().len();
    let sent: std::collections::BTreeSet<_> = world.send(spec, count).into_iter().collect();
    sleep(Duration::from_secs(5)).await;
    let seen = world.channel.seen();
    let ours = seen[before..].iter().filter(|seen| sent.contains(&seen.delivery));
    let times: Vec<_> = ours.map(|seen| seen.at.since(start)).collect();
    assert_eq!(times.len(), usize::from(count), "all were sent within five seconds");
    times.into_iter().max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_waiting_campaigns_delay_no_codes() {
    let world = world(|_, _| after(100, delivered())).await;
    let codes = Spec { message_type: MessageType::AuthCode, ..Spec::default() };
    let alone = slowest(&world, &codes, 50).await;
    let campaign = Spec { message_type: MessageType::Marketing, template: "hello".to_owned(), ..Spec::default() };
    world.send(&campaign, 50_000);
    world.send(&campaign, 50_000);
    sleep(Duration::from_millis(500)).await;
    let beside = slowest(&world, &codes, 50).await;
    assert!(beside <= alone + Duration::from_millis(20), "{beside:?}, alone {alone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_changes_nothing_for_another_pool_however_much_waits_for_it() {
    let world = world(|call, _| if call.channel == "sms" { Step::Hang } else { after(10, delivered()) }).await;
    let mail = Spec { channel: "email".to_owned(), ..Spec::default() };
    let alone = slowest(&world, &mail, 60).await;
    for _ in 0..5 {
        world.send(&Spec::default(), 20_000);
    }
    for _ in 0..5 {
        let beside = slowest(&world, &mail, 60).await;
        assert!(beside <= alone + Duration::from_millis(10), "{beside:?}, alone {alone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_campaign_does_not_hold_up_another_of_its_lane() {
    let settings = Settings { pool_size: 4, in_motion: 16, ..Settings::default() };
    let channel = FakeChannel::new(|_, _| after(100, delivered()));
    let world = World::new(2, LATENCY, settings, channel).await.expect("a world starts");
    world.template("other", "{\"text\":\"Hi\"}");
    let large = Spec { message_type: MessageType::Marketing, ..Spec::default() };
    world.send(&large, 20_000);
    sleep(Duration::from_secs(1)).await;
    // At forty calls a second the others get every second one.
    let took = slowest(&world, &Spec { template: "other".to_owned(), ..large }, 60).await;
    assert!(took < Duration::from_millis(4_500), "60 of another campaign took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_low_lane_goes_on_slowly_while_a_high_one_has_more_than_enough() {
    let settings = Settings { pool_size: 4, in_motion: 16, ..Settings::default() };
    let channel = FakeChannel::new(|_, _| after(100, delivered()));
    let world = World::new(1, LATENCY, settings, channel).await.expect("a world starts");
    world.send(&Spec { lane: Some(Lane::High), ..Spec::default() }, 10_000);
    let low = world.send(&Spec { lane: Some(Lane::Low), ..Spec::default() }, 100);
    sleep(Duration::from_secs(20)).await;
    let seen = world.channel.seen();
    let passed = seen.iter().filter(|seen| low.contains(&seen.delivery)).count();
    // 800 calls in 20 s, of which every seventeenth.
    assert!((40..=50).contains(&passed), "{passed} of {}", seen.len());
}
