//! Deliveries whose content killed the process that filled it.

use tidings_contract::{DeliveryId, Time};
use tidings_machine::partition::{Answer, Command, Limits, MOST_DEATHS, Owner, Refusal, State, What};

use super::fixture::{Fixture, START, done, sheet, story};

const OTHER: Owner = Owner { node: 2, boot: 22 };

fn died(fixture: &mut Fixture, delivery: DeliveryId, epoch: u64) -> Answer {
    fixture.ask(Command::Died { delivery, epoch, how: "it wanted more memory than it may have".to_owned() })
}

#[test]
fn the_first_death_is_told_and_waited_out_and_the_last_one_ends_the_delivery() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    for death in 1..MOST_DEATHS {
        assert_eq!(died(&mut fixture, id, 5), done(State::Pending));
        let delivery = fixture.pending(id);
        assert_eq!((delivery.deaths, delivery.due), (death, fixture.now.after_ms(1_000)));
        assert!(fixture.machine.is_suspect(&delivery), "nobody fills it where others would die with it");
        assert_eq!(died(&mut fixture, id, 5), Answer::Refused(Refusal::Groundless), "told twice, counted once");
        fixture.pass(1_000);
    }
    assert_eq!(died(&mut fixture, id, 5), done(State::Failed));
    let ended = &fixture.ended(id).delivery;
    let reason = ended.reason.as_ref().expect("it says why");
    assert_eq!((reason.code.as_str(), ended.attempts), ("poisonous_content", 0));
    assert_eq!(story(ended), ["accepted", "rendering_died", "rendering_died", "ended"]);
    assert_eq!(fixture.machine.totals().ended.get(&State::Failed), Some(&1));
}

#[test]
fn a_death_is_counted_for_the_delivery_and_not_for_its_owner() {
    let mut fixture = Fixture::owned();
    let (id, other) = (fixture.accept_one(1, sheet()), fixture.accept_one(2, sheet()));
    died(&mut fixture, id, 5);
    let limits = Limits::default();
    assert_eq!(fixture.pass(1_000).ask(Command::TakeOver { owner: OTHER, epoch: 6, limits }), Answer::Owned);
    assert_eq!(died(&mut fixture, id, 5), Answer::Refused(Refusal::NotOwner));
    assert_eq!(died(&mut fixture, id, 6), done(State::Failed));
    assert_eq!(fixture.pending(other).deaths, 0);
}

#[test]
fn what_was_due_when_the_owner_changed_is_suspect_and_nothing_else() {
    let mut fixture = Fixture::owned();
    let due = fixture.accept_one(1, sheet());
    let later =
        fixture.accept_one(2, tidings_machine::partition::Sheet { send_at: Some(Time(START + 60_000)), ..sheet() });
    let suspect = |fixture: &Fixture, id| fixture.machine.is_suspect(&fixture.pending(id));
    assert!(!suspect(&fixture, due), "its owner is the first");
    fixture.pass(1_000).ask(Command::TakeOver { owner: OTHER, epoch: 6, limits: Limits::default() });
    let fresh = fixture.pass(1).accept_one(3, sheet());
    assert_eq!([due, later, fresh].map(|id| suspect(&fixture, id)), [true, false, false]);
    assert!(fixture.pending(due).events.iter().all(|event| !matches!(event.what, What::OwnerChanged { .. })));
}
