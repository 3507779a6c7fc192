//! Further legs: what the home of their address says, what becomes of it, and whose slots are taken and given back.

use std::sync::Arc;

use tidings_contract::{Blame, DeliveryId, Outcome, Time};
use tidings_machine::partition::{
    Accept, Answer, Cap, CapKind, Command, Finding, Hint, Leg, LegBarred, LegCommand, LegRules, LegWord, Passage,
    Recipient, Refusal, RetryPolicy, Rules, Ruling, Sheet, State, Suppress, SuppressionReason, Way, What, Window, mark,
};

use super::fixture::{Fixture, delivered, done, message, part, sheet, story};

const HOUR: u64 = 3_600_000;
pub(super) const ANN: &str = "ann@example.com";

fn cap(title: &str, window_ms: u64, most: u32) -> Cap {
    Cap { title: title.to_owned(), kind: CapKind::Frequency, windows: vec![Window { window_ms, most }] }
}

pub(super) fn leg(template: &str, channel: &str) -> Arc<Leg> {
    let retry = RetryPolicy { max_attempts: 2, first_ms: 1_000, longest_ms: 60_000, give_up_after_ms: 600_000 };
    let (template, channel) = (template.to_owned(), channel.to_owned());
    Arc::new(Leg { template, version: 7, channel, way: Way::default(), retry })
}

/// An SMS that falls back to a mail, whose channel has a cap of two an hour, and then to a robot.
pub(super) fn falling() -> Sheet {
    let mail = LegRules { caps: vec![cap("frequency/mails@3", HOUR, 2)], ..LegRules::default() };
    let rules = Rules { legs: vec![mail, LegRules::default()], ..Rules::default() };
    Sheet { rules, legs: vec![leg("otp-mail", "email"), leg("otp-robot", "dingtalk_robot")], ..sheet() }
}

pub(super) fn with_legs(n: u64, now: Time, sheet: Sheet, further: &[Option<&str>]) -> Accept {
    let mut accept = part(n, now, sheet);
    accept.recipients[0].fallback = further.iter().map(|to| to.map(str::to_owned)).collect();
    accept
}

/// Message `n`, which its first leg did not take.
pub(super) fn fallen(fixture: &mut Fixture, n: u64, sheet: Sheet, further: &[Option<&str>]) -> DeliveryId {
    let accept = with_legs(n, fixture.now, sheet, further);
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(fixture.report(id, 1, Outcome::never(Blame::Recipient, "no_such", "")), done(State::Pending));
    id
}

/// What the owner asks the home before the next attempt.
fn question(fixture: &Fixture, id: DeliveryId) -> Option<Passage> {
    let (delivery, sheet) = fixture.machine.delivery(&id)?;
    delivery.to_ask(&sheet, fixture.now)
}

fn ask(fixture: &mut Fixture, passage: Passage) -> LegWord {
    match fixture.ask(Command::Leg(LegCommand::Ask(Box::new(passage)))) {
        Answer::Leg(word) => word,
        other => panic!("no word: {other:?}"),
    }
}

fn enter(fixture: &mut Fixture, delivery: DeliveryId, leg: u8, word: LegWord) -> Answer {
    fixture.ask(Command::Leg(LegCommand::Enter { delivery, epoch: 5, leg, word }))
}

/// Asks the home, which is the same partition here, and records what it says.
pub(super) fn pass_on(fixture: &mut Fixture, id: DeliveryId) -> LegWord {
    let passage = question(fixture, id).expect("the home is to be asked");
    let leg = fixture.pending(id).leg();
    let word = ask(fixture, passage);
    enter(fixture, id, leg, word.clone());
    word
}

pub(super) fn suppress(fixture: &mut Fixture, channel: &str, address: &str) {
    let (channel, address, by) = (channel.to_owned(), address.to_owned(), "key_1".to_owned());
    let wish = Suppress { channel, address, reason: SuppressionReason::Unsubscribed, until: None, by, bounce: None };
    assert_eq!(fixture.ask(Command::Suppress(Box::new(wish))), done(State::Pending));
}

fn barred() -> LegWord {
    LegWord::Barred { rule: "suppression_list".to_owned(), detail: "bounced".to_owned() }
}

#[test]
fn another_channel_is_tried_at_once_when_a_retry_would_come_too_late() {
    let mut fixture = Fixture::owned();
    let expires_at = Some(fixture.now.after_ms(400));
    let accept = with_legs(1, fixture.now, Sheet { expires_at, ..falling() }, &[Some(ANN)]);
    let id = fixture.accept(accept)[0].delivery;
    let busy = || Outcome::later("busy", "");
    assert_eq!(fixture.report(id, 1, busy()), done(State::Pending));
    assert_eq!(fixture.pending(id).leg(), 1);
}

