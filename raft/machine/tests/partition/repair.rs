//! A partition whose time is in the future is set back: everything holds on, and nothing lets more through.

use std::sync::Arc;

use proptest::prelude::*;
use tidings_contract::{AccountLimit, Outcome, Time};
use tidings_machine::partition::{
    Answer, Borrow, Cap, CapKind, Claimed, Command, OnUnknown, Owner, Policy, Recipient, Refusal, Rules, Sheet, State,
    TokenAnswer, TokenCommand, Window,
};
use tidings_machine::repair::Repair;
use tidings_machine::{Machine, Output};

use super::fixture::{Fixture, OWNER, START, bytes, claim, delivered, done, message, part, sheet, sheet_with_window};

const HOUR: u64 = 3_600_000;
const WINDOW: Window = Window { window_ms: 4_000, most: 2 };
const LIMIT: AccountLimit = AccountLimit { permits: 5, window_ms: 3_000 };

/// A partition whose time is an hour ahead of the truth.
fn ahead() -> Fixture {
    let mut fixture = Fixture::owned();
    fixture.pass(HOUR).ask(Command::Tick);
    fixture
}

/// Sets the time of the fixture back to `to`.
fn repair(fixture: &mut Fixture, to: u64) -> Answer {
    let was = fixture.machine.now();
    let answer = fixture.ask(Command::RepairTime(Repair { was, to: Time(to) }));
    fixture.now = Time(to);
    answer
}

#[test]
fn now_returns_once_and_a_late_or_second_repair_changes_nothing() {
    let mut fixture = ahead();
    let again = Command::RepairTime(Repair { was: fixture.machine.now(), to: Time(START) });
    assert_eq!(repair(&mut fixture, START), done(State::Pending));
    assert_eq!(fixture.machine.now(), Time(START));
    fixture.pass(10);
    assert_eq!(fixture.ask(again.clone()), Answer::Refused(Refusal::Outdated), "it came twice");
    fixture.pass(2 * HOUR);
    assert_eq!(fixture.ask(again), Answer::Refused(Refusal::Outdated), "it came hours late");
    assert_eq!(fixture.machine.now(), Time(START + 10 + 2 * HOUR));
}

#[test]
fn what_passed_while_the_repair_was_on_its_way_is_not_lost() {
    let mut fixture = ahead();
    let repair = Command::RepairTime(Repair { was: fixture.machine.now(), to: Time(START) });
    fixture.pass(700);
    assert_eq!(fixture.ask(repair), done(State::Pending));
    assert_eq!(fixture.machine.now(), Time(START + 700));
}

#[test]
fn a_time_of_sending_stays_and_what_was_due_at_once_is_due_at_once() {
    let mut fixture = Fixture::owned();
    let send_at = Some(Time(START + HOUR - 600_000));
    let later = fixture.accept_one(1, Sheet { send_at, ..sheet() });
    fixture.pass(HOUR);
    let at_once = fixture.accept_one(2, sheet());
    let retried = fixture.accept_one(3, sheet());
    fixture.report(retried, 1, Outcome::later("503", "busy"));
    let wait = fixture.pending(retried).due.since(fixture.now);
    repair(&mut fixture, START + 5_000);
    assert_eq!(fixture.pending(later).due, Time(START + HOUR - 600_000));
    assert_eq!(fixture.pending(at_once).due, Time(START + 5_000));
    assert_eq!(fixture.pending(retried).due, Time(START + 5_000).after(wait));
}

#[test]
fn a_time_of_sending_that_seemed_past_is_in_the_future_again() {
    let mut fixture = ahead();
    let send_at = Some(Time(START + 60_000));
    let later = fixture.accept_one(1, Sheet { send_at, ..sheet_with_window(10_000) });
    assert_eq!(fixture.pending(later).due, Time(START + HOUR), "by the wrong time it is due at once");
    repair(&mut fixture, START);
    assert_eq!(
        (fixture.pending(later).due, fixture.pending(later).first_due),
        (Time(START + 60_000), Time(START + 60_000))
    );
}

