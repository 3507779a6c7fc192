//! What the rest of the node asks of the motion: fingerprints, figures, a clean end.

use std::sync::Arc;
use std::time::Duration;

use tidings_machine::control::TemplateVersion;
use tidings_machine::partition::State;
use tokio::time::sleep;

use super::{LATENCY, after, delivered, states, world};
use crate::render::Variables;
use crate::testing::{FakeChannel, Spec, Step, World};
use crate::{FingerprintError, FingerprintItem, Ledger, Settings};

fn version(world: &World, name: &str) -> Arc<TemplateVersion> {
    let mut version = None;
    world.ledger.with_control(&mut |control| {
        version = control.templates.get(name).and_then(|template| template.current()).cloned();
    });
    version.expect("the template is there")
}

fn items(names: &[&str]) -> Vec<FingerprintItem> {
    let item = |name: &&str| FingerprintItem {
        to: "+8613800000000".to_owned(),
        variables: Variables::parse(&serde_json::json!({ "name": name }).to_string()).expect("it is an object"),
    };
    names.iter().map(item).collect()
}

#[tokio::test(start_paused = true)]
async fn fingerprints_tell_the_same_content_from_another() {
    let world = world(|_, _| Step::deliver()).await;
    let hello = version(&world, "hello");
    let shared = Variables::default();
    let mut asked = items(&["Ann", "Bo", "Ann"]);
    asked.push(FingerprintItem { to: "+8613800000000".to_owned(), variables: Variables::default() });
    let prints = world.motion.fingerprints("hello", &hello, shared, asked).await.expect("they are worked out");
    assert_eq!(prints[0], prints[2]);
    assert_ne!(prints[0], prints[1]);
    assert_eq!(prints[3].as_ref().err().and_then(|error| error.variable.as_deref()), Some("name"));
}

#[tokio::test(start_paused = true)]
async fn more_fingerprints_than_there_is_room_for_are_refused_and_the_room_comes_back() {
    let settings = Settings { fingerprints: 3, ..Settings::default() };
    let world = World::new(1, LATENCY, settings, FakeChannel::new(|_, _| Step::deliver())).await.expect("it starts");
    let hello = version(&world, "hello");
    let ask =
        |names: &'static [&'static str]| world.motion.fingerprints("hello", &hello, Variables::default(), items(names));
    assert_eq!(ask(&["a", "b", "c", "d"]).await, Err(FingerprintError::Busy));
    let (one, two) = tokio::join!(ask(&["a", "b"]), ask(&["c", "d"]));
    assert!(one.is_ok());
    assert_eq!(two, Err(FingerprintError::Busy));
    assert!(ask(&["a", "b", "c"]).await.is_ok());
    world.motion.kill("dedup");
    assert_eq!(ask(&["a", "b", "c"]).await, Err(FingerprintError::Lost));
    sleep(Duration::from_secs(1)).await;
    assert!(ask(&["a", "b", "c"]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_calls_under_way_and_begins_no_others() {
    let world = world(|_, _| after(2_000, delivered())).await;
    world.send(&Spec::default(), 500);
    sleep(Duration::from_millis(500)).await;
    let begun = world.channel.seen().len();
    assert_eq!(begun, 64);
    world.motion.stop().await;
    assert_eq!(world.channel.seen().len(), begun);
    assert_eq!(states(&world), [(State::Delivered, begun)].into());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.channel.seen().len(), begun);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let settings = Settings { stop_within: Duration::from_secs(3), ..Settings::default() };
    let world = World::new(1, LATENCY, settings, FakeChannel::new(|_, _| Step::Hang)).await.expect("it starts");
    world.send(&Spec::default(), 5);
    sleep(Duration::from_millis(500)).await;
    let start = tokio::time::Instant::now();
    world.motion.stop().await;
    assert!(start.elapsed() < Duration::from_secs(4));
    world.motion.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_actor_can_be_seen() {
    let world = world(|_, _| after(10_000, delivered())).await;
    world.send(&Spec::default(), 300);
    sleep(Duration::from_millis(500)).await;
    let seen = world.motion.observe();
    let names: Vec<_> = seen.iter().map(|actor| actor.name.as_str()).collect();
    let wanted = [
        "breakers",
        "dedup",
        "dispatcher/p0",
        "dispatcher/p1",
        "rate_limiter",
        "recalls",
        "receipts",
        "recorder/p0",
        "recorder/p1",
        "sender/sms/notice",
        "supervisor",
        "template",
        "timers/p0",
        "timers/p1",
        "tokens",
    ];
    assert_eq!(names, wanted);
    let sender = seen.iter().find(|actor| actor.name.starts_with("sender")).expect("it is there");
    assert_eq!((sender.queue, sender.in_flight), (236, 64));
}
