//! Quiet hours that begin while deliveries wait for their turn.

use std::time::Duration;

use tidings_contract::{AccountLimit, Clock};
use tidings_machine::partition::{OnUnknown, Quiet, Rules, Span, State, What};

use super::{LATENCY, LONG, after, delivered};
use crate::Settings;
use crate::testing::{FakeChannel, Spec, World};

/// A world whose account takes two a second, and quiet hours from one minute on to the third.
async fn world(drop: bool) -> (World, Spec, std::ops::Range<u64>) {
    let channel = FakeChannel::new(|_, _| after(5, delivered()));
    let world = World::new(2, LATENCY, Settings::default(), channel).await.expect("a world starts");
    world.account("limited", "fake/one", Some(AccountLimit { permits: 2, window_ms: 1_000 }));
    let first = u32::try_from(world.clock.now().0 / 60_000).expect("it fits");
    let span = Span { from: first + 1, until: first + 3, quiet: 0 };
    let quiet = vec![Quiet { title: "quiet_hours/q@1".to_owned(), drop }];
    let rules = Rules { quiet, zones: vec![vec![span]], ..Rules::default() };
    let spec = Spec { account: Some("limited".to_owned()), rules, ..Spec::default() };
    (world, spec, span.from().0..span.until().0)
}

#[tokio::test(start_paused = true)]
async fn what_has_not_had_its_turn_waits_for_their_end() {
    for on_unknown in [OnUnknown::Retry, OnUnknown::Stop] {
        let (world, spec, quiet) = world(false).await;
        let all = world.send(&Spec { on_unknown, ..spec }, 200);
        assert_eq!(world.until_ended(200, LONG).await, 200);
        let seen = world.channel.seen();
        assert_eq!(seen.len(), 200);
        let loud = seen.iter().find(|seen| quiet.contains(&seen.at.0));
        assert!(loud.is_none(), "{loud:?}");
        let before = seen.iter().filter(|seen| seen.at.0 < quiet.start).count();
        assert!((90..130).contains(&before), "{before} went before the quiet hours");
        let deferred = |ended: &tidings_machine::partition::Ended| {
            ended.delivery.events.iter().filter(|event| matches!(event.what, What::Deferred { .. })).count()
        };
        let ended: Vec<_> = all.iter().filter_map(|id| world.ended(id)).collect();
        assert!(ended.iter().all(|ended| deferred(ended) <= 1));
        assert_eq!(ended.iter().filter(|ended| deferred(ended) == 1).count(), 200 - before);
    }
}

#[tokio::test(start_paused = true)]
async fn or_is_dropped() {
    let (world, spec, quiet) = world(true).await;
    let all = world.send(&spec, 200);
    assert_eq!(world.until_ended(200, LONG).await, 200);
    let states: Vec<State> = all.iter().map(|id| world.state(id)).collect();
    let delivered = states.iter().filter(|state| **state == State::Delivered).count();
    assert_eq!(world.channel.seen().len(), delivered);
    assert!(world.channel.seen().iter().all(|seen| seen.at.0 < quiet.start));
    assert_eq!(states.iter().filter(|state| **state == State::Suppressed).count(), 200 - delivered);
}
