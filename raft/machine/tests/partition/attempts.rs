//! Attempts and what becomes of a delivery after each.

use tidings_contract::{Blame, Outcome};
use tidings_machine::partition::{Answer, Closing, Command, Hint, Limits, Owner, Refusal, Sheet, State, What};

use super::fixture::{Fixture, delivered, done, sheet, sheet_at_most_once, story};

fn never() -> Outcome {
    Outcome::never(Blame::Recipient, "smtp_550", "no such user")
}

fn later() -> Outcome {
    Outcome::later("http_503", "busy")
}

fn unknown() -> Outcome {
    Outcome::unknown("timeout", "no answer in 10 s")
}

#[test]
fn the_end_follows_from_all_attempts_together() {
    use State::{Delivered, Failed, Pending, Unknown};
    for (outcomes, state, code) in [
        (vec![delivered()], Delivered, None),
        (vec![later(), delivered()], Delivered, None),
        (vec![unknown(), delivered()], Delivered, None),
        (vec![never()], Failed, Some("smtp_550")),
        (vec![later(), later(), later(), later()], Failed, Some("http_503")),
        (vec![later(), later(), later()], Pending, None),
        (vec![unknown(), later(), later(), later()], Unknown, Some("timeout")),
        (vec![unknown(), never()], Unknown, Some("timeout")),
        (vec![later(), later(), later(), unknown()], Unknown, Some("timeout")),
        (vec![unknown()], Pending, None),
    ] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        let mut last = done(Pending);
        for (n, outcome) in outcomes.iter().enumerate() {
            last = fixture.pass(1_000).report(id, n as u16 + 1, outcome.clone());
        }
        assert_eq!(last, done(state), "{outcomes:?}");
        if state == Pending {
            assert_eq!(usize::from(fixture.pending(id).attempts), outcomes.len());
            continue;
        }
        let ended = &fixture.ended(id).delivery;
        assert_eq!((ended.state, usize::from(ended.attempts)), (state, outcomes.len()), "{outcomes:?}");
        assert_eq!(ended.reason.as_ref().map(|reason| reason.code.as_str()), code, "{outcomes:?}");
        let dead: Vec<State> = fixture.machine.dead_letters().map(|(_, letter)| letter.state).collect();
        assert_eq!(dead, if state == Delivered { vec![] } else { vec![state] });
        assert!(matches!(fixture.hints.last(), Some(Hint::Ended { state: hinted, .. }) if *hinted == state));
        let further = outcomes.len() as u16 + 1;
        assert_eq!(fixture.report(id, further, delivered()), Answer::Refused(Refusal::NotPending));
    }
}

#[test]
fn the_trace_tells_who_tried_with_what_and_when_it_is_tried_again() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    fixture.report(id, 1, later());
    fixture.pass(1_000).report(id, 2, delivered());
    let ended = &fixture.ended(id).delivery;
    assert_eq!(story(ended), ["accepted", "later", "retry", "delivered", "ended"]);
    assert_eq!(ended.provider_id.as_deref(), Some("p-1"));
    assert!(matches!(&ended.events[1].what, What::Attempted { attempt: 1, account, node: 1, .. } if account == "main"));
}

#[test]
fn a_retry_is_hinted_at_with_its_time_and_the_providers_wish_is_heard() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    fixture.report(id, 1, later());
    let wait = fixture.pending(id).due.since(fixture.now).as_millis();
    assert!((500..=1_000).contains(&wait), "{wait}");
    assert!(matches!(fixture.hints.last(), Some(Hint::Due { delivery, .. }) if delivery.attempts == 1));
    let Outcome::Later { reason, .. } = later() else { unreachable!("it is a Later") };
    fixture.report(id, 2, Outcome::Later { reason, after_ms: Some(120_000) });
    let wait = fixture.pending(id).due.since(fixture.now).as_millis();
    assert!((120_000..=135_000).contains(&wait), "{wait}");
}

#[test]
fn no_attempt_is_made_after_giving_up_or_expiry() {
    for (expires_in, passed, state) in
        [(None, 600_000, State::Failed), (Some(400), 100, State::Expired), (Some(400), 400, State::Expired)]
    {
        let mut fixture = Fixture::owned();
        let expires_at = expires_in.map(|ms| fixture.now.after_ms(ms));
        let id = fixture.accept_one(1, Sheet { expires_at, ..sheet() });
        assert_eq!(fixture.pass(passed).report(id, 1, later()), done(state), "{expires_in:?}, after {passed} ms");
    }
}

#[test]
fn a_retry_that_would_come_too_late_expires_and_keeps_what_was_said_last() {
    let mut fixture = Fixture::owned();
    let expires_at = Some(fixture.now.after_ms(30_000));
    let id = fixture.accept_one(1, Sheet { expires_at, ..sheet() });
    assert_eq!(fixture.report(id, 1, later()), done(State::Pending));
    // Its wish alone lies behind the expiry.
    let Outcome::Later { reason, .. } = later() else { unreachable!("it is a Later") };
    let wish = Outcome::Later { reason, after_ms: Some(60_000) };
    assert_eq!(fixture.pass(1_000).report(id, 2, wish), done(State::Expired));
    let ended = fixture.ended(id);
    assert_eq!(ended.delivery.reason, None);
    assert_eq!(story(&ended.delivery), ["accepted", "later", "retry", "later", "ended"]);
    assert_eq!(fixture.machine.dead_letters().count(), 0);
}

