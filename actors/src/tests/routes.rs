//! Accounts are chosen by weight, given up when they break, and taken back when they heal.

use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{Blame, Clock, Outcome, Time};
use tidings_machine::control::{Selector, Standing};
use tidings_machine::partition::{BreakerPolicy, CallPolicy, Leg, RetryPolicy, RouteRef, State, Way, WayAccount, What};
use tokio::time::sleep;

use super::{LONG, after, busy, delivered, refused, states, world};
use crate::testing::{Spec, Step, World};

fn account(name: &str, weight: u32, tier: u8) -> WayAccount {
    let breaker = BreakerPolicy { min_calls: 10, open_ms: 1_000, ..BreakerPolicy::default() };
    WayAccount {
        account: name.to_owned(),
        weight,
        tier,
        call: CallPolicy { timeout_ms: Some(2_000), breaker, ..CallPolicy::default() },
    }
}

fn routed(accounts: Vec<WayAccount>) -> Spec {
    let route = Some(RouteRef { name: "sms".to_owned(), version: 1 });
    let way = Way { route, accounts, attempts_per_account: 2, ..Way::default() };
    Spec { account: None, way: Some(Arc::new(way)), ..Spec::default() }
}

async fn two_accounts() -> World {
    let world = world(|_, _| after(5, delivered())).await;
    world.account("a", "fake/one", None);
    world.account("b", "fake/one", None);
    world
}

fn standing(world: &World, account: &str) -> Standing {
    let now = world.clock.now();
    let mut found = Standing::Closed;
    crate::Ledger::with_control(&*world.ledger, &mut |control| {
        found = control.breakers.accounts.get(account).map_or(Standing::Closed, |breaker| breaker.standing(now));
    });
    found
}

fn calls(world: &World, account: &str, since: Time) -> usize {
    world.channel.seen().iter().filter(|seen| seen.account == account && seen.at >= since).count()
}

