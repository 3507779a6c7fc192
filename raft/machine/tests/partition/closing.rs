//! Ends that are not an attempt's: cancelled, expired, lost, impossible.

use tidings_contract::{Outcome, Reason};
use tidings_machine::partition::{Answer, Closing, Hint, Refusal, Sheet, State, What};

use super::fixture::{Fixture, delivered, done, sheet, sheet_at_most_once, story};

fn impossible() -> Closing {
    Closing::Impossible(Reason::new("render", "no variable `code`"))
}

#[test]
fn a_closing_without_ground_changes_nothing() {
    let mut fixture = Fixture::owned();
    let expires_at = Some(fixture.now.after_ms(1_000));
    let id = fixture.accept_one(1, Sheet { expires_at, ..sheet() });
    let before = fixture.bytes();
    for closing in [Closing::Cancelled, Closing::Expired, Closing::Lost] {
        assert_eq!(fixture.close(id, closing), Answer::Refused(Refusal::Groundless));
    }
    assert_eq!(fixture.bytes(), before);
}

#[test]
fn each_closing_ends_as_it_says_unless_an_attempt_may_have_been_taken() {
    for (closing, clean) in
        [(Closing::Cancelled, State::Cancelled), (Closing::Expired, State::Expired), (impossible(), State::Failed)]
    {
        for (doubt, state) in [(false, clean), (true, State::Unknown)] {
            let mut fixture = Fixture::owned();
            let expires_at = Some(fixture.now.after_ms(5_000));
            let id = fixture.accept_one(1, Sheet { expires_at, ..sheet() });
            if doubt {
                fixture.report(id, 1, Outcome::unknown("timeout", "no answer"));
            }
            fixture.cancel(id);
            assert_eq!(fixture.pass(5_000).close(id, closing.clone()), done(state), "{closing:?}, doubt {doubt}");
            let ended = &fixture.ended(id).delivery;
            assert_eq!(ended.reason.is_some(), matches!(state, State::Failed | State::Unknown), "{closing:?}");
            assert_eq!(fixture.machine.dead_letter(&id).is_some(), ended.reason.is_some());
            assert_eq!(fixture.close(id, closing.clone()), Answer::Refused(Refusal::NotPending));
        }
    }
}

#[test]
fn a_lost_attempt_is_unknown_and_outlives_its_owner() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet_at_most_once());
    fixture.begin(id, 1);
    let owner = tidings_machine::partition::Owner { node: 2, boot: 9 };
    fixture.ask(tidings_machine::partition::Command::TakeOver { owner, epoch: 6, limits: Default::default() });
    assert_eq!(fixture.pending(id).begun, Some(1), "the new owner sees that an attempt was claimed");
    let close = tidings_machine::partition::Command::Close { delivery: id, epoch: 6, closing: Closing::Lost };
    assert_eq!(fixture.ask(close), done(State::Unknown));
    let ended = &fixture.ended(id).delivery;
    assert_eq!((ended.attempts, ended.unknown_attempts, ended.begun), (1, 1, None));
    assert_eq!(ended.reason.as_ref().map(|reason| reason.code.as_str()), Some("attempt_lost"));
}

#[test]
fn a_claimed_attempt_makes_any_closing_unknown() {
    for closing in [Closing::Cancelled, Closing::Expired, impossible()] {
        let mut fixture = Fixture::owned();
        let expires_at = Some(fixture.now.after_ms(10));
        let id = fixture.accept_one(1, Sheet { expires_at, ..sheet_at_most_once() });
        fixture.begin(id, 1);
        fixture.cancel(id);
        assert_eq!(fixture.pass(10).close(id, closing.clone()), done(State::Unknown), "{closing:?}");
    }
}

#[test]
fn a_cancel_waits_for_the_attempt_in_flight_and_yields_to_its_success() {
    let never = Outcome::never(tidings_contract::Blame::Content, "refused", "");
    for (outcome, state) in [
        (delivered(), State::Delivered),
        (Outcome::later("503", ""), State::Cancelled),
        (never, State::Cancelled),
        (Outcome::unknown("timeout", ""), State::Unknown),
    ] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        assert_eq!(fixture.cancel(id), done(State::Pending));
        assert!(matches!(fixture.hints.last(), Some(Hint::CancelRequested(hinted)) if *hinted == id));
        assert_eq!(fixture.report(id, 1, outcome.clone()), done(state), "{outcome:?}");
        assert_eq!(fixture.cancel(id), Answer::Refused(Refusal::NotPending));
    }
}

#[test]
fn asking_twice_is_asking_once_but_the_owner_is_told_again() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    fixture.cancel(id);
    fixture.cancel(id);
    assert_eq!(story(&fixture.pending(id)), ["accepted", "cancel_requested"]);
    assert_eq!(fixture.hints.iter().filter(|hint| matches!(hint, Hint::CancelRequested(_))).count(), 2);
}

#[test]
fn a_rule_that_saw_the_content_ends_a_delivery_and_is_named() {
    for (doubt, state) in [(false, State::Suppressed), (true, State::Unknown)] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        if doubt {
            fixture.report(id, 1, Outcome::unknown("timeout", "no answer"));
        }
        let closing = Closing::Suppressed { rule: "words/bad@3".to_owned(), detail: "content.text".to_owned() };
        assert_eq!(fixture.close(id, closing), done(state), "doubt {doubt}");
        let ended = &fixture.ended(id).delivery;
        let named = What::Suppressed { rule: "words/bad@3".to_owned(), detail: "content.text".to_owned() };
        assert!(ended.events.iter().any(|event| event.what == named), "{:?}", ended.events);
        assert_eq!(
            ended.reason.as_ref().map(|reason| reason.code.as_str()),
            Some(if doubt { "timeout" } else { "words" })
        );
    }
}
