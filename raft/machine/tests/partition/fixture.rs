//! A partition under test, with a clock that only moves when told.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Lane, MessageId, MessageType, Outcome, PartitionId, Time};
use tidings_machine::partition::{
    Accept, Answer, Claim, Closing, Command, Delivery, Ended, Header, Hint, Limits, OnUnknown, Owner, Partition,
    Policy, Recipient, Record, RetryPolicy, Rules, Sheet, State, Verdict, What,
};
use tidings_machine::{Machine, Output};

/// Where the tests' time starts: a whole day, so that days are easy to count.
pub(crate) const START: u64 = 20_000 * 86_400_000;
/// The partition under test.
pub(crate) const HERE: PartitionId = PartitionId(3);
/// The owner that a fresh fixture has, in epoch 5.
pub(crate) const OWNER: Owner = Owner { node: 1, boot: 11 };

/// A partition and what it gave so far.
#[derive(Debug, Default)]
pub(crate) struct Fixture {
    pub(crate) machine: Partition,
    pub(crate) now: Time,
    pub(crate) hints: Vec<Hint>,
    pub(crate) records: Vec<Record>,
}

impl Fixture {
    /// A partition that [`OWNER`] owns since epoch 5.
    pub(crate) fn owned() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let mut fixture = Self { now: Time(START), ..Self::default() };
        let owned = fixture.ask(Command::TakeOver { owner: OWNER, epoch: 5, limits });
        assert_eq!(owned, Answer::Owned);
        fixture
    }

    /// Applies one command now.
    pub(crate) fn ask(&mut self, command: Command) -> Answer {
        let mut out = Output::default();
        let answer = self.machine.apply(self.now, command, &mut out);
        self.hints.extend(out.hints);
        self.records.extend(out.records);
        answer
    }

    /// Moves the clock on.
    pub(crate) fn pass(&mut self, ms: u64) -> &mut Self {
        self.now = self.now.after_ms(ms);
        self
    }

    /// Accepts a part and gives its verdicts.
    pub(crate) fn accept(&mut self, accept: Accept) -> Vec<Verdict> {
        match self.ask(Command::Accept(Box::new(accept))) {
            Answer::Accepted(verdicts) => verdicts,
            other => panic!("the part was not kept: {other:?}"),
        }
    }

    /// Accepts message `n` for one recipient and gives its delivery.
    pub(crate) fn accept_one(&mut self, n: u64, sheet: Sheet) -> DeliveryId {
        let part = part(n, self.now, sheet);
        self.accept(part)[0].delivery
    }

    /// Reports what attempt number `attempt` came back with, in epoch 5.
    pub(crate) fn report(&mut self, delivery: DeliveryId, attempt: u16, outcome: Outcome) -> Answer {
        self.ask(outcome_of(delivery, attempt, 5, self.now, outcome))
    }

    pub(crate) fn close(&mut self, delivery: DeliveryId, closing: Closing) -> Answer {
        self.ask(Command::Close { delivery, epoch: 5, closing })
    }

    pub(crate) fn begin(&mut self, delivery: DeliveryId, attempt: u16) -> Answer {
        self.ask(Command::Begin { delivery, attempt, epoch: 5, account: "main".to_owned(), via: None })
    }

    pub(crate) fn withdraw(&mut self, delivery: DeliveryId, attempt: u16, epoch: u64) -> Answer {
        self.ask(Command::Withdraw { delivery, attempt, epoch })
    }

    pub(crate) fn cancel(&mut self, delivery: DeliveryId) -> Answer {
        self.ask(Command::RequestCancel { delivery, by: "key_1".to_owned() })
    }

    /// A pending delivery.
    pub(crate) fn pending(&self, id: DeliveryId) -> Arc<Delivery> {
        self.machine.delivery(&id).expect("the delivery is pending").0
    }

    /// The record of an ended delivery.
    pub(crate) fn ended(&self, id: DeliveryId) -> &Ended {
        let mut found = self.records.iter().filter_map(|record| match record {
            Record::Ended(ended) if ended.delivery.id == id => Some(&**ended),
            _ => None,
        });
        let ended = found.next().expect("the delivery ended");
        assert!(found.next().is_none(), "{id} ended twice");
        ended
    }

    /// The bytes of the state, as a snapshot would hold them.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes(&self.machine)
    }
}

/// The bytes of a state, as a snapshot would hold them.
pub(crate) fn bytes(machine: &Partition) -> Vec<u8> {
    postcard::to_allocvec(machine).expect("a partition is serializable")
}

