//! Addresses that turn out to be nobody's go on the suppression list: once, and where their list is.

use std::sync::Arc;

use tidings_contract::{Blame, DeliveryId, Outcome, Reason, ReceiptMark};
use tidings_machine::partition::{
    Answer, CallPolicy, Command, Expect, Leg, Mark, ReceiptCommand, Record, Refusal, RetryPolicy, Sheet, State,
    Suppress, Suppression, SuppressionReason, Way, What,
};

use super::fixture::{Fixture, delivered, done, part, sheet};

const TO: &str = "+8613800138000";

fn way(suppress_bounces: bool) -> Way {
    Way { call: CallPolicy { suppress_bounces, ..CallPolicy::default() }, ..Way::default() }
}

fn asked_to(suppress_bounces: bool) -> Sheet {
    Sheet { way: Some(Arc::new(way(suppress_bounces))), ..sheet() }
}

fn gone() -> Outcome {
    Outcome::never(Blame::Gone, "smtp_550", "5.1.1 no such user")
}

fn entry<'a>(fixture: &'a Fixture, address: &str, channel: &str) -> Option<&'a Suppression> {
    fixture.machine.suppression(&(address.to_owned(), channel.to_owned()))
}

/// What the records say about addresses that were put on the list.
fn noted(fixture: &Fixture, id: DeliveryId) -> Vec<(String, Option<String>)> {
    let noted = |what: &What| match what {
        What::AddressSuppressed { address, problem, .. } => Some((address.clone(), problem.clone())),
        _ => None,
    };
    let of = |record: &Record| match record {
        Record::Ended(ended) if ended.delivery.id == id => {
            ended.delivery.events.iter().filter_map(|event| noted(&event.what)).collect()
        }
        Record::Amend { delivery, event } if *delivery == id => noted(&event.what).into_iter().collect(),
        _ => Vec::new(),
    };
    fixture.records.iter().flat_map(of).collect()
}

fn sent(fixture: &mut Fixture, n: u64, sheet: Sheet) -> DeliveryId {
    let delivery = fixture.accept_one(n, sheet);
    let (account, provider_id, to) = ("main".to_owned(), format!("p-{n}"), TO.to_owned());
    let expect = Expect { delivery, account, provider_id, to, until: fixture.now.after_ms(60_000), ask_until: None };
    fixture.ask(Command::Receipt(ReceiptCommand::Expect(Box::new(expect))));
    fixture.report(delivery, 1, delivered());
    delivery
}

fn bounce(fixture: &mut Fixture, provider_id: &str, gone: bool) {
    let (account, provider_id, reason) = ("main".to_owned(), provider_id.to_owned(), Some(Reason::new("30005", "")));
    let (to, at, park_until, charge) = (None, None, None, None);
    let mark = Mark { account, provider_id, to, mark: ReceiptMark::Bounced, reason, at, park_until, gone, charge };
    fixture.ask(Command::Receipt(ReceiptCommand::Mark(Box::new(mark))));
}

#[test]
fn an_address_that_is_nobodys_goes_on_the_list_if_its_account_says_so_and_the_trace_names_it() {
    for (wanted, outcome, listed) in [
        (true, gone(), true),
        (false, gone(), false),
        (true, Outcome::never(Blame::Recipient, "smtp_552", "mailbox full"), false),
        (true, Outcome::unknown("timeout", ""), false),
    ] {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, asked_to(wanted));
        fixture.report(id, 1, outcome.clone());
        assert_eq!(entry(&fixture, TO, "sms").is_some(), listed, "{wanted} {outcome:?}");
        assert_eq!(noted(&fixture, id).len(), usize::from(listed), "{wanted} {outcome:?}");
    }
}

#[test]
fn the_entry_names_the_delivery_and_the_next_message_is_suppressed_because_of_it() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, asked_to(true));
    assert_eq!(fixture.report(id, 1, gone()), done(State::Failed));
    let listed = entry(&fixture, TO, "sms").expect("it is on the list");
    let bounce = listed.bounce.as_ref().expect("a delivery showed it");
    assert_eq!((listed.reason, listed.by.as_str()), (SuppressionReason::Bounced, "key_1"));
    assert_eq!((bounce.delivery, bounce.code.as_str()), (id, "smtp_550"));
    let next = fixture.accept(part(2, fixture.now, asked_to(true)));
    assert_eq!(next[0].state, State::Suppressed);
    let why = fixture.ended(next[0].delivery).delivery.reason.clone().expect("there is a reason");
    assert!(why.words.contains(&id.to_string()), "{why}");
}

