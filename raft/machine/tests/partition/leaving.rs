//! Caps at the instant at which something leaves that waited for its time: on both sides of every boundary.

use tidings_contract::{Blame, DeliveryId, Outcome, Time};
use tidings_machine::partition::{
    Answer, CapKind, Closing, Command, Policy, Recipient, Redrive, Refusal, Rules, Sheet, State,
};

use super::fixture::{Fixture, START, delivered, done, sheet, story};
use super::rules::{HOUR, MINUTE, cap, one, quiet, with};

const WINDOW: u64 = 10_000;
/// When what was scheduled wants to leave.
const THEN: u64 = 60_000;

/// How something ends that was let in for an earlier time.
type End = fn(&mut Fixture, DeliveryId);

const DELIVERED: End = |f, id| assert_eq!(f.report(id, 1, delivered()), done(State::Delivered));
const FAILED: End = |f, id| {
    assert_eq!(f.report(id, 1, Outcome::never(Blame::Recipient, "550", "no")), done(State::Failed));
};
const UNKNOWN: End = |f, id| {
    f.begin(id, 1);
    assert_eq!(f.close(id, Closing::Lost), done(State::Unknown));
};
const CANCELLED: End = |f, id| {
    f.cancel(id);
    assert_eq!(f.close(id, Closing::Cancelled), done(State::Cancelled));
};
const BUSY: End = |f, id| assert_eq!(f.report(id, 1, Outcome::later("503", "busy")), done(State::Pending));

impl Fixture {
    fn leave(&mut self, delivery: DeliveryId) -> Answer {
        self.ask(Command::Leave { delivery, epoch: 5 })
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = Time(START + ms);
        self
    }
}

/// A sheet by which one goes out in a window: by a policy of either kind, or by the template's own dedup.
fn capped(way: usize, most: u32) -> Sheet {
    match way {
        0 => with(cap(CapKind::Frequency, &[(HOUR / 60, 9), (WINDOW, most)])),
        1 => with(cap(CapKind::Dedup, &[(WINDOW, most)])),
        _ => {
            let own = with(Rules::default());
            Sheet { policy: Policy { dedup_window_ms: Some(WINDOW), ..own.policy }, ..own }
        }
    }
}

fn someone() -> Recipient {
    Recipient { fingerprint: Some(7), ..one("a") }
}

fn scheduled(sheet: Sheet, at: u64) -> Sheet {
    Sheet { send_at: Some(Time(START + at)), ..sheet }
}

#[test]
fn what_was_scheduled_counts_what_is_late_when_it_leaves() {
    // How the earlier one ends and when, when the later one leaves, and whether it goes.
    let cases: [(&str, End, u64, u64, bool); 13] = [
        ("delivered long before", DELIVERED, 0, THEN, true),
        ("delivered a window before", DELIVERED, THEN - WINDOW, THEN, true),
        ("delivered within the window", DELIVERED, THEN - WINDOW + 1, THEN, false),
        ("the window has passed", DELIVERED, THEN - WINDOW + 1, THEN + 1, true),
        ("delivered just before", DELIVERED, THEN - 1, THEN, false),
        ("unknown a window before", UNKNOWN, THEN - WINDOW, THEN, true),
        ("unknown within the window", UNKNOWN, THEN - WINDOW + 1, THEN, false),
        ("failed", FAILED, THEN - 1, THEN, true),
        ("cancelled", CANCELLED, THEN - 1, THEN, true),
        ("tried again and not yet taken", BUSY, THEN - WINDOW - 1, THEN, false),
        ("nothing came back yet", |_, _| {}, 0, THEN, false),
        ("still nothing much later", |_, _| {}, 0, THEN + 5 * WINDOW, false),
        ("failed long after the other's time", FAILED, THEN + 4 * WINDOW, THEN + 5 * WINDOW, true),
    ];
    for way in 0..3 {
        for (name, end, ends, leaves, goes) in cases {
            let mut fixture = Fixture::owned();
            let (early, state) = fixture.admit(1, capped(way, 1), someone());
            assert_eq!(state, State::Pending);
            assert!(!fixture.pending(early).reserved, "it leaves at once");
            let (late, state) = fixture.admit(2, scheduled(capped(way, 1), THEN), someone());
            assert_eq!(state, State::Pending, "at intake nothing is near");
            end(fixture.at(ends), early);
            let answer = fixture.at(leaves).leave(late);
            assert_eq!(answer, done(if goes { State::Pending } else { State::Suppressed }), "{name}, way {way}");
            if goes {
                assert!(!fixture.pending(late).reserved);
                assert_eq!(fixture.report(late, 1, delivered()), done(State::Delivered));
            } else {
                let code = if way == 0 { "frequency_cap" } else { "content_dedup" };
                assert_eq!(fixture.why(late).1, code);
                assert_eq!(story(&fixture.ended(late).delivery), ["accepted", "scheduled", "suppressed", "ended"]);
            }
        }
    }
}