#[test]
fn a_home_is_asked_once_before_the_first_attempt_on_a_further_leg() {
    let mut fixture = Fixture::owned();
    let accept = with_legs(1, fixture.now, falling(), &[Some(ANN), None]);
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(question(&fixture, id), None, "the first leg was judged when it came");
    fixture.report(id, 1, Outcome::never(Blame::Recipient, "no_such", ""));
    let passage = question(&fixture, id).expect("a further leg is asked for");
    assert_eq!((passage.channel.as_str(), passage.to.as_str(), passage.wished), ("email", ANN, false));
    assert_eq!(pass_on(&mut fixture, id), LegWord::Open { until: fixture.now.after_ms(HOUR) });
    for (after, asked) in [(0, false), (HOUR - 600_000 - 1, false), (1, true)] {
        fixture.pass(after);
        assert_eq!(question(&fixture, id).is_some(), asked, "at {}", fixture.now);
    }
    let mut free = falling();
    free.rules.legs.clear();
    let free = fallen(&mut fixture, 2, free, &[Some(ANN)]);
    pass_on(&mut fixture, free);
    fixture.pass(9 * HOUR);
    assert_eq!(question(&fixture, free), None, "without caps nothing is held, and the address was looked up");
}

#[test]
fn the_suppression_list_holds_for_the_channel_and_address_of_the_leg() {
    for (channel, address, open) in [
        ("email", ANN, false),
        ("*", ANN, false),
        ("sms", ANN, true),
        ("email", "bob@example.com", true),
        ("email", "+8613800138000", true),
    ] {
        let mut fixture = Fixture::owned();
        suppress(&mut fixture, channel, address);
        let id = fallen(&mut fixture, 1, falling(), &[Some(ANN)]);
        let word = pass_on(&mut fixture, id);
        assert_eq!(matches!(word, LegWord::Open { .. }), open, "{channel} {address}: {word:?}");
        if open {
            continue;
        }
        let ended = &fixture.ended(id).delivery;
        let reason = ended.reason.as_ref().expect("it says why");
        assert_eq!((ended.state, reason.code.as_str()), (State::Suppressed, "suppression_list"));
        assert!(reason.words.starts_with("email to ann@example.com: unsubscribed since"), "{reason}");
        assert_eq!(story(ended)[2..], ["fell_back", "suppressed", "ended"]);
    }
}

#[test]
fn a_leg_that_is_barred_is_passed_over_and_the_trace_names_the_rule() {
    let mut fixture = Fixture::owned();
    let id = fallen(&mut fixture, 1, falling(), &[Some(ANN), Some("robot")]);
    suppress(&mut fixture, "email", ANN);
    pass_on(&mut fixture, id);
    let delivery = fixture.pending(id);
    assert_eq!((delivery.leg(), delivery.address(), delivery.due), (2, "robot", fixture.now));
    let told = &delivery.events[delivery.events.len() - 2].what;
    let What::LegBarred(LegBarred { channel, to, rule, .. }) = told else { panic!("{told:?}") };
    assert_eq!((channel.as_str(), to.as_str(), rule.as_str()), ("email", ANN, "suppression_list"));
    assert!(matches!(pass_on(&mut fixture, id), LegWord::Open { .. }));
    assert_eq!(fixture.report(id, 2, delivered()), done(State::Delivered));
}

#[test]
fn what_may_have_been_taken_before_ends_unknown_when_the_last_leg_is_barred() {
    let mut fixture = Fixture::owned();
    let accept = with_legs(1, fixture.now, Sheet { failover_on_unknown: true, ..falling() }, &[Some(ANN)]);
    let id = fixture.accept(accept)[0].delivery;
    fixture.report(id, 1, Outcome::unknown("timeout", ""));
    fixture.report(id, 2, Outcome::never(Blame::Recipient, "no_such", ""));
    assert_eq!(enter(&mut fixture, id, 1, barred()), done(State::Unknown));
}

#[test]
fn a_word_holds_only_for_the_leg_and_the_tenure_it_was_asked_for() {
    let mut fixture = Fixture::owned();
    let id = fallen(&mut fixture, 1, falling(), &[Some(ANN), Some("robot")]);
    let stale = Command::Leg(LegCommand::Enter { delivery: id, epoch: 4, leg: 1, word: barred() });
    assert_eq!(fixture.ask(stale), Answer::Refused(Refusal::NotOwner));
    for leg in [0, 2] {
        assert_eq!(enter(&mut fixture, id, leg, barred()), Answer::Refused(Refusal::Groundless));
    }
    assert_eq!(enter(&mut fixture, id, 1, barred()), done(State::Pending));
    assert_eq!(enter(&mut fixture, id, 1, barred()), Answer::Refused(Refusal::Groundless), "it came twice");
    fixture.begin(id, 2);
    assert_eq!(enter(&mut fixture, id, 2, barred()), Answer::Refused(Refusal::Groundless), "an attempt is claimed");
    fixture.report(id, 2, delivered());
    assert_eq!(enter(&mut fixture, id, 2, barred()), Answer::Refused(Refusal::NotPending));
}

