//! Questions about deliveries: when the next one is due stands in the state, whoever leads.

use tidings_contract::{DeliveryId, ReceiptMark};
use tidings_machine::partition::{Command, Expect, Mark, ReceiptCommand};

use super::fixture::{Fixture, delivered, sheet};

const DAY: u64 = 86_400_000;

fn sent(fixture: &mut Fixture, n: u64, ask_for: u64) -> DeliveryId {
    let delivery = fixture.accept_one(n, sheet());
    let (account, provider_id, to) = ("main".to_owned(), format!("p-{n}"), "user-1".to_owned());
    let (until, ask_until) = (fixture.now.after_ms(3 * DAY), Some(fixture.now.after_ms(ask_for)));
    let expect = Expect { delivery, account, provider_id, to, until, ask_until };
    fixture.ask(Command::Receipt(ReceiptCommand::Expect(Box::new(expect))));
    fixture.report(delivery, 1, delivered());
    delivery
}

fn due(fixture: &Fixture) -> Vec<(DeliveryId, u16)> {
    fixture.machine.asks(fixture.now, 10).map(|(id, ask)| (*id, ask.tries)).collect()
}

fn asked(fixture: &mut Fixture, delivery: DeliveryId, tries: u16, more: bool) {
    fixture.ask(Command::Receipt(ReceiptCommand::Asked { delivery, tries, more }));
}

fn mark(fixture: &mut Fixture, provider_id: &str, mark: ReceiptMark) {
    let (account, provider_id) = ("main".to_owned(), provider_id.to_owned());
    let (to, reason, at, park_until, gone, charge) = (None, None, None, None, false, None);
    let mark = Mark { account, provider_id, to, mark, reason, at, park_until, gone, charge };
    fixture.ask(Command::Receipt(ReceiptCommand::Mark(Box::new(mark))));
}

#[test]
fn the_waits_between_questions_double_up_to_an_hour_and_end_with_the_vendors_memory() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture, 1, DAY);
    let mut passed = 0;
    let mut waits = Vec::new();
    for tries in 0.. {
        let Some((_, ask)) = fixture.machine.asks(fixture.now.after_ms(DAY), 1).next() else { break };
        assert!(due(&fixture).is_empty(), "it is not due before its time");
        let wait = ask.due.0 - fixture.now.0;
        waits.push(wait);
        passed += wait;
        fixture.pass(wait);
        assert_eq!(due(&fixture), [(id, tries)]);
        asked(&mut fixture, id, tries, true);
    }
    assert_eq!(waits[..9], [30_000, 60_000, 120_000, 240_000, 480_000, 960_000, 1_920_000, 3_600_000, 3_600_000]);
    assert_eq!((passed, fixture.machine.outside_sizes().asking), (DAY, 0), "the last question is at the very end");
}

#[test]
fn an_answer_that_comes_twice_or_late_changes_nothing() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture, 1, DAY);
    fixture.pass(30_000);
    asked(&mut fixture, id, 0, true);
    let before = fixture.bytes();
    asked(&mut fixture, id, 0, false);
    assert_eq!(fixture.bytes(), before, "what an older owner says of an older question is not heard");
    asked(&mut fixture, id, 1, false);
    assert_eq!(fixture.machine.outside_sizes().asking, 0);
}

#[test]
fn what_was_read_or_came_back_is_not_asked_about_any_more_and_what_was_received_is() {
    for (what, left) in [(ReceiptMark::Received, 1), (ReceiptMark::Read, 0), (ReceiptMark::Bounced, 0)] {
        let mut fixture = Fixture::owned();
        sent(&mut fixture, 1, DAY);
        mark(&mut fixture, "p-1", what);
        assert_eq!(fixture.machine.outside_sizes().asking, left, "{what:?}");
    }
}

#[test]
fn the_longest_due_are_asked_about_first_and_a_snapshot_knows_them() {
    let mut fixture = Fixture::owned();
    let first = sent(&mut fixture, 1, DAY);
    fixture.pass(10);
    let second = sent(&mut fixture, 2, DAY);
    fixture.pass(30_000);
    assert_eq!(due(&fixture), [(first, 0), (second, 0)]);
    fixture.machine = postcard::from_bytes(&fixture.bytes()).expect("a snapshot is read");
    assert_eq!(due(&fixture), [(first, 0), (second, 0)]);
    assert_eq!(fixture.machine.asks(fixture.now, 1).count(), 1);
}
