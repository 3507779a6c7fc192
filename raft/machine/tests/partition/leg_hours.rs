//! Quiet hours of further legs: each leg has its own, on both sides of every boundary.

use tidings_contract::{Blame, DeliveryId, Outcome, Time};
use tidings_machine::partition::{
    Answer, LegBarred, LegHours, LegWord, Quiet, Refusal, Rules, Sheet, Span, State, What,
};

use super::fixture::{Fixture, START, delivered, done, story};
use super::legs::{ANN, falling, pass_on, with_legs};
use super::rules::{MINUTE, minute};

fn span(from: u64, until: u64) -> Span {
    Span { from: minute(from), until: minute(until), quiet: 0 }
}

fn hours(title: &str, drop: bool, spans: &[(u64, u64)]) -> LegHours {
    let zones = vec![spans.iter().map(|(from, until)| span(*from, *until)).collect()];
    LegHours { quiet: vec![Quiet { title: title.to_owned(), drop }], zones }
}

/// An SMS with these quiet hours that falls back to a mail with those, and then to a robot that is never quiet.
fn sheet(first: Option<LegHours>, mail: Option<LegHours>) -> Sheet {
    let mut sheet = falling();
    sheet.policy.retry.give_up_after_ms = 60 * MINUTE;
    let LegHours { quiet, zones } = first.unwrap_or_default();
    sheet.rules = Rules { quiet, zones, ..sheet.rules };
    sheet.rules.legs[0].caps.clear();
    sheet.rules.legs[0].hours = mail;
    sheet.rules.legs[1].hours = Some(LegHours::default());
    sheet
}

fn never() -> Outcome {
    Outcome::never(Blame::Recipient, "no_such", "")
}

/// A delivery that came at the start; its first leg did not take it at minute `at`.
fn fallen_at(fixture: &mut Fixture, at: u64, sheet: Sheet, further: &[Option<&str>]) -> (DeliveryId, Answer) {
    let mut accept = with_legs(1, fixture.now, sheet, further);
    accept.recipients[0].zone = Some(0);
    let id = fixture.accept(accept)[0].delivery;
    fixture.now = Time(START + at);
    (id, fixture.report(id, 1, never()))
}

#[test]
fn a_delivery_that_falls_back_waits_for_the_quiet_hours_of_the_leg_it_comes_to() {
    let (texts, mails) = ("quiet_hours/texts@1", "quiet_hours/mails@2");
    let night = |title: &str| Some(hours(title, false, &[(10, 20)]));
    let (at, end) = (12 * MINUTE, 20 * MINUTE);
    // The hours of the first leg and of the mail, when the first leg is given up, and whose hours make it wait.
    let cases = [
        (night(texts), Some(LegHours::default()), at, None),
        (night(texts), None, at, Some(texts)),
        (None, night(mails), at, Some(mails)),
        (None, None, at, None),
        (night(texts), night(mails), at, Some(mails)),
        (night(texts), Some(hours(mails, false, &[(30, 40)])), at, None),
        (None, night(mails), 10 * MINUTE - 1, None),
        (None, night(mails), 10 * MINUTE, Some(mails)),
        (None, night(mails), end - 1, Some(mails)),
        (None, night(mails), end, None),
    ];
    for (n, (first, mail, at, waits)) in cases.into_iter().enumerate() {
        let mut fixture = Fixture::owned();
        let (id, answer) = fallen_at(&mut fixture, at, sheet(first, mail), &[Some(ANN)]);
        assert_eq!(answer, done(State::Pending), "case {n}");
        let delivery = fixture.pending(id);
        assert_eq!(delivery.leg(), 1);
        let Some(title) = waits else {
            assert_eq!((delivery.due, story(&delivery).last()), (fixture.now, Some(&"fell_back")), "case {n}");
            continue;
        };
        assert!((START + end..START + end + MINUTE).contains(&delivery.due.0), "case {n}: {:?}", delivery.due);
        let told = &delivery.events.last().expect("events").what;
        let What::Deferred { rule, until, .. } = told else { panic!("case {n}: {told:?}") };
        assert_eq!((rule.as_str(), *until), (title, delivery.due), "case {n}");
        // The mail may be tried for ten minutes: from the end of its quiet hours on.
        fixture.now = delivery.due;
        assert!(matches!(pass_on(&mut fixture, id), LegWord::Open { .. }));
        fixture.pass(9 * MINUTE);
        assert_eq!(fixture.report(id, 2, Outcome::later("busy", "")), done(State::Pending), "case {n}");
    }
}

