//! Receipts: what suppliers report later about deliveries they took, matched by the supplier's id.
//!
//! The partition that owns a delivery *expects* receipts of it, under a hash of account and supplier's id, from just before
//! the outcome is recorded. A receipt that nobody expects yet is *parked* for some minutes and taken up by whoever comes
//! to expect it. A mark is set once: the same receipt again changes nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{Charge, DeliveryId, Reason, ReceiptMark, Time, stable_hash};

use super::bounces::Barrable;
use super::callback::Happening;
use super::expiring::Expiring;
use super::{Answer, Ask, Event, Hint, Partition, Record, Subject, What};
use crate::Output;

/// Most deliveries that receipts are expected of; beyond it the ones that have been waited for longest fall out.
const EXPECTED_KEPT: usize = 300_000;
/// Most parked receipts; beyond it the oldest fall out.
const PARKED_KEPT: usize = 4_096;
/// How many digits at the end make two telephone numbers the same, however their beginnings are written.
const SAME_DIGITS: usize = 8;
/// The happenings that receipts can bring.
const HAPPENINGS: [Happening; 4] = [Happening::Received, Happening::Bounced, Happening::Read, Happening::Clicked];

/// What can be asked of a partition about receipts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReceiptCommand {
    /// The owner expects receipts of a delivery from here on. Answered by `Expected`.
    Expect(Box<Expect>),
    /// A receipt came. Answered by `Marked`, `Parked` or `NotHere`.
    Mark(Box<Mark>),
    /// The supplier was asked about a delivery. Answered by `Noted`.
    Asked {
        /// The delivery.
        delivery: DeliveryId,
        /// How often it was asked about before.
        tries: u16,
        /// Whether it makes sense to ask again.
        more: bool,
    },
    /// An address was put on the suppression list where it is at home. Answered by `Noted`.
    HandedOn {
        /// The address.
        address: String,
        /// The channel.
        channel: String,
    },
}

/// A delivery of which receipts are expected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expect {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The account it was sent with.
    pub account: String,
    /// The supplier's id of it.
    pub provider_id: String,
    /// The recipient.
    pub to: String,
    /// Until when.
    pub until: Time,
    /// Until when the supplier can be asked about it; `None` if it tells by itself.
    #[serde(default)]
    pub ask_until: Option<Time>,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The account whose supplier reports.
    pub account: String,
    /// The supplier's id.
    pub provider_id: String,
    /// The recipient, where one id covers several.
    pub to: Option<String>,
    /// What happened.
    pub mark: ReceiptMark,
    /// The supplier's words.
    pub reason: Option<Reason>,
    /// When, by the supplier's clock.
    pub at: Option<Time>,
    /// Until when to keep it if nobody expects it yet; `None`: not at all.
    pub park_until: Option<Time>,
    /// Whether it came back because there is no such recipient any more.
    #[serde(default)]
    pub gone: bool,
    /// What the supplier charged, if it said so.
    #[serde(default)]
    pub charge: Option<Box<Charge>>,
}

/// What a partition answers about receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReceiptAnswer {
    /// Receipts of the delivery are expected.
    Expected,
    /// The receipt is for deliveries here.
    Marked {
        /// How many.
        matched: u32,
        /// How many of them had no such mark before.
        fresh: u32,
    },
    /// Nobody here expects it; it is kept for a while.
    Parked,
    /// Nobody here expects it, and it is not kept.
    NotHere,
    /// It is noted.
    Noted,
}

/// A delivery of which receipts are expected.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Expected {
    to: Arc<str>,
    /// The marks it has, one bit each.
    marks: u8,
    /// What callbacks need to know.
    subject: Option<Box<Subject>>,
    /// What the suppression list needs to know, if it is to be fed.
    #[serde(default)]
    barrable: Option<Box<Barrable>>,
}

/// Which parked receipt: whose, of what kind, for whom.
type ParkedKey = (u64, u8, String);

