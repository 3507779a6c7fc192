//! What comes in: claims, parts, repeats, lateness, fullness, schedules, expiry and content dedup.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Outcome, Time};
use tidings_machine::partition::{
    Accept, Answer, Claimed, Closing, Command, Hint, Limits, Record, Refusal, Sheet, State, What,
};

use super::fixture::{
    Fixture, HERE, START, claim, delivered, done, header, message, part, recipient, sheet, sheet_with_window, story,
};

#[test]
fn an_accepted_delivery_is_pending_and_due_at_once() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    assert_eq!(id, DeliveryId::new(message(1), 0, HERE));
    let delivery = fixture.pending(id);
    assert_eq!((delivery.state, delivery.due, delivery.attempts), (State::Pending, fixture.now, 0));
    assert!(matches!(&fixture.hints[..], [Hint::Due { delivery, .. }] if delivery.id == id));
    assert!(fixture.records.is_empty());
    assert_eq!((fixture.machine.pending_count(), fixture.machine.totals().accepted), (1, 1));
}

#[test]
fn a_delivery_for_later_is_hinted_at_and_says_when() {
    let mut fixture = Fixture::owned();
    let send_at = fixture.now.after_ms(60_000);
    let id = fixture.accept_one(1, Sheet { send_at: Some(send_at), ..sheet() });
    let delivery = fixture.pending(id);
    assert_eq!((delivery.due, delivery.first_due, story(&delivery)), (send_at, send_at, vec!["accepted", "scheduled"]));
    assert!(matches!(&fixture.hints[..], [Hint::Due { delivery, .. }] if delivery.due == send_at));
}

#[test]
fn a_repeated_part_gets_its_first_answer_and_adds_nothing() {
    let mut fixture = Fixture::with_limits(Limits { pending: 1, ..Limits::default() });
    let original = part(1, fixture.now, sheet());
    let first = fixture.accept(original.clone());
    fixture.report(first[0].delivery, 1, delivered());
    fixture.accept_one(2, sheet());
    let before = (fixture.hints.len(), fixture.records.len(), fixture.bytes());
    let again = fixture.pass(300_000).accept(original);
    assert_eq!(again, first, "though it has ended, the partition is full, and `accept_by` is over");
    assert_eq!((fixture.hints.len(), fixture.records.len()), (before.0, before.1));
    assert_eq!(fixture.machine.totals().accepted, 2);
}

#[test]
fn a_late_part_is_refused_for_ever() {
    let mut fixture = Fixture::owned();
    let late = part(1, fixture.now, sheet());
    fixture.pass(10_001);
    for _ in 0..2 {
        assert_eq!(fixture.ask(Command::Accept(Box::new(late.clone()))), Answer::Refused(Refusal::TooLate));
        fixture.pass(900_000);
    }
    assert_eq!(fixture.machine.totals().accepted, 0);
    // An answer must not be forgotten before its part is too late.
    let mut hasty = part(2, fixture.now, sheet());
    hasty.repeatable_until = Time(0);
    let delivery = fixture.accept(hasty.clone())[0].delivery;
    fixture.report(delivery, 1, delivered());
    fixture.pass(10_000).accept(hasty.clone());
    assert_eq!(fixture.pass(1).ask(Command::Accept(Box::new(hasty))), Answer::Refused(Refusal::TooLate));
    assert_eq!(fixture.machine.totals().accepted, 1);
}

#[test]
fn a_part_that_does_not_fit_whole_is_not_kept_at_all() {
    let mut fixture = Fixture::with_limits(Limits { pending: 2, ..Limits::default() });
    fixture.accept_one(1, sheet());
    let mut two = part(2, fixture.now, sheet());
    two.recipients = vec![recipient(0, 1), recipient(1, 2)];
    assert_eq!(fixture.ask(Command::Accept(Box::new(two))), Answer::Refused(Refusal::Full));
    assert_eq!((fixture.machine.pending_count(), fixture.machine.totals().accepted), (1, 1));
    fixture.accept_one(3, sheet());
}