/// A mail to the same address that was not a fallback, under a newer version of the same cap.
fn plain_mail(n: u64, now: Time) -> Accept {
    let rules = Rules { caps: vec![cap("frequency/mails@4", HOUR, 2)], ..Rules::default() };
    let mut accept = part(n, now, Sheet { channel: "email".to_owned(), rules, ..sheet() });
    let group = ["email".to_owned(), sheet().message_type.name().to_owned()];
    let marks = vec![Some(mark("frequency/mails", ANN, &group))];
    accept.recipients = vec![Recipient { to: ANN.to_owned(), marks, ..Recipient::default() }];
    accept
}

#[test]
fn a_cap_of_the_new_channel_is_not_avoided_by_falling_back() {
    let mut fixture = Fixture::owned();
    let accept = plain_mail(1, fixture.now);
    let plain = fixture.accept(accept)[0].delivery;
    fixture.report(plain, 1, delivered());
    let first = fallen(&mut fixture, 2, falling(), &[Some(ANN)]);
    assert!(matches!(pass_on(&mut fixture, first), LegWord::Open { .. }), "one of two");
    let second = fallen(&mut fixture, 3, falling(), &[Some(ANN)]);
    let full = LegWord::Barred { rule: "frequency/mails@3".to_owned(), detail: format!("2 of 2 within {HOUR} ms") };
    assert_eq!(pass_on(&mut fixture, second), full);
    assert_eq!(fixture.ended(second).delivery.reason.as_ref().map(|why| why.code.as_str()), Some("frequency_cap"));
    let accept = plain_mail(4, fixture.now);
    assert_eq!(fixture.accept(accept)[0].state, State::Suppressed, "a fallback counts against plain mails, too");
    let bob = fallen(&mut fixture, 5, falling(), &[Some("bob@example.com")]);
    assert!(matches!(pass_on(&mut fixture, bob), LegWord::Open { .. }), "another address");
}

#[test]
fn what_a_dry_run_says_of_a_leg_is_what_its_home_says_when_it_is_asked() {
    // Whether the address is on the list, how many mails were sent to it, and whether another one is let in.
    for (listed, sent, open) in [(false, 0, true), (false, 1, true), (false, 2, false), (true, 0, false)] {
        let mut fixture = Fixture::owned();
        if listed {
            suppress(&mut fixture, "email", ANN);
        }
        for n in 0..sent {
            let accept = plain_mail(n, fixture.now);
            fixture.accept(accept);
        }
        let before = fixture.bytes();
        let said = fixture.machine.rehearse_leg(fixture.now, &falling(), 1, ANN);
        assert_eq!(fixture.bytes(), before, "nothing is kept");
        let rules: Vec<_> = said.iter().map(|finding| finding.title.as_str()).collect();
        assert_eq!(rules, ["suppression_list", "frequency/mails@3"]);
        let decisive = said.iter().find(|finding| finding.ruling == Ruling::Suppress);
        assert_eq!(decisive.is_none(), open, "{said:?}");
        let id = fallen(&mut fixture, 9, falling(), &[Some(ANN)]);
        let word = pass_on(&mut fixture, id);
        match decisive {
            Some(Finding { title, detail, .. }) => {
                assert_eq!(word, LegWord::Barred { rule: title.clone(), detail: detail.clone() });
            }
            None => assert!(matches!(word, LegWord::Open { .. }), "{word:?}"),
        }
    }
}

#[test]
fn asking_again_does_not_count_twice_and_a_redrive_is_let_in() {
    let mut fixture = Fixture::owned();
    let id = fallen(&mut fixture, 1, falling(), &[Some(ANN)]);
    let passage = question(&fixture, id).expect("the home is to be asked");
    (0..4).for_each(|_| assert!(matches!(ask(&mut fixture, passage.clone()), LegWord::Open { .. })));
    assert_eq!(fixture.machine.sizes().cap_slots, 1);
    let other = Passage { delivery: DeliveryId::new(message(9), 0, super::fixture::HERE), ..passage.clone() };
    assert!(matches!(ask(&mut fixture, other), LegWord::Open { .. }));
    let third = Passage { delivery: DeliveryId::new(message(8), 0, super::fixture::HERE), ..passage.clone() };
    assert!(matches!(ask(&mut fixture, third.clone()), LegWord::Barred { .. }));
    assert!(matches!(ask(&mut fixture, passage), LegWord::Open { .. }), "it holds its slot already");
    assert!(matches!(ask(&mut fixture, Passage { wished: true, ..third }), LegWord::Open { .. }));
}

