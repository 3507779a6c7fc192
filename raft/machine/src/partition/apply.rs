//! Which command is answered where, who owns the partition, and what every command forgets on the side.

use tidings_contract::{Time, planted};

use super::{Answer, Command, Hint, Limits, Owner, Partition, Record, Refusal, State};
use crate::Output;

/// What of each kind a command forgets on the side. Nothing piles up: a command adds at most one of a kind, but for a
/// part's dedup slots, and each of those is followed by the commands that end its delivery.
const FORGET_PER_COMMAND: usize = 4;
/// What of each kind a tick forgets: little enough not to be felt.
const FORGET_PER_TICK: usize = 1_000;

impl Partition {
    pub(super) fn dispatch(&mut self, command: Command, out: &mut Output<Hint, Record>) -> Answer {
        self.forget(FORGET_PER_COMMAND);
        let result = match command {
            Command::TakeOver { owner, epoch, limits } => self.take_over(owner, epoch, limits),
            Command::Claim(claim) => self.claim(*claim, out),
            Command::Accept(accept) => self.accept(*accept, out),
            Command::Begin { delivery, attempt, epoch, account, via } => {
                self.begin(delivery, attempt, epoch, account, via)
            }
            Command::Outcome { delivery, attempt, epoch, account, began, outcome, masked, via, charge } => {
                self.outcome((delivery, attempt, epoch), (account, via, masked), (began, charge), outcome, out)
            }
            Command::FallBack { delivery, epoch, why } => self.fall_back(delivery, epoch, why, out),
            Command::RequestCancel { delivery, by } => self.request_cancel(delivery, by, out),
            Command::Close { delivery, epoch, closing } => self.close(delivery, epoch, closing, out),
            Command::Redrive(redrive) => self.redrive(*redrive, out),
            Command::Lease(lease) => Ok(self.limiter.lease(lease, self.now)),
            Command::KeepChunk(chunk) => {
                out.records.push(Record::Chunk(chunk));
                Ok(Answer::Done(State::Pending))
            }
            Command::DropMaterial { material } => {
                out.records.push(Record::Dropped(material));
                Ok(Answer::Done(State::Pending))
            }
            Command::Suppress(wish) => self.suppress(*wish),
            Command::Unsuppress { channel, address } => self.unsuppress(channel, address),
            Command::Defer { delivery, epoch } => self.defer(delivery, epoch, out),
            Command::Leave { delivery, epoch } => self.leave(delivery, epoch, out),
            Command::Borrow(borrow) => Ok(self.limiter.borrow(borrow, self.now)),
            Command::Settle(used) => Ok(self.limiter.settle(used, self.now)),
            Command::GiveBack(unused) => {
                self.limiter.give_back(&unused, self.now);
                Ok(Answer::Done(State::Pending))
            }
            Command::Token(command) => self.outside.tokens.apply(command, self.now),
            Command::Receipt(command) => Ok(self.receipt(command, out)),
            Command::Recall(command) => self.recall(command, out),
            Command::Wait { delivery, attempt, epoch, waited } => self.wait(delivery, attempt, epoch, waited),
            Command::Leg(command) => self.leg(command, out),
            Command::Withdraw { delivery, attempt, epoch } => self.withdraw(delivery, attempt, epoch),
            Command::Died { delivery, epoch, how } => self.died(delivery, epoch, &how, out),
            Command::RepairTime(repair) => self.repair_time(repair),
            Command::Tick => {
                self.forget(FORGET_PER_TICK);
                Ok(Answer::Done(State::Pending))
            }
        };
        result.unwrap_or_else(Answer::Refused)
    }

    /// An epoch is a Raft term, which has one leader; so an older one, or the same one with another owner, is refused.
    fn take_over(&mut self, owner: Owner, epoch: u64, limits: Limits) -> Result<Answer, Refusal> {
        let same = self.owner == Some(owner);
        if self.owner.is_some() && (epoch < self.epoch || epoch == self.epoch && !same) {
            return Err(Refusal::NotOwner);
        }
        if !same {
            self.since = epoch;
            // With nothing pending there is nothing that an owner before can have attempted.
            self.taken_at = if self.pending.is_empty() { Time(0) } else { self.now };
        }
        self.owner = Some(owner);
        self.epoch = epoch;
        self.limits = limits;
        Ok(Answer::Owned)
    }

    /// Whether a command of that epoch comes from the present owner's uninterrupted tenure.
    pub(super) fn fence(&self, epoch: u64) -> Result<Owner, Refusal> {
        let current = (self.since..=self.epoch).contains(&epoch) || planted("stale_attempt");
        self.owner.filter(|_| current).ok_or(Refusal::NotOwner)
    }

    fn forget(&mut self, most: usize) {
        self.parts.prune(self.now, most);
        self.keys.prune(self.now, most);
        self.dedup.prune(self.now, most);
        self.limiter.prune(self.now, most);
        self.slots.prune(self.now, most);
        self.suppressions.prune(self.now, most);
        self.breakers.prune(self.now, most);
        self.endpoints.prune(self.now, most);
        self.outside.prune(self.now, most);
        self.tally.prune(self.now);
    }
}
