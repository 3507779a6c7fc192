//! Ends that are not an attempt's: cancelled, expired, lost, impossible.

use tidings_contract::{Blame, Outcome, Reason, Time};
use tidings_machine::partition::{
    Answer, Closing, Command, EVERY_CHANNEL, Hint, Refusal, Sheet, State, Suppress, SuppressionReason, What,
};

use super::fixture::{Fixture, delivered, done, part, sheet, sheet_at_most_once, story};
use super::legs::leg;

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

fn suppress(fixture: &mut Fixture, channel: &str, address: &str, until: Option<Time>) {
    let (channel, address, by) = (channel.to_owned(), address.to_owned(), "key_1".to_owned());
    let wish = Suppress { channel, address, reason: SuppressionReason::Unsubscribed, until, by, bounce: None };
    assert_eq!(fixture.ask(Command::Suppress(Box::new(wish))), done(State::Pending));
}

fn listed() -> Closing {
    Closing::Suppressed { rule: "suppression_list".to_owned(), detail: "unsubscribed".to_owned() }
}

#[test]
fn the_suppression_list_closes_what_was_let_in_before_and_only_while_it_holds_the_address() {
    // The entry's channel, address and end; when the owner looks; whether the delivery may be attempted.
    let to = "+8613800138000";
    let cases = [
        ("sms", to, None, 0, false),
        (EVERY_CHANNEL, to, None, 0, false),
        ("email", to, None, 0, true),
        ("sms", "+8613800138001", None, 0, true),
        ("sms", to, Some(5_000), 4_999, false),
        ("sms", to, Some(5_000), 5_000, true),
    ];
    for (channel, address, until, at, open) in cases {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        let until = until.map(|ms| fixture.now.after_ms(ms));
        suppress(&mut fixture, channel, address, until);
        fixture.pass(at);
        let (delivery, sheet) = fixture.machine.delivery(&id).expect("it is pending");
        let closing = fixture.machine.closed_by_list(&delivery, &sheet, fixture.now);
        assert_eq!(closing.is_none(), open, "{channel} {address} {at}: {closing:?}");
        let answer = fixture.close(id, closing.unwrap_or_else(listed));
        if open {
            assert_eq!(answer, Answer::Refused(Refusal::Groundless), "{channel} {address} {at}");
            continue;
        }
        assert_eq!(answer, done(State::Suppressed));
        let ended = &fixture.ended(id).delivery;
        let reason = ended.reason.as_ref().expect("it says why");
        assert_eq!(reason.code, "suppression_list");
        assert!(reason.words.starts_with("unsubscribed since"), "{reason}");
        assert_eq!(story(ended), ["accepted", "suppressed", "ended"]);
    }
}

#[test]
fn the_suppression_list_does_not_close_what_is_not_due_or_is_claimed_or_on_a_further_leg() {
    let mut fixture = Fixture::owned();
    let send_at = Some(fixture.now.after_ms(5_000));
    let later = fixture.accept_one(1, Sheet { send_at, ..sheet() });
    let claimed = fixture.accept_one(2, sheet_at_most_once());
    fixture.begin(claimed, 1);
    let mut accept = part(3, fixture.now, Sheet { legs: vec![leg("otp-mail", "email")], ..sheet() });
    accept.recipients[0].fallback = vec![Some("ann@example.com".to_owned())];
    let fallen = fixture.accept(accept)[0].delivery;
    fixture.report(fallen, 1, Outcome::never(Blame::Recipient, "no_such", ""));
    suppress(&mut fixture, "sms", "+8613800138000", None);
    let before = fixture.bytes();
    for id in [later, claimed, fallen] {
        assert_eq!(fixture.close(id, listed()), Answer::Refused(Refusal::Groundless));
    }
    assert_eq!(fixture.bytes(), before);
    assert_eq!(fixture.report(claimed, 1, delivered()), done(State::Delivered));
    assert_eq!(fixture.pass(5_000).close(later, listed()), done(State::Suppressed));
}

#[test]
fn what_may_have_been_taken_before_its_address_was_suppressed_ends_unknown() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    fixture.report(id, 1, Outcome::unknown("timeout", "no answer"));
    suppress(&mut fixture, "sms", "+8613800138000", None);
    fixture.now = fixture.pending(id).due;
    assert_eq!(fixture.close(id, listed()), done(State::Unknown));
}