/// A command that reports an outcome.
pub(crate) fn outcome_of(delivery: DeliveryId, attempt: u16, epoch: u64, began: Time, outcome: Outcome) -> Command {
    let account = "main".to_owned();
    Command::Outcome { delivery, attempt, epoch, account, began, outcome, masked: Vec::new(), via: None, charge: None }
}

/// A result that says yes.
pub(crate) fn delivered() -> Outcome {
    Outcome::Delivered { provider_id: Some("p-1".to_owned()) }
}

/// Message number `n`.
pub(crate) fn message(n: u64) -> MessageId {
    MessageId::new(Time(START), HERE, n)
}

/// A sheet whose deliveries are tried four times, 1 s apart at first.
pub(crate) fn sheet() -> Sheet {
    Sheet {
        template: "otp".to_owned(),
        version: 2,
        channel: "sms".to_owned(),
        account: Some("main".to_owned()),
        message_type: MessageType::AuthCode,
        lane: Lane::default(),
        variables: "{}".to_owned(),
        biz_id: None,
        send_at: None,
        expires_at: None,
        key_id: "key_1".to_owned(),
        policy: Policy {
            retry: RetryPolicy { max_attempts: 4, first_ms: 1_000, longest_ms: 60_000, give_up_after_ms: 600_000 },
            on_unknown: OnUnknown::Retry,
            dedup_window_ms: None,
        },
        tags: Vec::new(),
        rules: Rules::default(),
        way: None,
        legs: Vec::new(),
        failover_on_unknown: false,
        callback: None,
    }
}

/// A sheet with a dedup window.
pub(crate) fn sheet_with_window(ms: u64) -> Sheet {
    Sheet { policy: Policy { dedup_window_ms: Some(ms), ..sheet().policy }, ..sheet() }
}

/// A sheet of at-most-once deliveries.
pub(crate) fn sheet_at_most_once() -> Sheet {
    Sheet { policy: Policy { on_unknown: OnUnknown::Stop, ..sheet().policy }, ..sheet() }
}

/// A recipient with a fingerprint.
pub(crate) fn recipient(index: u16, fingerprint: u64) -> Recipient {
    Recipient { index, to: format!("+86138001380{index:02}"), fingerprint: Some(fingerprint), ..Recipient::default() }
}

/// The only part of message `n`, for one recipient with fingerprint 77, repeatable for ten minutes.
pub(crate) fn part(n: u64, now: Time, sheet: Sheet) -> Accept {
    Accept {
        message: message(n),
        partition: HERE,
        part: 0,
        accept_by: now.after_ms(10_000),
        repeatable_until: now.after_ms(600_000),
        sheet: Arc::new(sheet),
        recipients: vec![recipient(0, 77)],
        header: None,
    }
}

/// A header of message `n`.
pub(crate) fn header(n: u64) -> Header {
    Header {
        message: message(n),
        template: "otp".to_owned(),
        version: 2,
        biz_id: None,
        accepted_at: Time(START),
        recipients: 1,
        partitions: vec![(HERE, 1)],
    }
}

/// A claim of `key` for message `n`, kept for an hour.
pub(crate) fn claim(key: &str, body_hash: u64, n: u64, now: Time) -> Command {
    let until = now.after_ms(3_600_000);
    Command::Claim(Box::new(Claim { key: key.to_owned(), body_hash, header: header(n), until }))
}

/// The names of the events of a delivery.
pub(crate) fn story(delivery: &Delivery) -> Vec<&'static str> {
    let name = |what: &What| match what {
        What::Accepted => "accepted",
        What::Scheduled { .. } => "scheduled",
        What::Suppressed { .. } => "suppressed",
        What::Begun { .. } => "begun",
        What::Attempted { outcome, .. } => outcome.class(),
        What::Retry { .. } => "retry",
        What::CancelRequested { .. } => "cancel_requested",
        What::RedriveOf { .. } => "redrive_of",
        What::RedrivenAs { .. } => "redriven_as",
        What::Chosen { .. } => "chosen",
        What::Switched { .. } => "switched",
        What::FellBack { .. } => "fell_back",
        What::Ended { .. } => "ended",
        What::Deferred { .. } => "deferred",
        What::Waited { .. } => "waited",
        What::LegBarred(_) => "leg_barred",
        What::OwnerChanged { .. } => "owner_changed",
        What::Withdrawn { .. } => "withdrawn",
        What::RenderingDied { .. } => "rendering_died",
        _ => "other",
    };
    delivery.events.iter().map(|event| name(&event.what)).collect()
}

/// `Done` in that state.
pub(crate) fn done(state: State) -> Answer {
    Answer::Done(state)
}