#[test]
fn what_may_have_been_taken_is_unknown_also_when_its_next_attempt_would_come_too_late() {
    for outcomes in [vec![unknown()], vec![unknown(), later()], vec![later(), unknown()]] {
        let mut fixture = Fixture::owned();
        let expires_at = Some(fixture.now.after_ms(if outcomes.len() == 1 { 400 } else { 1_200 }));
        let id = fixture.accept_one(1, Sheet { expires_at, ..sheet() });
        let last =
            (1..).zip(&outcomes).map(|(n, outcome)| fixture.pass(n * 100).report(id, n as u16, outcome.clone())).last();
        assert_eq!(last, Some(done(State::Unknown)), "{outcomes:?}");
    }
}

#[test]
fn what_had_its_attempts_is_failed_though_it_would_have_expired() {
    let mut fixture = Fixture::owned();
    let mut hasty = Sheet { expires_at: Some(fixture.now.after_ms(400)), ..sheet() };
    hasty.policy.retry.max_attempts = 1;
    let id = fixture.accept_one(1, hasty);
    assert_eq!(fixture.report(id, 1, later()), done(State::Failed));
}

#[test]
fn a_wrong_attempt_number_changes_nothing() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    fixture.report(id, 1, later());
    let before = fixture.bytes();
    for attempt in [0, 1, 3, u16::MAX] {
        assert_eq!(fixture.report(id, attempt, delivered()), Answer::Refused(Refusal::WrongAttempt));
        assert_eq!(fixture.begin(id, attempt), Answer::Refused(Refusal::WrongAttempt));
    }
    assert_eq!(fixture.bytes(), before);
}

#[test]
fn a_claimed_attempt_is_never_claimed_again() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet_at_most_once());
    assert_eq!(fixture.begin(id, 1), done(State::Pending));
    assert_eq!(fixture.pending(id).begun, Some(1));
    assert_eq!(fixture.begin(id, 1), Answer::Refused(Refusal::WrongAttempt));
    assert_eq!(fixture.report(id, 1, later()), done(State::Pending), "it certainly was not taken");
    assert_eq!(fixture.begin(id, 2), done(State::Pending));
    assert_eq!(fixture.report(id, 2, unknown()), done(State::Unknown), "and nobody tries again");
    assert_eq!(
        story(&fixture.ended(id).delivery),
        ["accepted", "begun", "later", "retry", "begun", "unknown", "ended"]
    );
}

#[test]
fn a_claim_that_is_taken_back_counts_for_nothing() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet_at_most_once());
    assert_eq!(fixture.withdraw(id, 1, 5), Answer::Refused(Refusal::WrongAttempt), "nothing is claimed");
    fixture.begin(id, 1);
    for attempt in [0, 2, u16::MAX] {
        assert_eq!(fixture.withdraw(id, attempt, 5), Answer::Refused(Refusal::WrongAttempt), "attempt {attempt}");
    }
    for epoch in [0, 4, 6, u64::MAX] {
        assert_eq!(fixture.withdraw(id, 1, epoch), Answer::Refused(Refusal::NotOwner), "epoch {epoch}");
    }
    assert_eq!(fixture.pending(id).begun, Some(1));
    assert_eq!(fixture.withdraw(id, 1, 5), done(State::Pending));
    assert_eq!((fixture.pending(id).begun, fixture.pending(id).attempts), (None, 0));
    assert_eq!(fixture.withdraw(id, 1, 5), Answer::Refused(Refusal::WrongAttempt), "asked again");
    assert_eq!(fixture.close(id, Closing::Lost), Answer::Refused(Refusal::Groundless), "nothing was lost");
    fixture.begin(id, 1);
    assert_eq!(fixture.report(id, 1, delivered()), done(State::Delivered));
    let told = ["accepted", "begun", "withdrawn", "begun", "delivered", "ended"];
    assert_eq!(story(&fixture.ended(id).delivery), told);
    assert_eq!(fixture.withdraw(id, 1, 5), Answer::Refused(Refusal::NotPending));
}

#[test]
fn a_claim_that_another_owner_has_closed_as_lost_stays_lost() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet_at_most_once());
    fixture.begin(id, 1);
    let (owner, limits) = (Owner { node: 2, boot: 9 }, Limits::default());
    assert_eq!(fixture.ask(Command::TakeOver { owner, epoch: 8, limits }), Answer::Owned);
    assert_eq!(fixture.withdraw(id, 1, 5), Answer::Refused(Refusal::NotOwner));
    assert_eq!(fixture.ask(Command::Close { delivery: id, epoch: 8, closing: Closing::Lost }), done(State::Unknown));
}

#[test]
fn a_dead_letter_says_what_it_was_and_the_oldest_fall_out() {
    let limits = tidings_machine::partition::Limits { dead_letters: 2, ..Default::default() };
    let mut fixture = Fixture::with_limits(limits);
    let ids: Vec<_> = (0..3).map(|n| fixture.pass(1).accept_one(n, sheet())).collect();
    for id in ids.iter().rev() {
        fixture.pass(1).report(*id, 1, never());
    }
    let dead: Vec<_> = fixture.machine.dead_letters().map(|(id, _)| *id).collect();
    assert_eq!(dead, ids[..2], "the third died first");
    let letter = fixture.machine.dead_letter(&ids[0]).expect("it is dead");
    assert_eq!((letter.template.as_str(), letter.channel.as_str(), letter.at), ("otp", "sms", fixture.now));
    assert_eq!((letter.account.as_deref(), letter.reason.code.as_str()), (Some("main"), "smtp_550"));
}