/// The receipts of a partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Receipts {
    expected: Expiring<(u64, DeliveryId), Expected>,
    parked: Expiring<ParkedKey, Mark>,
}

/// Under which number receipts of that account and supplier's id are found.
fn place(account: &str, provider_id: &str) -> u64 {
    stable_hash(&[account.as_bytes(), &[0], provider_id.as_bytes()].concat())
}

impl Receipts {
    /// How many deliveries receipts are expected of.
    pub(super) fn len(&self) -> usize {
        self.expected.len()
    }

    /// How many receipts are parked.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Forgets at most `most` of each kind that ran out.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.expected.prune(now, most);
        self.parked.prune(now, most);
    }

    /// When the next thing runs out.
    pub(super) fn next(&self) -> Option<Time> {
        [self.expected.next(), self.parked.next()].into_iter().flatten().min()
    }

    /// The deliveries that a receipt is for.
    fn find(&self, place: u64, to: Option<&str>, now: Time) -> Vec<DeliveryId> {
        let all = (place, DeliveryId::LEAST)..=(place, DeliveryId::GREATEST);
        let ids: Vec<DeliveryId> = self.expected.range(all, now).map(|((_, id), _)| *id).collect();
        match to {
            // The others under the id may live in other partitions, so also a lone one must be the one that is meant.
            Some(to) => {
                let fits = |id: &DeliveryId| {
                    self.expected.get(&(place, *id), now).is_some_and(|one| is_same_address(&one.to, to))
                };
                ids.into_iter().filter(fits).collect()
            }
            None => ids,
        }
    }
}

/// Whether two texts name one recipient: the same text, or telephone numbers that end alike.
fn is_same_address(one: &str, other: &str) -> bool {
    let digits = |text: &str| -> Option<String> {
        let numeric = text.chars().all(|c| c.is_ascii_digit() || "+- ()".contains(c));
        numeric.then(|| text.chars().filter(char::is_ascii_digit).collect())
    };
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let (Some(one), Some(other)) = (digits(one), digits(other)) else { return false };
    let long_enough = one.len().min(other.len()) >= SAME_DIGITS;
    long_enough && (one.ends_with(&other) || other.ends_with(&one))
}

const fn bit(mark: ReceiptMark) -> u8 {
    1 << mark as u8
}

impl Partition {
    /// Whether receipts of that account and supplier's id, for that recipient if one is named, are expected here.
    pub fn expects_receipt(&self, account: &str, provider_id: &str, to: Option<&str>) -> bool {
        !self.outside.receipts.find(place(account, provider_id), to, self.now).is_empty()
    }

    /// Whether that mark is set already at a delivery of which receipts are expected here.
    pub fn is_marked(&self, delivery: &DeliveryId, account: &str, provider_id: &str, mark: ReceiptMark) -> bool {
        let key = (place(account, provider_id), *delivery);
        self.outside.receipts.expected.get(&key, self.now).is_some_and(|expected| expected.marks & bit(mark) != 0)
    }

    pub(super) fn receipt(&mut self, command: ReceiptCommand, out: &mut Output<Hint, Record>) -> Answer {
        Answer::Receipt(match command {
            ReceiptCommand::Expect(expect) => self.expect(*expect, out),
            ReceiptCommand::Mark(mark) => self.mark(*mark, out),
            ReceiptCommand::Asked { delivery, tries, more } => {
                self.outside.asking.asked(&delivery, tries, more, self.now);
                ReceiptAnswer::Noted
            }
            ReceiptCommand::HandedOn { address, channel } => {
                self.handed_on(address, channel);
                ReceiptAnswer::Noted
            }
        })
    }

