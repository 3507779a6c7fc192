//! The sender of a pool: calls providers, a bounded number at a time, in the order of the lanes.
//!
//! It is made when its pool is needed first. Its calls die with it; what they were about is recorded as unknown.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::Outcome;
use tokio::task::JoinSet;

use crate::call::call;
use crate::meters;
use crate::opened::OpenAccounts;
use crate::outbox::Entry;
use crate::pool::PoolId;
use crate::rate_limiter::RateLimiterMsg;
use crate::recorder::came_back;
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// What a sender is told.
#[derive(Debug)]
pub(crate) enum SenderMsg {
    /// Letters of its pool.
    Letters(Vec<Letter>),
    /// Calls have ended.
    Ended,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Sender;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Sending {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    name: String,
    /// Letters that wait for a free call, by lane. Bounded by their tickets.
    waiting: [VecDeque<Letter>; 3],
    accounts: OpenAccounts,
    started: usize,
    ends: Arc<Ends>,
    /// The calls under way; aborted when the actor dies.
    calls: JoinSet<()>,
}

/// Counts ended calls; many ends before the actor looks are one message.
#[derive(Debug, Default)]
struct Ends {
    count: AtomicUsize,
    told: AtomicBool,
}

#[async_trait::async_trait]
impl Actor for Sender {
    type Msg = SenderMsg;
    type State = Sending;
    type Arguments = (Arc<Switchboard>, PoolId, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<SenderMsg>,
        (board, pool, gauge): Self::Arguments,
    ) -> Result<Sending, ActorProcessingErr> {
        board.sender_runs(pool, myself);
        let name = board.pools.get(pool).map(|pool| pool.to_string()).unwrap_or_default();
        Ok(Sending {
            board,
            gauge,
            name,
            waiting: Default::default(),
            accounts: OpenAccounts::default(),
            started: 0,
            ends: Arc::default(),
            calls: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SenderMsg>,
        message: SenderMsg,
        state: &mut Sending,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SenderMsg::Letters(letters) => state.receive(letters),
            SenderMsg::Ended => {
                state.ends.told.store(false, Ordering::SeqCst);
                while state.calls.try_join_next().is_some() {}
            }
        }
        state.work(&myself);
        Ok(())
    }
}

impl Sending {
    /// Sorts letters into lanes; those whose attempt must stand in the log first go there and come back.
    fn receive(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            if self.board.is_stopping() && !letter.begun {
                continue;
            }
            if letter.wants_begin() {
                let desk = Arc::clone(letter.work.ticket.desk());
                self.board.record(&desk, [Entry::Begin(Box::new(letter))]);
            } else {
                self.waiting[letter.work.sheet.lane as usize].push_back(letter);
            }
        }
    }

    fn under_way(&self) -> usize {
        self.started - self.ends.count.load(Ordering::SeqCst)
    }

    /// Starts as many calls as there may be.
    fn work(&mut self, myself: &ActorRef<SenderMsg>) {
        if self.board.is_stopping() {
            self.waiting.iter_mut().for_each(|lane| lane.retain(|letter| letter.begun));
        }
        let mut lapsed = Vec::new();
        while self.under_way() < self.board.parts.settings.pool_size {
            let Some(letter) = self.waiting.iter_mut().find_map(VecDeque::pop_front) else { break };
            if !letter.may_go(self.board.now()) {
                lapsed.push(Letter { permit: None, ..letter });
                continue;
            }
            self.send(letter, myself);
        }
        if !lapsed.is_empty() {
            self.board.rate_limiter.send(RateLimiterMsg::Letters(lapsed));
        }
        let under_way = self.under_way();
        self.gauge.set(self.waiting.iter().map(VecDeque::len).sum(), under_way);
        meters::in_flight(&self.name, under_way);
    }

    fn send(&mut self, letter: Letter, myself: &ActorRef<SenderMsg>) {
        let account = match self.accounts.get(&self.board, &letter) {
            Ok(account) => account,
            Err(reason) => {
                // An operator may mend the account before the last attempt.
                let outcome = Outcome::Later { reason, after_ms: None };
                let (desk, entry) = came_back(letter, self.board.now(), outcome);
                self.board.record(&desk, [entry]);
                return;
            }
        };
        let letters = self.gather(letter, account.opened.info.max_recipients);
        let (board, ends, myself) = (Arc::clone(&self.board), Arc::clone(&self.ends), myself.clone());
        self.started += 1;
        self.calls.spawn(async move {
            call(board, account, letters).await;
            ends.count.fetch_add(1, Ordering::SeqCst);
            if !ends.told.swap(true, Ordering::SeqCst) {
                // The actor may be gone already; then nobody needs to know.
                let _ = myself.send_message(SenderMsg::Ended);
            }
        });
    }

    /// Adds the letters behind `first` that the same call can carry.
    fn gather(&mut self, first: Letter, most: usize) -> Vec<Letter> {
        let now = self.board.now();
        let lane = &mut self.waiting[first.work.sheet.lane as usize];
        let mut letters = vec![first];
        while letters.len() < most
            && let Some(next) = lane.pop_front_if(|next| next.may_go(now) && fits(&letters[0], next))
        {
            letters.push(next);
        }
        letters
    }
}

/// Whether one call can carry both.
fn fits(one: &Letter, other: &Letter) -> bool {
    let version = |letter: &Letter| letter.work.sheet.version;
    one.account_name == other.account_name
        && one.account.revision == other.account.revision
        && version(one) == version(other)
        && one.work.sheet.template == other.work.sheet.template
}
