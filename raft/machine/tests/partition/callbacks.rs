//! Callbacks: made in the same step as what they tell of, counted like any delivery, and never the cause of another.

use std::sync::Arc;

use tidings_contract::{Blame, DeliveryId, Outcome, ReceiptMark};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{
    About, CALLBACK_TEMPLATE, Callback, CallbackSpec, Closing, Command, Expect, Happening, Limits, Mark,
    ReceiptCommand, Recipient, Redrive, Sheet, State,
};

use super::fixture::{Fixture, delivered, part, sheet, sheet_with_window};

const URL: &str = "https://caller.example/hook";

pub(crate) fn callback(happenings: &[Happening]) -> Option<Box<Callback>> {
    let events = happenings.iter().map(|one| one.bit()).sum();
    let spec = CallbackSpec { url: URL.to_owned(), sealed: Sealed(vec![1, 2, 3]), events, allow_private: false };
    Some(Box::new(Callback { spec, about: None }))
}

fn telling(happenings: &[Happening]) -> Sheet {
    Sheet { callback: callback(happenings), ..sheet() }
}

/// The callbacks that are pending, with what they tell.
fn callbacks(fixture: &Fixture) -> Vec<(DeliveryId, About)> {
    let about = |sheet: &Sheet| sheet.callback.as_ref().and_then(|callback| callback.about.clone());
    let pending = fixture.machine.pending(None).filter(|(_, sheet)| sheet.template == CALLBACK_TEMPLATE);
    pending.filter_map(|(delivery, sheet)| Some((delivery.id, about(&sheet)?))).collect()
}

#[test]
fn an_end_that_is_wanted_makes_a_callback_in_the_same_step() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, telling(&[Happening::Delivered]));
    assert_eq!(callbacks(&fixture), []);
    fixture.report(id, 1, delivered());
    let made = callbacks(&fixture);
    let [(callback, about)] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(
        (about.delivery, about.happening, about.provider_id.as_deref()),
        (id, Happening::Delivered, Some("p-1"))
    );
    assert_eq!(callback.partition(), id.partition());
    let (pending, sheet) = fixture.machine.delivery(callback).expect("it is pending");
    assert_eq!((pending.to.as_str(), sheet.channel.as_str()), (URL, "callback"));
    let totals = fixture.machine.totals();
    assert_eq!((totals.accepted, fixture.machine.pending_count()), (2, 1));
}

#[test]
fn only_what_is_wanted_is_told() {
    let mut fixture = Fixture::owned();
    let all = Happening::ALL;
    let failed = fixture.accept_one(1, telling(&[Happening::Failed]));
    let silent = fixture.accept_one(2, telling(&[Happening::Delivered]));
    for id in [failed, silent] {
        fixture.report(id, 1, Outcome::never(Blame::Recipient, "550", "gone"));
    }
    let told: Vec<_> = callbacks(&fixture).into_iter().map(|(_, about)| (about.delivery, about.reason)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0, told[0].1.as_ref().map(|reason| reason.code.as_str())), (failed, Some("550")));
    let bits: u32 = all.iter().map(|one| u32::from(one.bit())).sum();
    assert_eq!(bits.count_ones() as usize, all.len(), "every happening has a bit of its own");
}

#[test]
fn a_callback_never_causes_another_and_can_fail_and_be_dead() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, telling(&Happening::ALL));
    fixture.report(id, 1, delivered());
    let (callback, _) = callbacks(&fixture)[0].clone();
    fixture.close(callback, Closing::Impossible(tidings_contract::Reason::new("url", "")));
    assert_eq!(callbacks(&fixture), []);
    assert_eq!(fixture.ended(callback).delivery.state, State::Failed);
    assert!(fixture.machine.dead_letter(&callback).is_some());
    assert_eq!(fixture.machine.totals().ended.values().sum::<u64>(), 2);
}

#[test]
fn what_a_rule_suppressed_at_intake_is_told_too() {
    let mut fixture = Fixture::owned();
    let twins = || Sheet { callback: callback(&[Happening::Suppressed]), ..sheet_with_window(60_000) };
    fixture.accept_one(1, twins());
    let second = part(2, fixture.now, twins());
    let verdict = fixture.accept(second)[0];
    assert_eq!(verdict.state, State::Suppressed);
    let told = callbacks(&fixture);
    assert_eq!((told.len(), told[0].1.delivery, told[0].1.happening), (1, verdict.delivery, Happening::Suppressed));
}

#[test]
fn a_receipt_is_told_once() {
    let mut fixture = Fixture::owned();
    let id = fixture.accept_one(1, telling(&[Happening::Bounced]));
    let (account, provider_id) = ("main".to_owned(), "p-1".to_owned());
    let until = fixture.now.after_ms(60_000);
    let (a, p, to) = (account.clone(), provider_id.clone(), "+8613800138000".to_owned());
    let expect = Expect { delivery: id, account: a, provider_id: p, to, until, ask_until: None };
    fixture.ask(Command::Receipt(ReceiptCommand::Expect(Box::new(expect))));
    fixture.report(id, 1, delivered());
    let mark = |mark| Mark {
        account: account.clone(),
        provider_id: provider_id.clone(),
        to: None,
        mark,
        reason: None,
        at: None,
        park_until: None,
        gone: false,
        charge: None,
    };
    for one in [ReceiptMark::Received, ReceiptMark::Bounced, ReceiptMark::Bounced] {
        fixture.ask(Command::Receipt(ReceiptCommand::Mark(Box::new(mark(one)))));
    }
    let told = callbacks(&fixture);
    assert_eq!((told.len(), told[0].1.happening), (1, Happening::Bounced));
    assert_eq!(told[0].1.provider_id.as_deref(), Some("p-1"));
}

#[test]
fn callbacks_that_nobody_takes_do_not_keep_messages_out() {
    let mut fixture = Fixture::with_limits(Limits { pending: 8, ..Limits::default() });
    for n in 0..20 {
        let id = fixture.accept_one(n, telling(&[Happening::Delivered]));
        fixture.report(id, 1, delivered());
        fixture.pass(1);
    }
    assert_eq!((callbacks(&fixture).len(), fixture.machine.outside_sizes().callbacks), (4, 4));
    let dead: Vec<_> = fixture.machine.dead_letters().map(|(id, letter)| (*id, letter.reason.code.clone())).collect();
    assert!(dead.len() == 16 && dead.iter().all(|(_, code)| code == "callbacks_full"), "{dead:?}");
    for (callback, _) in callbacks(&fixture) {
        fixture.report(callback, 1, delivered());
    }
    assert_eq!(fixture.machine.outside_sizes().callbacks, 0);
    let sheet = Arc::clone(&fixture.ended(dead[0].0).sheet);
    let recipient = Recipient { index: 0, to: URL.to_owned(), variables: None, ..Recipient::default() };
    let redrive = Redrive { delivery: dead[0].0, by: "key_1".to_owned(), sheet, recipient };
    fixture.ask(Command::Redrive(Box::new(redrive)));
    assert_eq!(fixture.machine.outside_sizes().callbacks, 1, "a redriven one counts too");
    let totals = fixture.machine.totals();
    assert_eq!(totals.accepted, totals.ended.values().sum::<u64>() + 1);
}