#[test]
fn what_has_expired_already_ends_at_once() {
    let mut fixture = Fixture::owned();
    let expired = Sheet { expires_at: Some(fixture.now), ..sheet_with_window(1_000) };
    let verdicts = fixture.accept(part(1, fixture.now, expired));
    assert_eq!(verdicts[0].state, State::Expired);
    assert_eq!(fixture.ended(verdicts[0].delivery).delivery.ended_at, Some(fixture.now));
    let sizes = fixture.machine.sizes();
    assert_eq!((sizes.pending, sizes.sheets, sizes.dedup_slots), (0, 0, 0));
}

#[test]
fn a_header_is_recorded_once_with_the_part_or_with_the_claim() {
    let mut fixture = Fixture::owned();
    let with_header = Accept { header: Some(Box::new(header(1))), ..part(1, fixture.now, sheet()) };
    fixture.accept(with_header.clone());
    fixture.accept(with_header);
    let now = fixture.now;
    fixture.ask(claim("k", 9, 2, now));
    fixture.ask(claim("k", 9, 2, now));
    let of = |record: &Record| match record {
        Record::Header(header) => Some(header.message),
        _ => None,
    };
    let headers: Vec<_> = fixture.records.iter().filter_map(of).collect();
    assert_eq!(headers, [message(1), message(2)]);
}

#[test]
fn a_key_is_claimed_once_and_another_body_is_told_apart() {
    let mut fixture = Fixture::owned();
    let now = fixture.now;
    assert_eq!(fixture.ask(claim("k", 9, 1, now)), Answer::Claimed(Claimed::Fresh));
    assert_eq!(fixture.ask(claim("k", 9, 2, now)), Answer::Claimed(Claimed::Again(Box::new(header(1)))));
    assert_eq!(fixture.ask(claim("k", 8, 3, now)), Answer::Claimed(Claimed::OtherBody(message(1))));
    fixture.pass(3_600_001);
    let now = fixture.now;
    assert_eq!(fixture.ask(claim("k", 8, 4, now)), Answer::Claimed(Claimed::Fresh), "after its time");
}

#[test]
fn claims_beyond_the_limit_are_refused_until_keys_run_out() {
    let mut fixture = Fixture::with_limits(Limits { idempotency_keys: 2, ..Limits::default() });
    let now = fixture.now;
    for (key, answer) in [
        ("a", Answer::Claimed(Claimed::Fresh)),
        ("b", Answer::Claimed(Claimed::Fresh)),
        ("c", Answer::Refused(Refusal::Full)),
        ("a", Answer::Claimed(Claimed::Again(Box::new(header(1))))),
    ] {
        assert_eq!(fixture.ask(claim(key, 9, 1, now)), answer, "claim of {key}");
    }
    fixture.pass(3_600_001);
    let now = fixture.now;
    assert_eq!(fixture.ask(claim("c", 9, 1, now)), Answer::Claimed(Claimed::Fresh));
}

#[test]
fn the_same_content_comes_once_per_window_and_the_trace_says_why() {
    let mut fixture = Fixture::owned();
    let first = fixture.accept_one(1, sheet_with_window(60_000));
    let second = fixture.accept_one(2, sheet_with_window(60_000));
    let ended = &fixture.ended(second).delivery;
    assert_eq!((ended.state, story(ended)), (State::Suppressed, vec!["accepted", "suppressed", "ended"]));
    assert_eq!(ended.reason.as_ref().map(|reason| reason.code.as_str()), Some("content_dedup"));
    let told = |what: &What| matches!(what, What::Suppressed { detail, .. } if detail.contains(&first.to_string()));
    assert!(ended.events.iter().any(|event| told(&event.what)));
}