#[test]
fn a_claimed_key_is_kept_for_as_long_as_was_promised_then() {
    let mut fixture = ahead();
    let now = fixture.now;
    assert_eq!(fixture.ask(claim("k", 1, 1, now)), Answer::Claimed(Claimed::Fresh));
    repair(&mut fixture, START);
    fixture.pass(2 * HOUR - 1);
    let (now, first) = (fixture.now, message(1));
    assert!(
        matches!(fixture.ask(claim("k", 1, 2, now)), Answer::Claimed(Claimed::Again(header)) if header.message == first)
    );
}

#[test]
fn a_permit_of_the_future_blocks_for_a_window_and_no_longer() {
    let mut fixture = ahead();
    assert_eq!(borrow(&mut fixture, 5), 5);
    repair(&mut fixture, START);
    assert_eq!(borrow(&mut fixture, 1), 0, "they count as granted at the repair");
    fixture.pass(LIMIT.window_ms + 1_000 + 60);
    assert_eq!(borrow(&mut fixture, 5), 5);
}

#[test]
fn a_lease_to_fetch_a_token_does_not_outlive_the_repair() {
    let mut fixture = ahead();
    let claim = |by: u64| {
        let by = Owner { node: by, boot: 1 };
        Command::Token(TokenCommand::Claim { account: "a".to_owned(), revision: 1, by })
    };
    assert!(matches!(fixture.ask(claim(1)), Answer::Token(TokenAnswer::Fetch { .. })));
    repair(&mut fixture, START);
    fixture.pass(15_000);
    assert!(matches!(fixture.ask(claim(2)), Answer::Token(TokenAnswer::Fetch { .. })));
}

#[test]
fn what_an_earlier_owner_may_have_sent_stays_in_doubt() {
    let mut fixture = ahead();
    let pending = fixture.accept_one(1, sheet());
    fixture.pass(10).ask(Command::TakeOver { owner: Owner { node: 2, boot: 1 }, epoch: 6, limits: Default::default() });
    repair(&mut fixture, START);
    assert!(fixture.pending(pending).doubtful);
    let fresh = fixture.accept_one(2, sheet());
    fixture.pass(10).cancel(fresh);
    let closed = Command::Close { delivery: fresh, epoch: 6, closing: tidings_machine::partition::Closing::Cancelled };
    assert_eq!(fixture.ask(closed), done(State::Cancelled), "what came after the repair was sent by nobody");
    assert!(!fixture.ended(fresh).delivery.doubtful);
}

#[test]
fn ids_that_the_machine_makes_do_not_go_back() {
    let mut fixture = ahead();
    repair(&mut fixture, START);
    let repaired = fixture.machine.repaired();
    let id = tidings_machine::repair::Repaired::id_time(repaired, fixture.now);
    assert!(id > Time(START + HOUR), "{id}");
}

#[test]
fn a_state_of_a_program_that_knew_no_repairs_can_be_read() {
    let mut fixture = Fixture::owned();
    fixture.accept_one(1, sheet());
    let mut old = bytes(&fixture.machine);
    assert_eq!(old.pop(), Some(0), "no repair stands at the very end");
    let read: tidings_machine::partition::Partition = postcard::from_bytes(&old).expect("it can be read");
    assert_eq!(bytes(&read), fixture.bytes());
}

fn borrow(fixture: &mut Fixture, want: u32) -> u32 {
    let borrow = Borrow { subject: "account/main".to_owned(), windows: vec![LIMIT], want, node: 1 };
    match fixture.ask(Command::Borrow(borrow)) {
        Answer::Leased { permits, .. } => permits,
        other => panic!("a borrower was answered {other:?}"),
    }
}

/// Sends to one of three people under a cap and a dedup window; says whether it was let in. What is let in is taken at once.
fn send(fixture: &mut Fixture, n: u64, who: u64, content: u64) -> bool {
    let rules = Rules {
        caps: vec![Cap { title: "frequency/f@1".to_owned(), kind: CapKind::Frequency, windows: vec![WINDOW] }],
        ..Rules::default()
    };
    let policy = Policy { on_unknown: OnUnknown::Retry, ..sheet_with_window(WINDOW.window_ms).policy };
    let mut accept = part(n, fixture.now, Sheet { rules, policy, ..sheet() });
    accept.sheet = Arc::clone(&accept.sheet);
    accept.recipients = vec![Recipient {
        index: 0,
        to: format!("user-{who}"),
        fingerprint: Some(who * 10 + content),
        marks: vec![Some(who)],
        ..Recipient::default()
    }];
    let verdict = fixture.accept(accept)[0];
    verdict.state == State::Pending && {
        fixture.report(verdict.delivery, 1, delivered());
        true
    }
}

