//! Dead letters that go out again.

use std::sync::Arc;

use tidings_contract::{Blame, DeliveryId, Outcome};
use tidings_machine::partition::{Answer, Command, Limits, Record, Redrive, Refusal, Sheet, State, Verdict, What};

use super::fixture::{Fixture, delivered, done, part, recipient, sheet, sheet_with_window, story};

fn redrive(fixture: &mut Fixture, delivery: DeliveryId, sheet: Sheet) -> Answer {
    let recipient = recipient(delivery.index(), 77);
    fixture.ask(Command::Redrive(Box::new(Redrive {
        delivery,
        by: "key_2".to_owned(),
        sheet: Arc::new(sheet),
        recipient,
    })))
}

fn dead(fixture: &mut Fixture, n: u64, sheet: Sheet) -> DeliveryId {
    let id = fixture.accept_one(n, sheet);
    fixture.report(id, 1, Outcome::never(Blame::Account, "smtp_535", "wrong password"));
    id
}

#[test]
fn a_redrive_is_a_new_delivery_of_the_next_generation_that_names_the_old_one() {
    let mut fixture = Fixture::owned();
    let old = dead(&mut fixture, 1, sheet());
    let new = old.next_generation().expect("there is one");
    let accepted = Answer::Accepted(vec![Verdict { delivery: new, state: State::Pending }]);
    assert_eq!(redrive(&mut fixture, old, sheet()), accepted);
    assert_eq!(story(&fixture.pending(new)), ["accepted", "redrive_of"]);
    let told = |record: &Record| {
        matches!(record, Record::Amend { delivery, event }
        if *delivery == old && event.what == What::RedrivenAs { delivery: new })
    };
    assert!(fixture.records.iter().any(told));
    assert_eq!(fixture.machine.dead_letters().count(), 0);
    assert_eq!(redrive(&mut fixture, old, sheet()), Answer::Refused(Refusal::NotDead), "only once");
    assert_eq!(fixture.report(new, 1, delivered()), done(State::Delivered));
    assert_eq!(fixture.machine.totals().accepted, 2);
}

#[test]
fn two_redrives_of_one_message_keep_their_own_edits() {
    let mut fixture = Fixture::owned();
    let mut both = part(1, fixture.now, sheet());
    both.recipients = vec![recipient(0, 1), recipient(1, 2)];
    for verdict in fixture.accept(both) {
        fixture.report(verdict.delivery, 1, Outcome::never(Blame::Content, "refused", ""));
    }
    let dead: Vec<DeliveryId> = fixture.machine.dead_letters().map(|(id, _)| *id).collect();
    for (id, variables) in dead.iter().zip(["{\"code\":1}", "{\"code\":2}"]) {
        redrive(&mut fixture, *id, Sheet { variables: variables.to_owned(), ..sheet() });
    }
    let carried: Vec<String> = fixture.machine.pending(None).map(|(_, sheet)| sheet.variables.clone()).collect();
    assert_eq!(carried, ["{\"code\":1}", "{\"code\":2}"]);
}

#[test]
fn a_redrive_is_not_suppressed_but_suppresses() {
    let mut fixture = Fixture::owned();
    let old = dead(&mut fixture, 1, sheet_with_window(60_000));
    fixture.accept_one(2, sheet_with_window(60_000));
    assert!(matches!(redrive(&mut fixture, old, sheet_with_window(60_000)), Answer::Accepted(_)));
    assert_eq!(fixture.machine.pending_count(), 2);
    assert_eq!(fixture.accept(part(3, fixture.now, sheet_with_window(60_000)))[0].state, State::Suppressed);
}

#[test]
fn a_redrive_that_cannot_be_leaves_the_dead_letter_where_it_is() {
    let mut fixture = Fixture::with_limits(Limits { pending: 1, ..Limits::default() });
    let old = dead(&mut fixture, 1, sheet());
    let alive = fixture.accept_one(2, sheet());
    let expired = Sheet { expires_at: Some(fixture.now), ..sheet() };
    assert_eq!(redrive(&mut fixture, alive, sheet()), Answer::Refused(Refusal::NotDead));
    assert_eq!(redrive(&mut fixture, old, sheet()), Answer::Refused(Refusal::Full));
    fixture.report(alive, 1, delivered());
    assert_eq!(redrive(&mut fixture, old, expired), Answer::Refused(Refusal::TooLate));
    assert_eq!(fixture.machine.dead_letters().count(), 1);
}