#[test]
fn two_of_one_content_in_one_part_are_one() {
    let mut fixture = Fixture::owned();
    let mut twins = part(1, fixture.now, sheet_with_window(60_000));
    twins.recipients = vec![recipient(0, 5), recipient(1, 5), recipient(2, 6)];
    let states: Vec<State> = fixture.accept(twins).iter().map(|verdict| verdict.state).collect();
    assert_eq!(states, [State::Pending, State::Suppressed, State::Pending]);
    assert_eq!(fixture.machine.sizes().sheets, 1, "the sheet is held once");
}

#[test]
fn who_did_not_get_it_gives_the_slot_back_and_who_may_have_got_it_does_not() {
    let never = Outcome::never(tidings_contract::Blame::Recipient, "550", "no such user");
    let unknown = Outcome::unknown("timeout", "");
    for (outcome, second) in [
        (delivered(), State::Suppressed),
        (never, State::Pending),
        (unknown.clone(), State::Suppressed),
        (Outcome::later("503", ""), State::Suppressed),
    ] {
        let mut fixture = Fixture::owned();
        let mut stop = sheet_with_window(60_000);
        stop.policy.on_unknown = tidings_machine::partition::OnUnknown::Stop;
        let first = fixture.accept_one(1, stop.clone());
        fixture.report(first, 1, outcome.clone());
        let verdict = fixture.accept(part(2, fixture.now, stop))[0];
        assert_eq!(verdict.state, second, "after {outcome:?}");
    }
}

#[test]
fn a_cancelled_or_expired_delivery_gives_its_slot_back() {
    let mut fixture = Fixture::owned();
    let first = fixture.accept_one(1, sheet_with_window(60_000));
    fixture.cancel(first);
    fixture.close(first, Closing::Cancelled);
    let expires_at = Some(fixture.now.after_ms(5));
    let second = fixture.accept_one(2, Sheet { expires_at, ..sheet_with_window(60_000) });
    assert_eq!(fixture.pass(5).close(second, Closing::Expired), done(State::Expired));
    let third = fixture.accept_one(3, sheet_with_window(60_000));
    assert_eq!(fixture.pending(third).state, State::Pending);
}

#[test]
fn the_window_counts_from_the_delivery_and_not_from_the_acceptance() {
    let mut fixture = Fixture::owned();
    let first = fixture.accept_one(1, sheet_with_window(60_000));
    fixture.pass(100_000);
    assert_eq!(fixture.accept(part(2, fixture.now, sheet_with_window(60_000)))[0].state, State::Suppressed);
    fixture.report(first, 1, delivered());
    fixture.pass(59_999);
    assert_eq!(fixture.accept(part(3, fixture.now, sheet_with_window(60_000)))[0].state, State::Suppressed);
    fixture.pass(1);
    assert_eq!(fixture.accept(part(4, fixture.now, sheet_with_window(60_000)))[0].state, State::Pending);
}

#[test]
fn reminders_for_several_days_do_not_suppress_each_other() {
    let mut fixture = Fixture::owned();
    for day in 1..=3 {
        let send_at = Some(Time(START).after_ms(day * 86_400_000));
        let verdicts = fixture.accept(part(day, fixture.now, Sheet { send_at, ..sheet_with_window(3_600_000) }));
        assert_eq!(verdicts[0].state, State::Pending, "day {day}");
    }
    let send_at = Some(Time(START).after_ms(2 * 86_400_000 + 1_800_000));
    let verdicts = fixture.accept(part(9, fixture.now, Sheet { send_at, ..sheet_with_window(3_600_000) }));
    assert_eq!(verdicts[0].state, State::Suppressed, "half an hour after the second");
}