/// The most of `times` that lie in any window of that length.
fn fullest(times: &[u64], window_ms: u64) -> usize {
    times.iter().map(|from| times.iter().filter(|at| (*from..from + window_ms).contains(at)).count()).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Time is ahead of the truth by any amount and is set back in the middle. By the true time, no window holds too many:
    /// neither before the repair, nor after it, nor across it.
    #[test]
    fn no_repair_lets_more_through(
        ahead_ms in 2_000u64..200_000_000,
        at in 0usize..60,
        steps in proptest::collection::vec((0u64..1_500, 0u64..3, 0u64..3), 60),
    ) {
        let mut fixture = Fixture::owned();
        let (mut truth, mut repaired) = (START, false);
        let (mut let_in, mut contents, mut granted) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (gap, who, content)) in steps.into_iter().enumerate() {
            truth += gap;
            fixture.now = Time(truth + if repaired { 0 } else { ahead_ms });
            if n == at {
                fixture.ask(Command::Tick);
                prop_assert_eq!(repair(&mut fixture, truth), done(State::Pending));
                repaired = true;
            }
            if send(&mut fixture, n as u64 + 1, who, content) {
                let_in.push((who, truth));
                contents.push((who * 10 + content, truth));
            }
            let permits = borrow(&mut fixture, 2);
            granted.extend(std::iter::repeat_n(truth, permits as usize));
        }
        let of = |all: &[(u64, u64)], one: u64| -> Vec<u64> {
            all.iter().filter(|(key, _)| *key == one).map(|(_, at)| *at).collect()
        };
        for who in 0..3 {
            prop_assert!(fullest(&of(&let_in, who), WINDOW.window_ms) <= WINDOW.most as usize, "cap of {who}: {let_in:?}");
        }
        for key in 0..30 {
            prop_assert!(fullest(&of(&contents, key), WINDOW.window_ms) <= 1, "dedup of {key}: {contents:?}");
        }
        prop_assert!(fullest(&granted, LIMIT.window_ms) <= LIMIT.permits as usize, "limit: {granted:?}");
        // Nor is anything held up for as long as time was ahead.
        fixture.pass(WINDOW.window_ms + LIMIT.window_ms + 2_000);
        prop_assert!(send(&mut fixture, 1_000, 0, 0));
        prop_assert_eq!(borrow(&mut fixture, 5), 5);
    }

    /// Repeated or late repairs at any place in a history change nothing, and a replica that reads a snapshot in between
    /// is the same.
    #[test]
    fn replicas_stay_the_same_over_repairs(
        steps in proptest::collection::vec((0u64..900_000, 0u64..3, 0u64..3, proptest::bool::weighted(0.1)), 1..40),
    ) {
        let mut fixture = Fixture::owned();
        let mut other = fixture.machine.clone();
        for (n, (gap, who, content, set_back)) in steps.into_iter().enumerate() {
            fixture.pass(gap);
            if set_back {
                let was = fixture.machine.now();
                let command = Command::RepairTime(Repair { was, to: Time(START + 500_000) });
                let at = fixture.now;
                fixture.ask(command.clone());
                other = postcard::from_bytes(&bytes(&other)).expect("a snapshot can be read");
                other.apply(at, command, &mut Output::default());
                fixture.now = fixture.machine.now();
            } else {
                let before = fixture.now;
                let accept = part(n as u64 + 1, before, sheet_with_window(10_000));
                let accept = Command::Accept(Box::new(tidings_machine::partition::Accept {
                    recipients: vec![Recipient { fingerprint: Some(who * 10 + content), ..accept.recipients[0].clone() }],
                    ..accept
                }));
                fixture.ask(accept.clone());
                other.apply(before, accept, &mut Output::default());
            }
            prop_assert_eq!(bytes(&other), fixture.bytes());
        }
        prop_assert_eq!(fixture.machine.owner().map(|(owner, ..)| owner), Some(OWNER));
    }
}