#[test]
fn a_leg_that_drops_in_quiet_hours_is_passed_over_and_the_last_one_ends_it() {
    let mails = || Some(hours("quiet_hours/mails@2", true, &[(10, 20)]));
    for (at, quiet) in [(10 * MINUTE - 1, false), (10 * MINUTE, true), (20 * MINUTE - 1, true), (20 * MINUTE, false)] {
        let mut fixture = Fixture::owned();
        let (id, _) = fallen_at(&mut fixture, at, sheet(None, mails()), &[Some(ANN), Some("robot")]);
        let delivery = fixture.pending(id);
        assert_eq!((delivery.leg(), delivery.due), (if quiet { 2 } else { 1 }, fixture.now), "at {at}");
        if quiet {
            let told = &delivery.events[delivery.events.len() - 2].what;
            let What::LegBarred(LegBarred { channel, to, rule, .. }) = told else { panic!("{told:?}") };
            assert_eq!((channel.as_str(), to.as_str(), rule.as_str()), ("email", ANN, "quiet_hours/mails@2"));
        }
        let mut fixture = Fixture::owned();
        let (id, answer) = fallen_at(&mut fixture, at, sheet(None, mails()), &[Some(ANN)]);
        assert_eq!(answer, done(if quiet { State::Suppressed } else { State::Pending }), "at {at}");
        if quiet {
            let ended = &fixture.ended(id).delivery;
            let reason = ended.reason.as_ref().expect("it says why");
            assert_eq!(reason.code, "quiet_hours");
            assert!(reason.words.starts_with("email to ann@example.com: it would leave"), "{reason}");
            assert_eq!(story(ended)[2..], ["fell_back", "suppressed", "ended"]);
        }
    }
}

#[test]
fn the_first_channel_that_drops_says_nothing_of_the_leg() {
    let mut fixture = Fixture::owned();
    let texts = Some(hours("quiet_hours/texts@1", true, &[(10, 20)]));
    let free = sheet(texts, Some(LegHours::default()));
    let (id, answer) = fallen_at(&mut fixture, 12 * MINUTE, free, &[Some(ANN)]);
    assert_eq!((answer, fixture.pending(id).due), (done(State::Pending), fixture.now));
    pass_on(&mut fixture, id);
    assert_eq!(fixture.report(id, 2, delivered()), done(State::Delivered));
}

#[test]
fn quiet_hours_that_begin_before_the_leg_has_its_turn_hold_too() {
    for drop in [false, true] {
        let mut fixture = Fixture::owned();
        let mails = Some(hours("quiet_hours/mails@2", drop, &[(10, 20)]));
        let (id, _) = fallen_at(&mut fixture, 9 * MINUTE, sheet(None, mails), &[Some(ANN), Some("robot")]);
        pass_on(&mut fixture, id);
        assert_eq!(fixture.defer(id), Answer::Refused(Refusal::Groundless), "it is loud yet");
        fixture.pass(MINUTE);
        assert_eq!(fixture.defer(id), done(State::Pending));
        let delivery = fixture.pending(id);
        let end = START + 20 * MINUTE;
        match drop {
            false => assert!(delivery.leg() == 1 && (end..end + MINUTE).contains(&delivery.due.0), "{delivery:?}"),
            true => assert_eq!((delivery.leg(), delivery.address(), delivery.due), (2, "robot", fixture.now)),
        }
    }
}

#[test]
fn a_further_attempt_on_the_leg_waits_for_the_end_of_its_quiet_hours() {
    let mut fixture = Fixture::owned();
    let mails = Some(hours("quiet_hours/mails@2", false, &[(10, 20)]));
    let (id, _) = fallen_at(&mut fixture, 10 * MINUTE - 1_000, sheet(None, mails), &[Some(ANN)]);
    pass_on(&mut fixture, id);
    fixture.pass(900);
    assert_eq!(fixture.report(id, 2, Outcome::later("busy", "")), done(State::Pending));
    let delivery = fixture.pending(id);
    assert!(delivery.due.0 >= START + 20 * MINUTE, "{:?}", delivery.due);
    assert_eq!(story(&delivery)[story(&delivery).len() - 2..], ["retry", "deferred"]);
}

#[test]
fn what_may_have_been_taken_on_the_leg_is_not_passed_on_when_its_quiet_hours_drop_it() {
    for (failover, state) in [(false, State::Unknown), (true, State::Pending)] {
        let mut fixture = Fixture::owned();
        let mails = Some(hours("quiet_hours/mails@2", true, &[(10, 20)]));
        let sheet = Sheet { failover_on_unknown: failover, ..sheet(None, mails) };
        let (id, _) = fallen_at(&mut fixture, 10 * MINUTE - 1_000, sheet, &[Some(ANN), Some("robot")]);
        pass_on(&mut fixture, id);
        fixture.pass(900);
        assert_eq!(fixture.report(id, 2, Outcome::unknown("timeout", "")), done(state), "failover {failover}");
    }
}

#[test]
fn the_archive_does_not_keep_when_a_leg_was_quiet() {
    let mut fixture = Fixture::owned();
    let mails = Some(hours("quiet_hours/mails@2", true, &[(10, 20)]));
    let (id, _) = fallen_at(&mut fixture, 12 * MINUTE, sheet(None, mails), &[Some(ANN)]);
    let kept = fixture.ended(id).sheet.rules.legs[0].hours.clone().expect("hours of its own");
    assert_eq!((kept.quiet[0].title.as_str(), kept.zones.len()), ("quiet_hours/mails@2", 0));
}
