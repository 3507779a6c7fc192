//! What a delivery says itself about a leg to a robot holds on that leg and on no other.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Outcome};
use tidings_machine::partition::{
    Accept, BreakerPolicy, CallPolicy, Choice, Health, Hint, Leg, Own, Recipient, RetryPolicy, Sheet, State, Way,
    choose,
};

use super::fixture::{Fixture, part, sheet};

const HASTY: RetryPolicy = RetryPolicy { max_attempts: 1, first_ms: 10, longest_ms: 10, give_up_after_ms: 60_000 };
const CALL: CallPolicy = CallPolicy {
    timeout_ms: Some(700),
    breaker: BreakerPolicy {
        window_ms: 10_000,
        min_calls: 100,
        failure_percent: 0,
        consecutive: 1,
        open_ms: 1_000,
        longest_open_ms: 1_000,
    },
    suppress_bounces: false,
};

/// To a robot, and then to another one.
fn robots() -> Sheet {
    let leg = Leg {
        template: "other".to_owned(),
        version: 1,
        channel: "robot".to_owned(),
        way: Way::default(),
        retry: RetryPolicy { max_attempts: 3, first_ms: 10, longest_ms: 10, give_up_after_ms: 60_000 },
    };
    Sheet { account: None, way: Some(Arc::new(Way::default())), legs: vec![Arc::new(leg)], ..sheet() }
}

fn call_of(fixture: &Fixture, delivery: DeliveryId) -> CallPolicy {
    let (delivery, sheet) = fixture.machine.delivery(&delivery).expect("it is pending");
    match choose(&delivery, &sheet, &mut |_| Health::Closed) {
        Choice::Go { call, .. } => call,
        other => panic!("it waits: {other:?}"),
    }
}

#[test]
fn what_a_robot_says_itself_holds_on_its_leg_only() {
    let mut fixture = Fixture::owned();
    let own = vec![Own { leg: 0, call: CALL, retry: HASTY }];
    let recipients = [own, Vec::new()].map(|own| {
        let fallback = vec![Some("ops".to_owned())];
        Recipient { index: own.len() as u16, to: "main".to_owned(), fallback, own, ..Recipient::default() }
    });
    let accept = Accept { recipients: recipients.into(), ..part(1, fixture.now, robots()) };
    let verdicts = fixture.accept(accept);
    let [hasty, plain] =
        [1, 0].map(|index| verdicts.iter().find(|one| one.delivery.index() == index).map(|one| one.delivery));
    let (hasty, plain) = (hasty.expect("kept"), plain.expect("kept"));
    assert_eq!((call_of(&fixture, hasty), call_of(&fixture, plain)), (CALL, CallPolicy::default()));

    let later = || Outcome::later("http_503", "busy");
    for delivery in [hasty, plain] {
        fixture.report(delivery, 1, later());
    }
    assert_eq!(fixture.pending(hasty).leg(), 1, "one attempt was all that it wanted");
    assert_eq!(fixture.pending(plain).leg(), 0, "the sheet allows more");
    let failing: Vec<_> = fixture.hints.iter().filter(|hint| matches!(hint, Hint::Failing { .. })).collect();
    assert!(matches!(failing[..], [Hint::Failing { policy, .. }] if *policy == CALL.breaker), "{failing:?}");

    assert_eq!(call_of(&fixture, hasty), CallPolicy::default(), "the other robot says nothing");
    for attempt in 2..4 {
        fixture.pass(1_000).report(hasty, attempt, later());
        assert_eq!(fixture.pending(hasty).state, State::Pending);
    }
    fixture.pass(1_000).report(hasty, 4, later());
    assert_eq!(fixture.ended(hasty).delivery.state, State::Failed, "three attempts of the second leg");
}
