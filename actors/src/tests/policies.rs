//! Limits and pool sizes out of policies: each subject keeps its windows, several at once, and none burns what others could
//! use.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_contract::{AccountLimit, Clock, MessageType};
use tidings_machine::control::Selector;
use tokio::time::sleep;

use super::{LATENCY, LONG, after, delivered, world};
use crate::Settings;
use crate::testing::{FakeChannel, Seen, Spec, Step, World};

async fn quick() -> World {
    world(|_, _| after(5, delivered())).await
}

fn for_templates(templates: &[&str]) -> Selector {
    Selector { templates: templates.iter().map(|name| (*name).to_owned()).collect(), ..Selector::default() }
}

/// Checks one window over these calls.
fn check<'a>(seen: impl Iterator<Item = &'a Seen>, permits: usize, window_ms: u64) -> usize {
    let mut times: Vec<u64> = seen.map(|seen| seen.at.0).collect();
    times.sort_unstable();
    for window in times.windows(permits + 1) {
        let span = window[permits] - window[0];
        assert!(span >= window_ms, "{} calls within {span} ms of {window_ms}", permits + 1);
    }
    times.len()
}

#[tokio::test(start_paused = true)]
async fn every_recipient_has_windows_of_its_own() {
    let world = quick().await;
    let spec =
        r#"{"of": "recipient", "windows": [{"permits": 1, "window_ms": 2000}, {"permits": 3, "window_ms": 20000}]}"#;
    world.policy("gently", "limits", Selector::default(), spec);
    let start = world.clock.now();
    for _ in 0..5 {
        world.send(&Spec::default(), 40);
    }
    assert_eq!(world.until_ended(200, LONG).await, 200);
    let mut by_recipient: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for seen in world.channel.seen() {
        by_recipient.entry(seen.to.clone()).or_default().push(seen);
    }
    assert_eq!(by_recipient.len(), 40);
    for seen in by_recipient.values() {
        check(seen.iter(), 1, 2_000);
        check(seen.iter(), 3, 20_000);
    }
    let took = world.clock.now().since(start);
    assert!(took < Duration::from_secs(30), "five to each took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recipient_has_a_budget_on_each_channel() {
    let world = quick().await;
    world.policy(
        "gently",
        "limits",
        Selector::default(),
        r#"{"of": "recipient", "windows": [{"permits": 1, "window_ms": 60000}]}"#,
    );
    world.send(&Spec::default(), 1);
    world.send(&Spec { channel: "email".to_owned(), ..Spec::default() }, 1);
    assert_eq!(world.until_ended(2, Duration::from_secs(5)).await, 2);
}

#[tokio::test(start_paused = true)]
async fn account_template_key_and_recipient_hold_at_once() {
    let world = quick().await;
    world.account("limited", "fake/one", Some(AccountLimit { permits: 30, window_ms: 3_000 }));
    world.policy(
        "t",
        "limits",
        for_templates(&["hello"]),
        r#"{"of": "template", "windows": [{"permits": 40, "window_ms": 5000}]}"#,
    );
    world.policy(
        "k",
        "limits",
        Selector::default(),
        r#"{"of": "key", "windows": [{"permits": 12, "window_ms": 1000}]}"#,
    );
    world.policy(
        "r",
        "limits",
        Selector::default(),
        r#"{"of": "recipient", "windows": [{"permits": 2, "window_ms": 4000}]}"#,
    );
    let spec = Spec { account: Some("limited".to_owned()), ..Spec::default() };
    for _ in 0..4 {
        world.send(&spec, 100);
    }
    assert_eq!(world.until_ended(400, LONG).await, 400);
    let seen = world.channel.seen();
    check(seen.iter(), 30, 3_000);
    check(seen.iter(), 40, 5_000);
    check(seen.iter(), 12, 1_000);
    for to in (0..100).map(|n| format!("+86138{n:08}")) {
        assert_eq!(check(seen.iter().filter(|seen| seen.to == to), 2, 4_000), 4);
    }
    // The template allows 8 a second, which is the least: 50 s and a little.
    let took = seen[399].at.0 - seen[0].at.0;
    assert!(took < 56_000, "400 took {took} ms");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_limit_burns_nothing_of_another() {
    let world = quick().await;
    world.template("slow", "{\"text\":\"Hi\"}");
    world.account("limited", "fake/one", Some(AccountLimit { permits: 20, window_ms: 6_000 }));
    world.policy(
        "slowly",
        "limits",
        for_templates(&["slow"]),
        r#"{"of": "template", "windows": [{"permits": 2, "window_ms": 30000}]}"#,
    );
    let spec = Spec { account: Some("limited".to_owned()), ..Spec::default() };
    // Those that are held up came first and are many.
    world.send(&Spec { template: "slow".to_owned(), ..spec.clone() }, 500);
    sleep(Duration::from_secs(1)).await;
    world.send(&spec, 500);
    sleep(Duration::from_secs(60)).await;
    let seen = world.channel.seen();
    check(seen.iter(), 20, 6_000);
    let start = seen[0].at.0;
    let used = seen.iter().filter(|seen| seen.at.0 < start + 54_000).count();
    assert!(used >= 171, "{used} of 180 were used");
    let texts: Vec<_> = seen.iter().filter(|seen| seen.content["text"] == "Hi").collect();
    check(texts.iter().copied(), 2, 30_000);
    assert!(texts.len() >= 3, "{} of the slow template went out", texts.len());
}

#[tokio::test(start_paused = true)]
async fn a_policy_holds_from_the_moment_it_is_there_and_no_longer() {
    let world = quick().await;
    world.policy(
        "stop",
        "limits",
        Selector::default(),
        r#"{"of": "all", "windows": [{"permits": 5, "window_ms": 3600000}]}"#,
    );
    world.send(&Spec::default(), 100);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.channel.seen().len(), 5);
    world.no_policy("stop");
    assert_eq!(world.until_ended(100, Duration::from_secs(2)).await, 100, "they come back at once");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_a_policy_makes_larger_takes_more_within_a_second() {
    let settings = Settings { pool_size: 4, ..Settings::default() };
    let channel = FakeChannel::new(|_, _| Step::Hang);
    let world = World::new(2, LATENCY, settings, channel).await.expect("a world starts");
    world.send(&Spec::default(), 100);
    world.send(&Spec { channel: "email".to_owned(), ..Spec::default() }, 100);
    let under_way = |pool: &str| world.channel.seen().iter().filter(|seen| seen.pool == pool).count();
    sleep(Duration::from_millis(500)).await;
    assert_eq!((under_way("sms/notice"), under_way("email/notice")), (4, 4));
    let sms =
        Selector { channels: vec!["sms".to_owned()], message_types: vec![MessageType::Notice], ..Selector::default() };
    world.policy("wide", "lanes", sms, r#"{"pool_size": 40}"#);
    sleep(Duration::from_millis(1_000)).await;
    assert_eq!((under_way("sms/notice"), under_way("email/notice")), (40, 4));
}

#[tokio::test(start_paused = true)]
async fn a_robot_with_twenty_a_minute_never_gets_one_more_in_hours_of_elections() {
    let world = quick().await;
    world.account("robot", "fake/one", Some(AccountLimit { permits: 20, window_ms: 60_000 }));
    let spec = Spec { account: None, ..Spec::default() };
    let mut sent = 0;
    for quarter in 0..12_u64 {
        for _ in 0..300 {
            world.send_to(&spec, &["robot".to_owned()]);
            sent += 1;
        }
        for minute in 0..15 {
            sleep(Duration::from_secs(57)).await;
            // Now and then nobody leads for a while, at another place of the minute each time.
            world.ledger.without_leader((minute + quarter) % 4 == 0);
            sleep(Duration::from_millis(3_000 - 37 * quarter)).await;
            world.ledger.without_leader(false);
        }
    }
    let seen = world.channel.seen();
    check(seen.iter(), 20, 60_000);
    assert!(seen.len() * 100 >= sent * 93, "{} of {sent}", seen.len());
}