    fn expect(&mut self, expect: Expect, out: &mut Output<Hint, Record>) -> ReceiptAnswer {
        let Expect { delivery: id, account, provider_id, to, until, ask_until } = expect;
        let place = place(&account, &provider_id);
        if self.outside.receipts.expected.get(&(place, id), self.now).is_none() {
            if let Some(until) = ask_until {
                let (provider_id, to) = (provider_id.clone(), to.clone());
                let ask = Ask { account: account.clone(), provider_id, to, tries: 0, due: self.now, until };
                self.outside.asking.begin(id, self.now, ask);
            }
            let known = self.delivery(&id);
            let barrable = known.as_ref().and_then(|(delivery, sheet)| Barrable::of(delivery, sheet, &account));
            let subject = known.and_then(|(delivery, sheet)| Subject::of(&delivery, &sheet, &HAPPENINGS));
            let subject = subject.map(|subject| Box::new(Subject { provider_id: Some(provider_id), ..subject }));
            let expected = Expected { to: to.into(), marks: 0, subject, barrable: barrable.map(Box::new) };
            self.outside.receipts.expected.insert((place, id), expected, until);
            if self.outside.receipts.expected.len() > EXPECTED_KEPT {
                self.outside.receipts.expected.drop_first();
            }
        }
        let waiting = (place, 0, String::new())..=(place, u8::MAX, char::MAX.to_string());
        let waiting: Vec<ParkedKey> =
            self.outside.receipts.parked.range(waiting, self.now).map(|(key, _)| key.clone()).collect();
        for key in waiting {
            if let Some(mark) = self.outside.receipts.parked.remove(&key) {
                // Those for another recipient under the same id are parked again.
                self.mark(mark, out);
            }
        }
        ReceiptAnswer::Expected
    }

    fn mark(&mut self, mark: Mark, out: &mut Output<Hint, Record>) -> ReceiptAnswer {
        let place = place(&mark.account, &mark.provider_id);
        let found = self.outside.receipts.find(place, mark.to.as_deref(), self.now);
        if found.is_empty() {
            return self.park(place, mark);
        }
        let matched = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let mut fresh = 0;
        for id in found {
            let Some(expected) = self.outside.receipts.expected.get_mut(&(place, id)) else { continue };
            if expected.marks & bit(mark.mark) != 0 {
                continue;
            }
            expected.marks |= bit(mark.mark);
            fresh += 1;
            let subject = expected.subject.clone();
            let barrable = expected.barrable.clone().filter(|_| mark.gone && mark.mark == ReceiptMark::Bounced);
            self.outside.asking.told(&id, mark.mark);
            let (reason, charge) = (mark.reason.clone(), mark.charge.clone());
            self.note_later(id, What::Marked { mark: mark.mark, reason, told_at: mark.at, charge }, out);
            let code = mark.reason.as_ref().map_or("bounced", |reason| reason.code.as_str());
            if let Some(what) = barrable.and_then(|barrable| self.bar(*barrable, id, code)) {
                self.note_later(id, what, out);
            }
            if let Some(subject) = subject {
                self.call_back(id, *subject, Happening::of_mark(mark.mark), mark.reason.clone(), out);
            }
        }
        ReceiptAnswer::Marked { matched, fresh }
    }

    /// Writes down what a receipt brought: at the delivery while it is pending, in the archive once it has ended.
    fn note_later(&mut self, id: DeliveryId, what: What, out: &mut Output<Hint, Record>) {
        match self.pending.get_mut(&id) {
            Some(waiting) => Arc::make_mut(&mut waiting.delivery).note(self.now, what),
            None => out.records.push(Record::Amend { delivery: id, event: Event { at: self.now, what } }),
        }
    }

    fn park(&mut self, place: u64, mark: Mark) -> ReceiptAnswer {
        let Some(until) = mark.park_until.filter(|until| *until > self.now) else { return ReceiptAnswer::NotHere };
        let key = (place, bit(mark.mark), mark.to.clone().unwrap_or_default());
        self.outside.receipts.parked.insert(key, mark, until);
        if self.outside.receipts.parked.len() > PARKED_KEPT {
            self.outside.receipts.parked.drop_first();
        }
        ReceiptAnswer::Parked
    }
}
