//! What became of deliveries and is not yet in the log. It belongs to the process: an outcome survives its recorder.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_contract::{Charge, Outcome, Time};
use tidings_machine::partition::{Closing, Command, LegCommand, LegWord, Masked, Via, Waited};

use crate::flight::Ticket;
use crate::work::Letter;

/// One thing to be recorded. Its ticket keeps the delivery in motion until then, so the outbox is bounded by tickets.
#[derive(Debug)]
pub(crate) enum Entry {
    /// An attempt came back.
    Outcome {
        ticket: Ticket,
        attempt: u16,
        account: Arc<str>,
        via: Option<Box<Via>>,
        began: Time,
        outcome: Outcome,
        masked: Arc<[Masked]>,
        charge: Option<Box<Charge>>,
    },
    /// The delivery is to be closed.
    Close { ticket: Ticket, closing: Closing },
    /// No account of its leg can be used: the delivery goes on by the next one.
    FallBack { ticket: Ticket, why: String },
    /// The process died that filled its content.
    Died { ticket: Ticket, how: String },
    /// An attempt is to be claimed before it is made.
    Begin(Box<Letter>),
    /// Quiet hours have begun before the delivery had its turn.
    Defer { ticket: Ticket },
    /// The time of a delivery has come for which it has slots of caps: they are looked at before its first attempt.
    Leave { ticket: Ticket },
    /// A limit has no room for the attempt: the delivery waits in the state until `back`.
    Wait { ticket: Ticket, attempt: u16, waited: Box<Waited>, back: Time },
    /// The word of the home of a further leg's address.
    Enter { ticket: Ticket, leg: u8, word: LegWord },
    /// An attempt was claimed and certainly not made.
    Withdraw { ticket: Ticket, attempt: u16 },
    /// Something to be kept beside the next entry; nobody waits for the answer.
    Aside(Box<Command>),
}

impl Entry {
    fn command(&self) -> Command {
        match self {
            Self::Outcome { ticket, attempt, account, via, began, outcome, masked, charge } => Command::Outcome {
                delivery: ticket.delivery(),
                attempt: *attempt,
                epoch: ticket.epoch(),
                account: account.as_ref().to_owned(),
                began: *began,
                outcome: outcome.clone(),
                masked: masked.to_vec(),
                via: via.clone(),
                charge: charge.clone(),
            },
            Self::Close { ticket, closing } => {
                Command::Close { delivery: ticket.delivery(), epoch: ticket.epoch(), closing: closing.clone() }
            }
            Self::Defer { ticket } => Command::Defer { delivery: ticket.delivery(), epoch: ticket.epoch() },
            Self::Leave { ticket } => Command::Leave { delivery: ticket.delivery(), epoch: ticket.epoch() },
            Self::Aside(command) => Command::clone(command),
            Self::Begin(letter) => Command::Begin {
                delivery: letter.work.ticket.delivery(),
                attempt: letter.attempt(),
                epoch: letter.work.ticket.epoch(),
                account: letter.account_name.as_ref().to_owned(),
                via: letter.via.clone(),
            },
            Self::Wait { ticket, attempt, waited, .. } => Command::Wait {
                delivery: ticket.delivery(),
                attempt: *attempt,
                epoch: ticket.epoch(),
                waited: Waited::clone(waited),
            },
            Self::Enter { ticket, leg, word } => Command::Leg(LegCommand::Enter {
                delivery: ticket.delivery(),
                epoch: ticket.epoch(),
                leg: *leg,
                word: word.clone(),
            }),
            Self::Withdraw { ticket, attempt } => {
                Command::Withdraw { delivery: ticket.delivery(), attempt: *attempt, epoch: ticket.epoch() }
            }
            Self::Died { ticket, how } => {
                Command::Died { delivery: ticket.delivery(), epoch: ticket.epoch(), how: how.clone() }
            }
            Self::FallBack { ticket, why } => {
                Command::FallBack { delivery: ticket.delivery(), epoch: ticket.epoch(), why: why.clone() }
            }
        }
    }
}

/// What waits to be recorded, in order, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Outbox(Mutex<Boxed>);

#[derive(Debug, Default)]
struct Boxed {
    waiting: VecDeque<Entry>,
    under_way: Vec<Entry>,
    session: u64,
}

impl Boxed {
    fn put_back(&mut self) {
        for entry in std::mem::take(&mut self.under_way).into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }
}

impl Outbox {
    /// Adds entries at the end.
    pub(crate) fn put(&self, entries: impl IntoIterator<Item = Entry>) {
        self.0.lock().waiting.extend(entries);
    }

    /// How many are not recorded yet.
    pub(crate) fn len(&self) -> usize {
        let inner = self.0.lock();
        inner.waiting.len() + inner.under_way.len()
    }

    /// Starts a recorder's session. What the one before it had under way is proposed again: the machine refuses what it
    /// has already. The number of the session makes an older recorder's calls void.
    pub(crate) fn open(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.put_back();
        inner.session += 1;
        inner.session
    }

    /// Takes at most `most` entries under way and gives their commands.
    pub(crate) fn take(&self, session: u64, most: usize) -> Vec<Command> {
        let mut inner = self.0.lock();
        if inner.session != session || !inner.under_way.is_empty() {
            return Vec::new();
        }
        let most = most.min(inner.waiting.len());
        inner.under_way = inner.waiting.drain(..most).collect();
        inner.under_way.iter().map(Entry::command).collect()
    }

    /// The proposal was answered: gives what was under way.
    pub(crate) fn settle(&self, session: u64) -> Vec<Entry> {
        let mut inner = self.0.lock();
        if inner.session == session { std::mem::take(&mut inner.under_way) } else { Vec::new() }
    }

    /// The proposal was not answered: what was under way waits again, at the front.
    pub(crate) fn again(&self, session: u64) {
        let mut inner = self.0.lock();
        if inner.session == session {
            inner.put_back();
        }
    }

    /// Gives up everything.
    pub(crate) fn give_up(&self, session: u64) -> Vec<Entry> {
        let mut inner = self.0.lock();
        if inner.session != session {
            return Vec::new();
        }
        inner.put_back();
        inner.waiting.drain(..).collect()
    }
}
