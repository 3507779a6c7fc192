//! What the trace says of an attempt that waited for a limit.

use tidings_contract::{Outcome, Time};
use tidings_machine::partition::{Answer, Command, Delivery, Refusal, State, Via, Waited, What};

use super::fixture::{Fixture, delivered, done, sheet, sheet_at_most_once, story};

fn limit(until: Time) -> Waited {
    Waited { rule: "limits/slow@3".to_owned(), subject: "account/main".to_owned(), until }
}

fn wait(fixture: &mut Fixture, delivery: tidings_contract::DeliveryId, attempt: u16, epoch: u64) -> Answer {
    let waited = limit(fixture.now.after_ms(5_000));
    fixture.ask(Command::Wait { delivery, attempt, epoch, waited })
}

fn waits(delivery: &Delivery) -> Vec<u16> {
    let told = |what: &What| if let What::Waited { attempt, .. } = what { Some(*attempt) } else { None };
    delivery.events.iter().filter_map(|event| told(&event.what)).collect()
}

#[test]
fn the_first_wait_of_an_attempt_is_told_once_and_changes_nothing_else() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    let before = fixture.pending(id);
    for _ in 0..3 {
        assert_eq!(wait(&mut fixture, id, 1, 5), done(State::Pending));
        fixture.pass(60_000);
    }
    let after = fixture.pending(id);
    assert_eq!((before.due, before.attempts, before.state), (after.due, after.attempts, after.state));
    assert_eq!(story(&after), ["accepted", "waited"]);
    assert_eq!(after.events[1].what, What::Waited { attempt: 1, waited: limit(before.due.after_ms(5_000)) });
    fixture.report(id, 1, Outcome::later("busy", ""));
    assert_eq!(wait(&mut fixture, id, 2, 5), done(State::Pending));
    assert_eq!(waits(&fixture.pending(id)), [1, 2], "each attempt has a wait of its own");
}

#[test]
fn a_wait_is_of_the_next_attempt_and_of_the_present_owner() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet_at_most_once());
    assert_eq!(wait(&mut fixture, id, 1, 4), Answer::Refused(Refusal::NotOwner));
    for attempt in [0, 2] {
        assert_eq!(wait(&mut fixture, id, attempt, 5), Answer::Refused(Refusal::WrongAttempt));
    }
    fixture.begin(id, 1);
    assert_eq!(wait(&mut fixture, id, 1, 5), Answer::Refused(Refusal::WrongAttempt), "it is under way");
    fixture.report(id, 1, delivered());
    assert_eq!(wait(&mut fixture, id, 2, 5), Answer::Refused(Refusal::NotPending));
    assert!(waits(&fixture.ended(id).delivery).is_empty());
}

#[test]
fn a_short_wait_comes_with_its_attempt_unless_it_was_told_before() {
    for told_before in [false, true] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, sheet());
        if told_before {
            wait(&mut fixture, id, 1, 5);
        }
        let via = Some(Box::new(Via { waited: Some(limit(fixture.now)), ..Via::default() }));
        let (account, began, outcome) = ("main".to_owned(), fixture.now, delivered());
        let command = Command::Outcome {
            delivery: id,
            attempt: 1,
            epoch: 5,
            account,
            began,
            outcome,
            masked: vec![],
            via,
            charge: None,
        };
        assert_eq!(fixture.ask(command), done(State::Delivered));
        assert_eq!(story(&fixture.ended(id).delivery), ["accepted", "waited", "delivered", "ended"], "{told_before}");
    }
}