#[test]
fn a_receipt_does_the_same_long_after_the_end_and_once() {
    let mut fixture = Fixture::owned();
    let id = sent(&mut fixture, 1, asked_to(true));
    let soft = sent(&mut fixture, 2, asked_to(true));
    bounce(&mut fixture, "p-2", false);
    assert!(entry(&fixture, TO, "sms").is_none() && noted(&fixture, soft).is_empty(), "it may be there tomorrow");
    bounce(&mut fixture, "p-1", true);
    assert_eq!(noted(&fixture, id), [(TO.to_owned(), None)]);
    let off = Command::Unsuppress { channel: "sms".to_owned(), address: TO.to_owned() };
    assert_eq!(fixture.ask(off), done(State::Pending));
    bounce(&mut fixture, "p-1", true);
    assert!(entry(&fixture, TO, "sms").is_none(), "who took it off the list is not overruled by the same receipt");
}

#[test]
fn an_entry_that_stays_for_good_keeps_its_reason_and_one_that_ends_is_replaced() {
    for (until, reason, notes) in
        [(None, SuppressionReason::Unsubscribed, 0), (Some(60_000), SuppressionReason::Bounced, 1)]
    {
        let mut fixture = Fixture::owned();
        let id = fixture.accept_one(1, asked_to(true));
        fixture.ask(Command::Suppress(Box::new(Suppress {
            channel: "sms".to_owned(),
            address: TO.to_owned(),
            reason: SuppressionReason::Unsubscribed,
            until: until.map(|ms| fixture.now.after_ms(ms)),
            by: "key_2".to_owned(),
            bounce: None,
        })));
        fixture.report(id, 1, gone());
        let listed = entry(&fixture, TO, "sms").expect("it is on the list");
        assert_eq!((listed.reason, listed.until), (reason, None));
        assert_eq!(noted(&fixture, id).len(), notes);
    }
}

#[test]
fn the_address_of_a_further_leg_is_handed_on_to_where_its_list_is() {
    let mut fixture = Fixture::owned();
    let retry = RetryPolicy { max_attempts: 2, first_ms: 1_000, longest_ms: 60_000, give_up_after_ms: 600_000 };
    let (template, channel) = ("otp-mail".to_owned(), "email".to_owned());
    let leg = Leg { template, version: 7, channel, way: way(true), retry };
    let mut accept = part(1, fixture.now, Sheet { legs: vec![Arc::new(leg)], ..asked_to(false) });
    accept.recipients[0].fallback = vec![Some("ann@example.com".to_owned())];
    let id = fixture.accept(accept)[0].delivery;
    assert_eq!(fixture.report(id, 1, gone()), done(State::Pending), "it goes on by mail");
    assert_eq!(fixture.report(id, 2, gone()), done(State::Failed));
    assert!(entry(&fixture, "ann@example.com", "email").is_none(), "its list is not this partition's");
    let waiting: Vec<Suppress> = fixture.machine.bounces_elsewhere().cloned().collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(noted(&fixture, id), [("ann@example.com".to_owned(), None)]);

    let mut home = Fixture::owned();
    for _ in 0..2 {
        assert_eq!(home.ask(Command::Suppress(Box::new(waiting[0].clone()))), done(State::Pending));
    }
    let listed = entry(&home, "ann@example.com", "email").expect("it is on the list at home");
    assert_eq!(listed.bounce.as_ref().map(|bounce| bounce.delivery), Some(id));
    let (address, channel) = (waiting[0].address.clone(), waiting[0].channel.clone());
    fixture.ask(Command::Receipt(ReceiptCommand::HandedOn { address, channel }));
    assert_eq!(fixture.machine.bounces_elsewhere().count(), 0);
}

#[test]
fn a_redrive_to_an_address_that_is_nobodys_is_refused() {
    let mut fixture = Fixture::owned();
    let accept = part(1, fixture.now, asked_to(true));
    let (sheet, recipient) = (Arc::clone(&accept.sheet), accept.recipients[0].clone());
    let delivery = fixture.accept(accept)[0].delivery;
    fixture.report(delivery, 1, gone());
    let redrive = tidings_machine::partition::Redrive { delivery, by: "key_1".to_owned(), sheet, recipient };
    assert_eq!(fixture.ask(Command::Redrive(Box::new(redrive))), Answer::Refused(Refusal::Suppressed));
}
