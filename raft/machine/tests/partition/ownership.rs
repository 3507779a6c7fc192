//! Who may speak for the partition: takeovers, tenures, stale owners.

use tidings_contract::Outcome;
use tidings_machine::partition::{Answer, Closing, Command, Limits, Owner, Refusal, State};

use super::fixture::{Fixture, OWNER, delivered, done, outcome_of, sheet, sheet_at_most_once};

const OTHER: Owner = Owner { node: 2, boot: 22 };
const REBORN: Owner = Owner { node: 1, boot: 12 };

fn take(fixture: &mut Fixture, owner: Owner, epoch: u64) -> Answer {
    fixture.ask(Command::TakeOver { owner, epoch, limits: Limits::default() })
}

#[test]
fn a_tenure_goes_on_over_epochs_of_one_owner_and_starts_anew_with_another() {
    let not_owner = Answer::Refused(Refusal::NotOwner);
    let mut fixture = Fixture::owned();
    for (owner, epoch, answer, tenure) in [
        (OWNER, 5, Answer::Owned, (OWNER, 5, 5)),
        (OWNER, 7, Answer::Owned, (OWNER, 7, 5)),
        (OWNER, 6, not_owner.clone(), (OWNER, 7, 5)),
        (OTHER, 7, not_owner.clone(), (OWNER, 7, 5)),
        (REBORN, 8, Answer::Owned, (REBORN, 8, 8)),
        (OTHER, 9, Answer::Owned, (OTHER, 9, 9)),
        (REBORN, 8, not_owner, (OTHER, 9, 9)),
    ] {
        assert_eq!(take(&mut fixture, owner, epoch), answer, "{owner:?} in epoch {epoch}");
        assert_eq!(fixture.machine.owner(), Some(tenure));
    }
}

#[test]
fn only_commands_of_the_present_tenure_change_anything() {
    let mut fixture = Fixture::owned();
    take(&mut fixture, OTHER, 8);
    take(&mut fixture, OTHER, 10);
    let id = fixture.accept_one(1, sheet());
    fixture.cancel(id);
    let (now, before) = (fixture.now, fixture.bytes());
    for epoch in [0, 5, 7, 11, u64::MAX] {
        for command in [
            outcome_of(id, 1, epoch, now, delivered()),
            Command::Begin { delivery: id, attempt: 1, epoch, account: "main".to_owned(), via: None },
            Command::Close { delivery: id, epoch, closing: Closing::Cancelled },
        ] {
            assert_eq!(fixture.ask(command), Answer::Refused(Refusal::NotOwner), "epoch {epoch}");
        }
    }
    assert_eq!(fixture.bytes(), before);
    assert_eq!(fixture.ask(outcome_of(id, 1, 9, now, delivered())), done(State::Delivered), "between the takeovers");
}

#[test]
fn nobody_owns_a_restored_partition_and_what_its_old_owner_knows_counts_for_nothing() {
    let mut fixture = Fixture::owned();
    take(&mut fixture, OTHER, 50);
    let (plain, claimed) = (fixture.accept_one(1, sheet()), fixture.accept_one(2, sheet_at_most_once()));
    let now = fixture.now;
    let begin = |epoch| Command::Begin { delivery: claimed, attempt: 1, epoch, account: "main".to_owned(), via: None };
    assert_eq!(fixture.ask(begin(50)), done(State::Pending));
    fixture.machine.restored();
    let not_owner = Answer::Refused(Refusal::NotOwner);
    assert_eq!(fixture.machine.owner(), None);
    assert_eq!(fixture.ask(outcome_of(plain, 1, 50, now, delivered())), not_owner, "while nobody owns it");
    assert_eq!(take(&mut fixture, OWNER, 51), Answer::Owned);
    assert_eq!(fixture.machine.owner(), Some((OWNER, 51, 51)));
    for old in [outcome_of(plain, 1, 50, now, delivered()), outcome_of(claimed, 1, 50, now, delivered())] {
        assert_eq!(fixture.ask(old), not_owner, "of the old owner");
    }
    // The claimed attempt may have been made: it is never made again, and ends as what it is.
    assert_eq!(fixture.ask(begin(51)), Answer::Refused(Refusal::WrongAttempt));
    let lost = Command::Close { delivery: claimed, epoch: 51, closing: Closing::Lost };
    assert_eq!(fixture.ask(lost), done(State::Unknown));
    assert_eq!(fixture.ask(outcome_of(plain, 1, 51, now, delivered())), done(State::Delivered));
}

#[test]
fn nobody_owns_a_new_partition_but_messages_come_in_already() {
    let mut fixture = Fixture::default();
    let id = fixture.accept_one(1, sheet());
    let now = fixture.now;
    let answer = fixture.ask(outcome_of(id, 1, 0, now, Outcome::later("503", "")));
    assert_eq!((answer, fixture.machine.owner()), (Answer::Refused(Refusal::NotOwner), None));
}
