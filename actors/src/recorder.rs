//! The recorder of a partition: puts what became of deliveries into the log, in batches, one proposal at a time.
//!
//! What it works on is the partition's outbox, which outlives it: a recorder that dies loses nothing.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::Charged;
use tidings_machine::partition::{Answer, Refusal, State};
use tokio::time::{Instant, sleep};

use crate::LedgerError;
use crate::desk::Desk;
use crate::meters;
use crate::outbox::Entry;
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// How long to wait before asking again after a closing was found groundless: the clocks of two nodes differ a little.
const CLOCKS_DIFFER_MS: u64 = 1_000;
/// The shortest and the longest wait between two offers of the same batch.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a recorder is told.
#[derive(Debug)]
pub(crate) enum RecorderMsg {
    /// There may be something in the outbox.
    Wake,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Recorder;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Recording {
    board: Arc<Switchboard>,
    desk: Arc<Desk>,
    gauge: Arc<Gauge>,
    session: u64,
}

#[async_trait::async_trait]
impl Actor for Recorder {
    type Msg = RecorderMsg;
    type State = Recording;
    type Arguments = (Arc<Switchboard>, Arc<Desk>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<RecorderMsg>,
        (board, desk, gauge): Self::Arguments,
    ) -> Result<Recording, ActorProcessingErr> {
        let session = desk.outbox.open();
        desk.recorder.move_in(myself);
        desk.recorder.ring(RecorderMsg::Wake);
        Ok(Recording { board, desk, gauge, session })
    }

    async fn handle(
        &self,
        _myself: ActorRef<RecorderMsg>,
        RecorderMsg::Wake: RecorderMsg,
        state: &mut Recording,
    ) -> Result<(), ActorProcessingErr> {
        state.desk.recorder.heard();
        while state.record_one_batch().await {}
        state.gauge.set(0, 0);
        Ok(())
    }
}

impl Recording {
    /// Records what waits, up to a batch. Gives whether there may be more.
    async fn record_one_batch(&mut self) -> bool {
        let mut failing_since = None;
        let mut wait = WAITS.0;
        loop {
            let commands = self.desk.outbox.take(self.session, self.board.parts.settings.batch);
            let count = commands.len();
            if count == 0 {
                return false;
            }
            self.gauge.set(self.desk.outbox.len().saturating_sub(count), count);
            let error = match self.board.parts.ledger.propose(self.desk.partition, commands).await {
                Ok(answers) if answers.len() == count => {
                    self.settle(answers);
                    return true;
                }
                Ok(_) => LedgerError::Unknown("the answers do not match the commands".to_owned()),
                Err(error) => error,
            };
            self.desk.outbox.again(self.session);
            let since = *failing_since.get_or_insert_with(Instant::now);
            tracing::debug!(partition = %self.desk.partition, %error, "outcomes could not be recorded yet");
            if error == LedgerError::Closed || self.gives_up(since) {
                if error == LedgerError::Closed {
                    self.board.begin_stopping();
                }
                // The tickets go back; whoever owns the partition looks at the deliveries again.
                self.desk.outbox.give_up(self.session);
                return false;
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAITS.1);
        }
    }

    /// Another node's leader would take outcomes of an epoch nobody has ended, so losing the lead alone is no reason.
    fn gives_up(&self, since: Instant) -> bool {
        let leads = self.board.parts.ledger.leading().borrow().contains_key(&self.desk.partition);
        !leads && since.elapsed() > self.board.parts.settings.give_up_outcomes
    }

    fn settle(&self, answers: Vec<Answer>) {
        let entries = self.desk.outbox.settle(self.session);
        let mut begun = Vec::new();
        for (entry, answer) in entries.into_iter().zip(answers) {
            match entry {
                Entry::Outcome { ticket, .. }
                | Entry::Close { ticket, .. }
                | Entry::FallBack { ticket, .. }
                | Entry::Died { ticket, .. }
                | Entry::Enter { ticket, .. }
                | Entry::Defer { ticket }
                | Entry::Leave { ticket } => match answer {
                    Answer::Done(state) if state.is_final() => {
                        meters::ended(state);
                        ticket.done();
                    }
                    Answer::Refused(Refusal::Groundless) => {
                        ticket.not_before(self.board.now().after_ms(CLOCKS_DIFFER_MS));
                    }
                    // Another attempt is due, or the state has moved on without us: it tells what to do.
                    _ => ticket.look_again(),
                },
                // It rests like everything that was not made: the lease that was over may be over for a while.
                Entry::Withdraw { ticket, .. } => drop(ticket),
                Entry::Aside(_) => {}
                Entry::Wait { ticket, back, .. } => match answer {
                    Answer::Done(State::Pending) => ticket.not_before(back),
                    _ => ticket.look_again(),
                },
                Entry::Begin(letter) => match answer {
                    Answer::Done(State::Pending) => begun.push(*letter),
                    Answer::Refused(Refusal::WrongAttempt) if self.claimed(&letter) => begun.push(*letter),
                    _ => letter.work.ticket.look_again(),
                },
            }
        }
        let begun: Vec<_> = begun.into_iter().map(|letter| Letter { begun: true, ..letter }).collect();
        self.board.to_senders(begun);
    }

    /// Whether the attempt stands in the log. It can only be our own claim, made by a proposal whose answer was lost: the
    /// epoch keeps other processes out, the ticket every other part of this one, and the call was not made yet.
    fn claimed(&self, letter: &Letter) -> bool {
        let mut claimed = false;
        self.board.parts.ledger.with_partition(self.desk.partition, &mut |partition| {
            let delivery = partition.delivery(&letter.work.ticket.delivery());
            claimed = delivery.is_some_and(|(delivery, _)| delivery.begun == Some(letter.attempt()));
        });
        claimed
    }
}

/// Whether no attempt is under way in any partition and all that came back is recorded.
pub(crate) fn all_recorded(board: &Switchboard) -> bool {
    board.desks().iter().all(|desk| desk.is_quiet())
}

/// Has an attempt that came back recorded. It counts as under way until it lies in the outbox.
pub(crate) fn came_back(board: &Switchboard, letter: Letter, began: tidings_contract::Time, came: impl Into<Charged>) {
    let Charged { outcome, charge } = came.into();
    let charge = charge.map(Box::new);
    let attempt = letter.attempt();
    let desk = Arc::clone(letter.work.ticket.desk());
    let Letter { work, account_name: account, calling, via, masked, .. } = letter;
    let ticket = work.ticket;
    board.record(&desk, [Entry::Outcome { ticket, attempt, account, via, began, outcome, masked, charge }]);
    drop(calling);
}

/// A letter whose attempt was certainly not made, because this node may not make it any more, goes back. Nothing is recorded of
/// it; a claim that stands in the log is taken back.
pub(crate) fn not_made(board: &Switchboard, letter: Letter) {
    if !letter.begun {
        return;
    }
    let (attempt, desk) = (letter.attempt(), Arc::clone(letter.work.ticket.desk()));
    let Letter { work, calling, .. } = letter;
    board.record(&desk, [Entry::Withdraw { ticket: work.ticket, attempt }]);
    drop(calling);
}
