//! Receipts: matched by the supplier's id, once, whenever they come.

use tidings_contract::{DeliveryId, Reason, ReceiptMark};
use tidings_machine::partition::{
    Answer, Command, Event, Expect, Mark, Partition, ReceiptAnswer, ReceiptCommand, Record, What,
};

use super::fixture::{Fixture, bytes, delivered, sheet, story};

const DAY: u64 = 86_400_000;
const TEN_MINUTES: u64 = 600_000;

fn ask(fixture: &mut Fixture, command: ReceiptCommand) -> ReceiptAnswer {
    match fixture.ask(Command::Receipt(command)) {
        Answer::Receipt(answer) => answer,
        other => panic!("not an answer about receipts: {other:?}"),
    }
}

fn expect_for(fixture: &mut Fixture, delivery: DeliveryId, provider_id: &str, to: &str) {
    let until = fixture.now.after_ms(3 * DAY);
    let (provider_id, to, account) = (provider_id.to_owned(), to.to_owned(), "main".to_owned());
    let expect = Expect { delivery, account, provider_id, to, until, ask_until: None };
    assert_eq!(ask(fixture, ReceiptCommand::Expect(Box::new(expect))), ReceiptAnswer::Expected);
}

fn mark(fixture: &mut Fixture, provider_id: &str, to: Option<&str>, mark: ReceiptMark) -> ReceiptAnswer {
    let park_until = Some(fixture.now.after_ms(TEN_MINUTES));
    let reason = Some(Reason::new("DELIVRD", "arrived"));
    let (account, to) = ("main".to_owned(), to.map(str::to_owned));
    let told_at = Some(fixture.now);
    let (provider_id, gone, charge) = (provider_id.to_owned(), false, None);
    let mark = Mark { account, provider_id, to, mark, reason, at: told_at, park_until, gone, charge };
    ask(fixture, ReceiptCommand::Mark(Box::new(mark)))
}

/// A delivery that was taken under that id, and of which receipts are expected.
fn sent(fixture: &mut Fixture, n: u64, provider_id: &str, to: &str) -> DeliveryId {
    let id = fixture.accept_one(n, sheet());
    expect_for(fixture, id, provider_id, to);
    fixture.report(id, 1, delivered());
    id
}

/// The marks that the archive was told of.
fn marks(fixture: &Fixture, id: DeliveryId) -> Vec<ReceiptMark> {
    let marked = |record: &Record| match record {
        Record::Amend { delivery, event: Event { what: What::Marked { mark, .. }, .. } } if *delivery == id => {
            Some(*mark)
        }
        _ => None,
    };
    fixture.records.iter().filter_map(marked).collect()
}

const ONCE: ReceiptAnswer = ReceiptAnswer::Marked { matched: 1, fresh: 1 };
const AGAIN: ReceiptAnswer = ReceiptAnswer::Marked { matched: 1, fresh: 0 };

#[test]
fn a_receipt_marks_its_delivery_once_even_days_later() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture, 1, "p-1", "+8613800138000");
    fixture.pass(2 * DAY);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), ONCE);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), AGAIN);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Read), ONCE);
    assert_eq!(marks(&fixture, id), [ReceiptMark::Received, ReceiptMark::Read]);
    fixture.pass(DAY).ask(Command::Tick);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Clicked), ReceiptAnswer::Parked, "three days are over");
    assert_eq!(fixture.machine.outside_sizes().expected, 0);
}

#[test]
fn a_receipt_that_comes_before_its_outcome_is_kept_for_some_minutes() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, sheet());
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), ReceiptAnswer::Parked);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), ReceiptAnswer::Parked);
    assert_eq!(fixture.machine.outside_sizes().parked, 1, "the same receipt is parked once");
    fixture.pass(TEN_MINUTES - 1);
    expect_for(&mut fixture, id, "p-1", "+8613800138000");
    fixture.report(id, 1, delivered());
    assert_eq!(story(&fixture.ended(id).delivery), ["accepted", "other", "delivered", "ended"]);
    assert_eq!(fixture.machine.outside_sizes().parked, 0);
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), AGAIN);

    assert_eq!(mark(&mut fixture, "p-2", None, ReceiptMark::Received), ReceiptAnswer::Parked);
    fixture.pass(TEN_MINUTES);
    let late = sent(&mut fixture, 2, "p-2", "+8613800138000");
    assert_eq!(marks(&fixture, late), []);
}

#[test]
fn recipients_under_one_id_are_told_apart_by_their_addresses() {
    let mut fixture = Fixture::owned();
    let ann = sent(&mut fixture, 1, "batch", "+8613800138000");
    let bob = sent(&mut fixture, 2, "batch", "+8613900139000");
    assert_eq!(mark(&mut fixture, "batch", Some("13900139000"), ReceiptMark::Bounced), ONCE);
    assert_eq!((marks(&fixture, ann), marks(&fixture, bob)), (vec![], vec![ReceiptMark::Bounced]));
    assert_eq!(mark(&mut fixture, "batch", Some("+1"), ReceiptMark::Received), ReceiptAnswer::Parked);
    let all = mark(&mut fixture, "batch", None, ReceiptMark::Received);
    assert_eq!(all, ReceiptAnswer::Marked { matched: 2, fresh: 2 });
}

#[test]
fn another_accounts_receipts_are_not_ours() {
    let mut fixture = Fixture::owned();
    sent(&mut fixture, 1, "p-1", "+8613800138000");
    let expects = |account, id, to| fixture.machine.expects_receipt(account, id, to);
    assert!(expects("main", "p-1", None) && expects("main", "p-1", Some("86-138-0013-8000")));
    assert!(!expects("other", "p-1", None) && !expects("main", "p-2", None));
    // The others of the call may live in other partitions: one who is alone here is not taken for them.
    assert!(!expects("main", "p-1", Some("13900139000")));
}

#[test]
fn what_was_expected_and_parked_survives_a_snapshot() {
    let mut fixture = Fixture::owned();
    sent(&mut fixture, 1, "p-1", "+8613800138000");
    mark(&mut fixture, "p-1", None, ReceiptMark::Received);
    mark(&mut fixture, "p-9", None, ReceiptMark::Received);
    fixture.machine = postcard::from_bytes::<Partition>(&bytes(&fixture.machine)).expect("a snapshot is readable");
    assert_eq!(mark(&mut fixture, "p-1", None, ReceiptMark::Received), AGAIN);
    assert_eq!(fixture.machine.outside_sizes().parked, 1);
}

#[test]
fn parked_receipts_are_bounded_and_the_oldest_falls_out() {
    let mut fixture = Fixture::owned();
    for n in 0..5_000 {
        fixture.pass(1);
        mark(&mut fixture, &format!("p-{n}"), None, ReceiptMark::Received);
    }
    assert_eq!(fixture.machine.outside_sizes().parked, 4_096);
    let oldest = sent(&mut fixture, 1, "p-0", "+8613800138000");
    let newest = sent(&mut fixture, 2, "p-4999", "+8613800138000");
    let story = |id| story(&fixture.ended(id).delivery);
    assert_eq!((story(oldest).len(), story(newest).len()), (3, 4));
}