#[tokio::test(start_paused = true)]
async fn accounts_get_their_shares_and_the_trace_tells_which_and_why() {
    let world = two_accounts().await;
    let sent = world.send(&routed(vec![account("a", 70, 0), account("b", 30, 0)]), 2_000);
    assert_eq!(world.until_ended(2_000, LONG).await, 2_000);
    let share = calls(&world, "a", Time(0));
    assert!((1_340..=1_460).contains(&share), "{share} of 2,000 went to a");
    let ended = world.ended(&sent[0]).expect("it ended");
    let why = ended.delivery.events.iter().find_map(|event| match &event.what {
        What::Chosen { attempt: 1, account, route: Some(route), why } => {
            Some((account.clone(), route.to_string(), why.clone()))
        }
        _ => None,
    });
    let (account, route, why) = why.expect("the choice stands in the trace");
    assert_eq!(
        (route.as_str(), why.as_str()),
        ("sms@1", if account == "a" { "weight 70 of 100" } else { "weight 30 of 100" })
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_account_is_left_within_its_setting_and_taken_back_when_it_heals() {
    let world = two_accounts().await;
    let spec = routed(vec![account("a", 70, 0), account("b", 30, 0)]);
    world.channel.break_account("a", Some(busy()));
    world.send(&spec, 200);
    assert_eq!(world.until_ended(200, LONG).await, 200, "nothing is lost");
    assert_eq!(states(&world).get(&State::Delivered), Some(&200));
    sleep(Duration::from_millis(100)).await;
    assert_ne!(standing(&world, "a"), Standing::Closed, "the breaker opened");
    // While it is open or half-open, b gets everything but the probes, and at once.
    let since = world.clock.now();
    for _ in 0..20 {
        world.send(&spec, 20);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(world.until_ended(600, LONG).await, 600);
    let probes = calls(&world, "a", since);
    assert!((1..=5).contains(&probes), "{probes} calls of a broken account in 4 s, open for 1, 2, 4 s");
    world.channel.break_account("a", None);
    sleep(Duration::from_secs(10)).await;
    world.send(&spec, 1);
    world.until_ended(601, LONG).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(standing(&world, "a"), Standing::Closed, "the only delivery was the probe");
    let since = world.clock.now();
    world.send(&spec, 1_000);
    world.until_ended(1_601, LONG).await;
    let share = calls(&world, "a", since);
    assert!((650..=750).contains(&share), "{share} of 1,000 went to a again");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_only_account_is_open_waits_without_using_up_attempts() {
    let world = two_accounts().await;
    let spec =
        Spec { retry: RetryPolicy { max_attempts: 3, ..RetryPolicy::default() }, ..routed(vec![account("a", 1, 0)]) };
    world.channel.break_account("a", Some(busy()));
    world.send(&spec, 40);
    sleep(Duration::from_millis(300)).await;
    assert!(matches!(standing(&world, "a"), Standing::Open(_)), "{:?}", standing(&world, "a"));
    let before = world.ledger.ended_count();
    let late = world.send_to(&spec, &["+8613900000001".to_owned()]);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.state(&late[0]), State::Pending);
    world.channel.break_account("a", None);
    world.until_ended(before + 1, LONG).await;
    sleep(Duration::from_secs(60)).await;
    let ended = world.ended(&late[0]).expect("it ended");
    assert_eq!((ended.delivery.state, ended.delivery.attempts), (State::Delivered, 1));
}

#[tokio::test(start_paused = true)]
async fn a_tier_is_used_when_the_one_before_it_gave_up() {
    let world = two_accounts().await;
    world.channel.break_account("a", Some(Outcome::never(Blame::Account, "no_money", "")));
    let sent = world.send(&routed(vec![account("a", 1, 0), account("b", 1, 1)]), 3);
    assert_eq!(world.until_ended(3, LONG).await, 3);
    for delivery in &sent {
        let ended = world.ended(delivery).expect("it ended");
        assert_eq!((ended.delivery.state, ended.delivery.last_account()), (State::Delivered, Some("b")));
    }
    let took = world.channel.seen().iter().map(|seen| seen.at.0).max().unwrap_or(0) - world.channel.seen()[0].at.0;
    assert!(took < 100, "the other account was tried {took} ms later");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_taken_stays_with_its_account() {
    let world = two_accounts().await;
    let spec = routed(vec![account("a", 50, 0), account("b", 50, 0)]);
    world.channel.follow(|_, target| match target.attempt {
        1 => after(1, Outcome::unknown("broke_off", "")),
        2 | 3 => after(1, busy()),
        _ => Step::deliver(),
    });
    let sent = world.send(&spec, 6);
    assert_eq!(world.until_ended(6, LONG).await, 6);
    for delivery in sent {
        let seen = world.channel.seen();
        let mut by: Vec<_> =
            seen.iter().filter(|seen| seen.delivery == delivery).map(|seen| seen.account.as_str()).collect();
        by.dedup();
        assert_eq!(by.len(), 1, "{delivery} went by {by:?}");
    }
}

/// From `a` to a mail to Ann, with a template and an account of its own.
fn falling_to_mail(world: &World) -> Spec {
    world.account("mail", "fake/one", None);
    world.template("by-mail", "{\"text\":\"Dear {{ name }}\"}");
    let way = Way { accounts: vec![account("mail", 1, 0)], ..Way::default() };
    let leg = Leg {
        template: "by-mail".to_owned(),
        version: 1,
        channel: "email".to_owned(),
        way,
        retry: RetryPolicy::default(),
    };
    let fallback = vec![Some("ann@example.com".to_owned())];
    Spec { legs: vec![Arc::new(leg)], fallback, ..routed(vec![account("a", 1, 0)]) }
}

#[tokio::test(start_paused = true)]
async fn the_fallback_channel_is_used_when_nothing_else_is_left() {
    let world = two_accounts().await;
    let spec = falling_to_mail(&world);
    world.channel.break_account("a", Some(refused()));
    let sent = world.send(&spec, 1);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    assert_eq!(world.state(&sent[0]), State::Delivered);
    let seen = world.channel.seen();
    let last = seen.last().expect("a call");
    assert_eq!((last.to.as_str(), last.pool.as_str()), ("ann@example.com", "email/notice"));
    assert_eq!(last.content["text"], "Dear Ann");
}

#[tokio::test(start_paused = true)]
async fn limits_look_at_the_leg_that_a_delivery_is_on() {
    let each = |of: &str, ms: u64| format!(r#"{{"of": "{of}", "windows": [{{"permits": 1, "window_ms": {ms}}}]}}"#);
    let mail = || Selector { channels: ["email".to_owned()].into(), ..Selector::default() };
    let by_mail = || Selector { templates: ["by-mail".to_owned()].into(), ..Selector::default() };
    for (selector, of) in [(mail(), "recipient"), (by_mail(), "template"), (mail(), "account")] {
        let world = two_accounts().await;
        let spec = falling_to_mail(&world);
        world.policy("mails", "limits", selector, &each(of, 2_000));
        // Each number gets its one text; what falls back to mail needs no second permit of that.
        let texts = Selector { channels: ["sms".to_owned()].into(), ..Selector::default() };
        world.policy("texts", "limits", texts, &each("recipient", 86_400_000));
        world.channel.break_account("a", Some(refused()));
        world.send(&spec, 4);
        assert_eq!(world.until_ended(4, Duration::from_secs(60)).await, 4, "of {of}");
        let seen = world.channel.seen();
        let mails: Vec<u64> = seen.iter().filter(|s| s.pool == "email/notice").map(|s| s.at.0).collect();
        assert_eq!(mails.len(), 4, "of {of}");
        let apart = mails.windows(2).map(|two| two[1] - two[0]).min();
        assert!(apart >= Some(2_000), "of {of}: mails to Ann {apart:?} ms apart");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_of_the_only_account_sends_it_by_the_fallback_channel() {
    let world = two_accounts().await;
    let way = Way { accounts: vec![account("b", 1, 0)], ..Way::default() };
    let leg = Leg {
        template: "hello".to_owned(),
        version: 1,
        channel: "email".to_owned(),
        way,
        retry: RetryPolicy::default(),
    };
    let fallback = vec![Some("ann@example.com".to_owned())];
    let spec = Spec { legs: vec![Arc::new(leg)], fallback, ..routed(vec![account("a", 1, 0)]) };
    world.channel.break_account("a", Some(busy()));
    world.send(&spec, 40);
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!(states(&world).get(&State::Delivered), Some(&40));
    assert!(calls(&world, "a", Time(0)) < 80, "those that came late did not try it twice");
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_no_longer_than_its_account_may() {
    let world = two_accounts().await;
    world.channel.follow(|_, target| if target.attempt == 1 { Step::Hang } else { Step::deliver() });
    let start = world.clock.now();
    world.send(&routed(vec![account("a", 1, 0)]), 1);
    assert_eq!(world.until_ended(1, LONG).await, 1);
    let took = world.clock.now().since(start);
    assert!(took >= Duration::from_millis(2_500) && took < Duration::from_millis(3_200), "{took:?}");
}
