//! Before the first attempt on a further leg its address' home is asked, wherever that is; also while things die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{DeliveryId, PartitionId, partition_of};
use tidings_machine::partition::{
    Cap, CapKind, Command, Leg, LegRules, RetryPolicy, Rules, State, Suppress, SuppressionReason, Way, WayAccount,
    What, Window, WordRule,
};

use super::{LONG, after, delivered, refused, world};
use crate::testing::{Spec, World};

const ANN: &str = "ann@example.com";

/// SMS are refused by the account `a`; mails go out with `post`.
async fn falling() -> World {
    let world = world(|call, _| after(5, if call.channel == "sms" { refused() } else { delivered() })).await;
    world.account("a", "fake/one", None);
    world.account("post", "fake/one", None);
    world.template("letter", "{\"text\":\"Dear {{ name }}\"}");
    world
}

fn by_account(account: &str) -> Way {
    let one = WayAccount { account: account.to_owned(), weight: 1, tier: 0, call: Default::default() };
    Way { accounts: vec![one], ..Way::default() }
}

fn spec(to: &str, rules: LegRules) -> Spec {
    let (template, channel, retry) = ("letter".to_owned(), "email".to_owned(), RetryPolicy::default());
    let leg = Leg { template, version: 1, channel, way: by_account("post"), retry };
    Spec {
        account: None,
        way: Some(Arc::new(by_account("a"))),
        legs: vec![Arc::new(leg)],
        fallback: vec![Some(to.to_owned())],
        rules: Rules { legs: vec![rules], ..Rules::default() },
        ..Spec::default()
    }
}

fn suppress(world: &World, address: &str) {
    let (channel, address, by) = ("email".to_owned(), address.to_owned(), "key".to_owned());
    let home = partition_of(&address, 2);
    let wish = Suppress { channel, address, reason: SuppressionReason::Bounced, until: None, by, bounce: None };
    world.ledger.apply(home, vec![Command::Suppress(Box::new(wish))]);
}

fn ends(world: &World, deliveries: &[DeliveryId]) -> BTreeMap<State, usize> {
    let mut ends = BTreeMap::new();
    deliveries.iter().for_each(|delivery| *ends.entry(world.state(delivery)).or_default() += 1);
    ends
}

#[tokio::test(start_paused = true)]
async fn the_suppression_list_of_the_address_is_asked_at_its_home() {
    let world = falling().await;
    suppress(&world, ANN);
    // Their first addresses live in both partitions, so for some the home of the mail address is another one.
    let sent = world.send(&spec(ANN, LegRules::default()), 20);
    assert_eq!(world.until_ended(20, LONG).await, 20);
    assert_eq!(ends(&world, &sent), [(State::Suppressed, 20)].into());
    for partition in [0, 1] {
        assert!(sent.iter().any(|delivery| delivery.partition() == PartitionId(partition)));
    }
    assert!(world.channel.seen().iter().all(|seen| seen.account == "a"), "nothing went out by mail");
    let events = world.ended(&sent[0]).expect("it ended").delivery.events;
    let rule = events.iter().find_map(|event| match &event.what {
        What::Suppressed { rule, detail } => Some((rule.clone(), detail.clone())),
        _ => None,
    });
    let (rule, detail) = rule.expect("the rule is named");
    assert_eq!(rule, "suppression_list");
    assert!(detail.starts_with("email to ann@example.com: bounced since"), "{detail}");
    let others = world.send(&spec("bob@example.com", LegRules::default()), 20);
    assert_eq!(world.until_ended(40, LONG).await, 40);
    assert_eq!(ends(&world, &others), [(State::Delivered, 20)].into());
}

#[tokio::test(start_paused = true)]
async fn a_cap_of_the_mail_channel_holds_for_fallbacks_from_every_partition() {
    let windows = vec![Window { window_ms: 3_600_000, most: 3 }];
    let cap = Cap { title: "frequency/mails@1".to_owned(), kind: CapKind::Frequency, windows };
    let capped = LegRules { caps: vec![cap], ..LegRules::default() };
    let world = falling().await;
    let sent = world.send(&spec(ANN, capped.clone()), 30);
    assert_eq!(world.until_ended(30, LONG).await, 30);
    assert_eq!(ends(&world, &sent), [(State::Delivered, 3), (State::Suppressed, 27)].into());
    // Slots of what was not taken come back.
    world.channel.follow(|_, _| after(5, refused()));
    let bob = world.send(&spec("bob@example.com", capped.clone()), 30);
    assert_eq!(world.until_ended(60, LONG).await, 60);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ends(&world, &bob).get(&State::Delivered), None);
    world.channel.follow(|call, _| after(5, if call.channel == "sms" { refused() } else { delivered() }));
    let again = world.send(&spec("bob@example.com", capped), 30);
    assert_eq!(world.until_ended(90, LONG).await, 90);
    assert_eq!(ends(&world, &again), [(State::Delivered, 3), (State::Suppressed, 27)].into());
}

#[tokio::test(start_paused = true)]
async fn a_template_actor_that_dies_while_homes_are_asked_loses_nothing() {
    let world = falling().await;
    suppress(&world, ANN);
    let sent = world.send(&spec(ANN, LegRules::default()), 200);
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(7)).await;
        world.motion.kill("template");
    }
    assert_eq!(world.until_ended(200, LONG).await, 200);
    assert_eq!(ends(&world, &sent), [(State::Suppressed, 200)].into());
}

#[tokio::test(start_paused = true)]
async fn the_words_of_a_leg_look_through_what_the_leg_sends() {
    let world = falling().await;
    world.words("mails", 1, &["dear"], 20);
    let rule = WordRule { policy: "mails".to_owned(), version: 1, reject: false };
    let sent = world.send(&spec(ANN, LegRules { words: vec![rule], ..LegRules::default() }), 1)[0];
    assert_eq!(world.until_ended(1, LONG).await, 1);
    let texts: Vec<_> = world.channel.seen().iter().map(|seen| seen.content["text"].clone()).collect();
    assert_eq!(texts, ["Hi Ann", "**** Ann"]);
    assert_eq!(world.state(&sent), State::Delivered);
}