/// What the hint says that the home is to be told, as the command.
fn leaving(fixture: &mut Fixture) -> Option<Command> {
    fixture.hints.drain(..).rev().find_map(|hint| match hint {
        Hint::LegLeft { passage, taken } => Some(Command::Leg(LegCommand::Leave { passage, taken })),
        _ => None,
    })
}

#[test]
fn a_slot_of_a_leg_stays_or_goes_with_what_became_of_it() {
    // What the leg came back with; whether the home is told; after how long another one more is let in.
    for (outcome, told, soonest) in [
        (delivered(), true, HOUR),
        (Outcome::unknown("timeout", ""), true, HOUR),
        (Outcome::never(Blame::Content, "spam", ""), true, 0),
        (Outcome::never(Blame::Content, "spam", ""), false, 2 * HOUR),
    ] {
        for (after, open) in [(soonest.saturating_sub(1), soonest == 0), (soonest, true)] {
            let mut fixture = Fixture::owned();
            let mut once = falling();
            once.rules.legs[0].caps = vec![cap("frequency/mails@3", HOUR, 1)];
            once.policy.on_unknown = tidings_machine::partition::OnUnknown::Stop;
            let id = fallen(&mut fixture, 1, once.clone(), &[Some(ANN)]);
            pass_on(&mut fixture, id);
            fixture.hints.clear();
            fixture.report(id, 2, outcome.clone());
            let left = leaving(&mut fixture).expect("the home is to be told");
            if told {
                assert_eq!(fixture.ask(left), done(State::Pending));
            }
            fixture.pass(after);
            let next = fallen(&mut fixture, 2, once, &[Some(ANN)]);
            let word = pass_on(&mut fixture, next);
            assert_eq!(matches!(word, LegWord::Open { .. }), open, "{outcome:?} {told} {after}: {word:?}");
        }
    }
}

#[test]
fn a_leg_without_caps_tells_nobody_when_it_is_left() {
    let mut fixture = Fixture::owned();
    let mut free = falling();
    free.rules.legs.clear();
    let id = fallen(&mut fixture, 1, free, &[Some(ANN)]);
    pass_on(&mut fixture, id);
    fixture.report(id, 2, delivered());
    assert!(leaving(&mut fixture).is_none());
}

#[test]
fn the_first_channels_cap_gets_its_slot_back_when_nothing_went_out_there() {
    let text_cap = || vec![cap("frequency/texts@1", HOUR, 1)];
    for (unknown_first, again) in [(false, State::Pending), (true, State::Suppressed)] {
        let mut fixture = Fixture::owned();
        let rules = Rules { caps: text_cap(), ..falling().rules };
        let capped = Sheet { rules, failover_on_unknown: true, ..falling() };
        let accept = |n, now| {
            let mut accept = with_legs(n, now, capped.clone(), &[Some(ANN)]);
            accept.recipients[0].marks = vec![Some(77)];
            accept
        };
        let first = accept(1, fixture.now);
        let id = fixture.accept(first)[0].delivery;
        let mut attempt = 1;
        if unknown_first {
            fixture.report(id, attempt, Outcome::unknown("timeout", ""));
            attempt += 1;
        }
        fixture.report(id, attempt, Outcome::never(Blame::Recipient, "no_such", ""));
        assert_eq!(fixture.pending(id).leg(), 1);
        let second = accept(2, fixture.now);
        assert_eq!(fixture.accept(second)[0].state, again, "an unknown attempt: {unknown_first}");
        pass_on(&mut fixture, id);
        fixture.report(id, attempt + 1, delivered());
    }
}

#[test]
fn a_leg_that_a_list_barred_at_the_edge_stands_in_the_trace() {
    let mut fixture = Fixture::owned();
    let mut accept = with_legs(1, fixture.now, falling(), &[None, Some("robot")]);
    let left = LegBarred {
        channel: "email".to_owned(),
        to: ANN.to_owned(),
        rule: "discard/domains@2".to_owned(),
        detail: "it ends with example.com".to_owned(),
    };
    accept.recipients[0].left_out = vec![left.clone()];
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(fixture.pending(id).events[1].what, What::LegBarred(left));
    fixture.report(id, 1, Outcome::never(Blame::Recipient, "no_such", ""));
    assert_eq!(fixture.pending(id).address(), "robot");
}
