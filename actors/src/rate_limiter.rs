//! The rate limiter: leases permits of accounts from their homes and hands them out in order. Whatever is not used before
//! a lease lapses is not used at all, so the limit is the cluster's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{Time, partition_of};
use tidings_machine::partition::{Answer, Command, Lease};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::LedgerError;
use crate::room::Room;
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// The shortest and the longest wait before an account is looked at again.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long to wait before asking a home again that could not be reached, in milliseconds.
const ASK_AGAIN_MS: u64 = 200;

/// What the rate limiter is told.
#[derive(Debug)]
pub(crate) enum RateLimiterMsg {
    /// Letters whose accounts have limits.
    Letters(Vec<Letter>),
    /// A home answered.
    Leased { account: Arc<str>, answer: Result<Vec<Answer>, LedgerError> },
    /// It is worth looking at the account again.
    Look(Arc<str>),
}

/// The actor.
#[derive(Debug)]
pub(crate) struct RateLimiter;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Limiting {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    rooms: HashMap<Arc<str>, Room>,
    /// Questions to homes and waits; aborted when the actor dies.
    asking: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for RateLimiter {
    type Msg = RateLimiterMsg;
    type State = Limiting;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<RateLimiterMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Limiting, ActorProcessingErr> {
        board.rate_limiter.move_in(myself);
        Ok(Limiting { board, gauge, rooms: HashMap::new(), asking: JoinSet::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<RateLimiterMsg>,
        message: RateLimiterMsg,
        state: &mut Limiting,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        match message {
            RateLimiterMsg::Letters(letters) => state.receive(letters, &myself),
            RateLimiterMsg::Leased { account, answer } => {
                state.leased(&account, answer);
                state.serve(&account, &myself);
            }
            RateLimiterMsg::Look(account) => {
                if let Some(room) = state.rooms.get_mut(&account) {
                    room.looked = false;
                }
                state.serve(&account, &myself);
            }
        }
        let waiting = state.rooms.values().map(Room::len).sum();
        state.gauge.set(waiting, state.asking.len());
        Ok(())
    }
}

impl Limiting {
    fn receive(&mut self, letters: Vec<Letter>, myself: &ActorRef<RateLimiterMsg>) {
        let now = self.board.now();
        let most = self.board.parts.settings.waiting_for_permits;
        let mut accounts: Vec<Arc<str>> = Vec::new();
        for letter in letters {
            let Some(limit) = letter.account.limit else { continue };
            if self.board.is_stopping() && !letter.begun {
                continue;
            }
            let name = Arc::clone(&letter.account_name);
            let room = self.rooms.entry(Arc::clone(&name)).or_insert_with(|| Room::new(limit));
            room.limit = limit;
            room.come_in(letter, most, now);
            if !accounts.contains(&name) {
                accounts.push(name);
            }
        }
        for account in accounts {
            self.serve(&account, myself);
        }
    }

    fn leased(&mut self, account: &Arc<str>, answer: Result<Vec<Answer>, LedgerError>) {
        let now = self.board.now();
        let Some(room) = self.rooms.get_mut(account) else { return };
        room.asked = false;
        match answer.as_deref() {
            Ok([Answer::Leased { permits, until, again }]) => {
                room.permits = *permits;
                room.until = *until;
                room.again = *again;
                if *permits == 0 && again.is_none() {
                    room.again = Some(now.after_ms(ASK_AGAIN_MS));
                }
            }
            other => {
                tracing::debug!(account = account.as_ref(), answer = ?other, "no permits could be leased");
                room.again = Some(now.after_ms(ASK_AGAIN_MS));
            }
        }
    }

    /// Gives out what there is, and asks for more if somebody still waits.
    fn serve(&mut self, account: &Arc<str>, myself: &ActorRef<RateLimiterMsg>) {
        let now = self.board.now();
        let Some(room) = self.rooms.get_mut(account) else { return };
        let ready = room.let_out(now);
        if room.is_empty() {
            if room.permits == 0 && !room.asked {
                self.rooms.remove(account);
            }
        } else if !room.asked {
            match room.again.filter(|again| *again > now) {
                None => self.ask(account, myself),
                Some(again) => {
                    room.send_home(again, now);
                    self.look_at(account, again, now, myself);
                }
            }
        }
        self.board.to_senders(ready);
    }

    fn ask(&mut self, account: &Arc<str>, myself: &ActorRef<RateLimiterMsg>) {
        let mut partitions = 1;
        self.board.parts.ledger.with_control(&mut |control| {
            partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
        });
        let Some(room) = self.rooms.get_mut(account) else { return };
        room.asked = true;
        let want = u32::try_from(room.len()).unwrap_or(u32::MAX).min(room.limit.permits.max(1));
        let node = self.board.parts.ledger.node();
        let lease = Command::Lease(Lease { account: account.as_ref().to_owned(), limit: room.limit, want, node });
        let (board, account, myself) = (Arc::clone(&self.board), Arc::clone(account), myself.clone());
        self.asking.spawn(async move {
            let answer = board.parts.ledger.propose(partition_of(&account, partitions), vec![lease]).await;
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(RateLimiterMsg::Leased { account, answer });
        });
    }

    fn look_at(&mut self, account: &Arc<str>, again: Time, now: Time, myself: &ActorRef<RateLimiterMsg>) {
        let Some(room) = self.rooms.get_mut(account).filter(|room| !room.looked && !room.is_empty()) else { return };
        room.looked = true;
        let (account, myself) = (Arc::clone(account), myself.clone());
        let wait = again.since(now).clamp(LOOK.0, LOOK.1);
        self.asking.spawn(async move {
            sleep(wait).await;
            // As above.
            let _ = myself.send_message(RateLimiterMsg::Look(account));
        });
    }
}