#[test]
fn what_runs_out_is_forgotten_a_little_with_each_command() {
    let mut fixture = Fixture::owned();
    for n in 0..100 {
        let id = fixture.accept_one(n, Sheet { template: format!("t{n}"), ..sheet() });
        fixture.report(id, 1, delivered());
    }
    assert_eq!(fixture.machine.sizes().parts, 100);
    assert_eq!(fixture.machine.next_expiry(), Some(Time(START).after_ms(600_001)));
    fixture.pass(700_000).cancel(DeliveryId::new(message(1), 0, HERE));
    assert_eq!(fixture.machine.sizes().parts, 96, "four with a command");
    fixture.ask(Command::Tick);
    assert_eq!(fixture.machine.sizes().parts, 0, "the rest with a tick");
    let day = Time(START).day();
    assert!(fixture.machine.day_counts("t7", day).is_some());
    fixture.pass(40 * 86_400_000).ask(Command::Tick);
    assert!(fixture.machine.day_counts("t7", day).is_none());
    assert_eq!(fixture.machine.totals().ended.get(&State::Delivered), Some(&100), "totals stay");
    assert_eq!(fixture.machine.next_expiry(), None);
}

#[test]
fn an_older_stamp_counts_as_the_newest_seen() {
    let mut fixture = Fixture::owned();
    fixture.pass(5_000).ask(Command::Tick);
    fixture.now = Time(START);
    let id = fixture.accept_one(1, sheet());
    assert_eq!((fixture.machine.now(), fixture.pending(id).due), (Time(START + 5_000), Time(START + 5_000)));
}

#[test]
fn equal_sheets_of_two_parts_are_held_once_and_go_with_the_last_carrier() {
    let mut fixture = Fixture::owned();
    let first = fixture.accept_one(1, sheet());
    let mut other = part(1, fixture.now, sheet());
    (other.part, other.recipients) = (1, vec![recipient(1, 2)]);
    let second = fixture.accept(other)[0].delivery;
    let sheet_of = |fixture: &Fixture, id| fixture.machine.delivery(&id).expect("pending").1;
    assert!(Arc::ptr_eq(&sheet_of(&fixture, first), &sheet_of(&fixture, second)));
    fixture.report(first, 1, delivered());
    assert_eq!(fixture.machine.sizes().sheets, 1);
    fixture.report(second, 1, delivered());
    assert_eq!(fixture.machine.sizes().sheets, 0);
}

#[test]
fn an_api_key_has_its_own_bound_and_leaves_room_to_others() {
    let mut fixture = Fixture::with_limits(Limits { pending: 4, pending_per_key: 2, ..Limits::default() });
    let of = |key: &str| Sheet { key_id: key.to_owned(), ..sheet() };
    let first = fixture.accept_one(1, of("key_1"));
    fixture.accept_one(2, of("key_1"));
    let third = part(3, fixture.now, of("key_1"));
    assert_eq!(fixture.ask(Command::Accept(Box::new(third.clone()))), Answer::Refused(Refusal::KeyFull));
    fixture.accept_one(4, of("key_2"));
    // A snapshot knows as much.
    fixture.machine = postcard::from_bytes(&fixture.bytes()).expect("a snapshot can be read");
    assert_eq!((fixture.machine.pending_of_key("key_1"), fixture.machine.pending_of_key("key_2")), (2, 1));
    assert_eq!(fixture.ask(Command::Accept(Box::new(third.clone()))), Answer::Refused(Refusal::KeyFull));
    assert_eq!(fixture.report(first, 1, Outcome::Delivered { provider_id: None }), Answer::Done(State::Delivered));
    assert!(matches!(fixture.ask(Command::Accept(Box::new(third))), Answer::Accepted(_)));
    // Without a bound of its own a key may fill the partition.
    let mut fixture = Fixture::with_limits(Limits { pending: 4, ..Limits::default() });
    for n in 1..=4 {
        fixture.accept_one(n, of("key_1"));
    }
    let fifth = part(5, fixture.now, of("key_1"));
    assert_eq!(fixture.ask(Command::Accept(Box::new(fifth))), Answer::Refused(Refusal::Full));
}