#[test]
fn what_waited_for_the_end_of_quiet_hours_counts_what_is_late_too() {
    let cases: [(&str, End, u64, bool); 5] = [
        ("delivered a window before", DELIVERED, WINDOW, true),
        ("delivered within the window", DELIVERED, WINDOW - 1, false),
        ("failed", FAILED, 1, true),
        ("unknown", UNKNOWN, 1, false),
        ("pending", |_, _| {}, 1, false),
    ];
    for (name, end, before, goes) in cases {
        let mut fixture = Fixture::owned();
        let rules = || Rules { caps: cap(CapKind::Frequency, &[(WINDOW, 1)]).caps, ..quiet(false) };
        // Who lives in no zone is never quiet.
        fixture.at(15 * MINUTE);
        let (early, _) = fixture.admit(1, with(rules()), Recipient { zone: None, ..one("a") });
        let (late, state) = fixture.admit(2, with(rules()), one("a"));
        assert_eq!(state, State::Pending, "it leaves minutes later");
        let due = fixture.pending(late).due.0 - START;
        assert!(fixture.pending(late).reserved && due >= 20 * MINUTE);
        end(fixture.at(due - before), early);
        let wanted = done(if goes { State::Pending } else { State::Suppressed });
        assert_eq!(fixture.at(due).leave(late), wanted, "{name}");
    }
}

#[test]
fn what_was_moved_to_the_end_of_quiet_hours_made_room_and_asks_again() {
    let cases: [(&str, End, u64, bool); 4] = [
        ("delivered a window before", DELIVERED, WINDOW, true),
        ("delivered within the window", DELIVERED, WINDOW - 1, false),
        ("failed", FAILED, 1, true),
        ("pending", |_, _| {}, 1, false),
    ];
    for (name, end, before, goes) in cases {
        let mut fixture = Fixture::owned();
        let rules = || Rules { caps: cap(CapKind::Frequency, &[(WINDOW, 2)]).caps, ..quiet(false) };
        let elsewhere = || Recipient { zone: None, ..one("a") };
        fixture.at(10 * MINUTE - 1);
        let (_stays, _) = fixture.admit(1, with(rules()), elsewhere());
        let (moved, _) = fixture.admit(2, with(rules()), one("a"));
        assert!(!fixture.pending(moved).reserved);
        assert_eq!(fixture.admit(3, with(rules()), elsewhere()).1, State::Suppressed, "two are there");
        assert_eq!(fixture.at(10 * MINUTE).defer(moved), done(State::Pending));
        let (next, state) = fixture.admit(4, with(rules()), elsewhere());
        assert_eq!(state, State::Pending, "one of the two leaves later");
        let due = fixture.pending(moved).due.0 - START;
        assert!(fixture.pending(moved).reserved);
        end(fixture.at(due - before), next);
        let wanted = done(if goes { State::Pending } else { State::Suppressed });
        assert_eq!(fixture.at(due).leave(moved), wanted, "{name}");
    }
}

#[test]
fn what_leaves_later_still_is_looked_at_in_its_turn() {
    for (fails, last) in [(false, State::Suppressed), (true, State::Pending)] {
        let mut fixture = Fixture::owned();
        let (late, _) = fixture.admit(1, capped(0, 2), someone());
        let (second, _) = fixture.admit(2, scheduled(capped(0, 2), THEN), someone());
        let (third, _) = fixture.admit(3, scheduled(capped(0, 2), THEN + 1), someone());
        assert_eq!(fixture.admit(4, scheduled(capped(0, 2), THEN + 2), someone()).1, State::Suppressed, "two are");
        assert_eq!(fixture.at(THEN).leave(second), done(State::Pending), "with the late one two");
        if fails {
            FAILED(&mut fixture, late);
        }
        assert_eq!(fixture.at(THEN + 1).leave(third), done(last));
    }
}

#[test]
fn a_slot_that_is_not_used_is_given_back() {
    let mut fixture = Fixture::owned();
    let (early, _) = fixture.admit(1, capped(0, 1), someone());
    let (late, _) = fixture.admit(2, scheduled(capped(0, 1), THEN), someone());
    assert_eq!(fixture.at(THEN).leave(late), done(State::Suppressed));
    FAILED(&mut fixture, early);
    assert_eq!(fixture.machine.sizes().cap_slots, 0);
    assert_eq!(fixture.admit(3, capped(0, 1), someone()).1, State::Pending);
}

#[test]
fn it_is_asked_by_the_owner_and_not_before_its_time_and_twice_is_once() {
    let mut fixture = Fixture::owned();
    let (id, _) = fixture.admit(1, scheduled(capped(0, 1), THEN), someone());
    assert_eq!(fixture.at(THEN - 1).leave(id), Answer::Refused(Refusal::Groundless));
    assert_eq!(fixture.at(THEN).ask(Command::Leave { delivery: id, epoch: 4 }), Answer::Refused(Refusal::NotOwner));
    assert_eq!(fixture.leave(id), done(State::Pending));
    let before = fixture.bytes();
    assert_eq!(fixture.leave(id), done(State::Pending));
    assert_eq!(fixture.bytes(), before, "the same again changes nothing");
    fixture.begin(id, 1);
    assert_eq!(fixture.leave(id), Answer::Refused(Refusal::Groundless));
    DELIVERED(&mut fixture, id);
    assert_eq!(fixture.leave(id), Answer::Refused(Refusal::NotPending));
}

#[test]
fn only_what_has_slots_of_a_later_time_has_to_ask() {
    let cases = [
        (capped(0, 1), someone(), false),
        (scheduled(capped(0, 1), THEN), someone(), true),
        (scheduled(capped(0, 1), THEN), Recipient { marks: vec![None], ..someone() }, false),
        (scheduled(capped(2, 1), THEN), someone(), true),
        (scheduled(capped(2, 1), THEN), Recipient { fingerprint: None, ..someone() }, false),
        (scheduled(sheet(), THEN), someone(), false),
    ];
    for (n, (sheet, recipient, reserved)) in cases.into_iter().enumerate() {
        let mut fixture = Fixture::owned();
        let (id, _) = fixture.admit(n as u64, sheet, recipient);
        assert_eq!(fixture.pending(id).reserved, reserved, "case {n}");
    }
}

#[test]
fn a_redrive_is_somebodys_wish_and_does_not_ask() {
    let mut fixture = Fixture::owned();
    let (dead, _) = fixture.admit(1, capped(0, 1), someone());
    FAILED(&mut fixture, dead);
    let sheet = std::sync::Arc::new(scheduled(capped(0, 1), THEN));
    let redrive = Redrive { delivery: dead, by: "key_1".to_owned(), sheet, recipient: someone() };
    let made = fixture.ask(Command::Redrive(Box::new(redrive)));
    let Answer::Accepted(verdicts) = made else { panic!("{made:?}") };
    assert!(!fixture.pending(verdicts[0].delivery).reserved);
}
