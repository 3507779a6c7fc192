//! The sender of a pool: calls providers, a bounded number at a time, in the order of the lanes.
//!
//! It is made when its pool is needed first. Its calls die with it; what they were about is recorded as unknown.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{Outcome, planted};
use tidings_machine::control::Standing;
use tidings_machine::partition::{EndpointKey, Wellness};
use tokio::task::JoinSet;

use crate::call::call;
use crate::gate::LOOKED_UP_FOR;
use crate::lanes::Lanes;
use crate::limited::{Held, Used};
use crate::media::lacking;
use crate::meters;
use crate::opened::{Means, OpenAccounts, Ready};
use crate::outbox::Entry;
use crate::parked::Parked;
use crate::pause::Calling;
use crate::pool::PoolId;
use crate::rate_limiter::RateLimiterMsg;
use crate::recorder::{came_back, not_made};
use crate::slot::{SLOW, Slots};
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::tokens::TokensMsg;
use crate::unwell::Turns;
use crate::work::{Letter, Work};

/// How long letters of a host that is not known to be prompt stay here while none of them goes on.
const PATIENCE: Duration = Duration::from_millis(300);

/// How far apart letters come back that were sent away, in milliseconds: each is filled in anew.
const APART_MS: u64 = 4;

/// What a sender is told.
#[derive(Debug)]
pub(crate) enum SenderMsg {
    /// Letters of its pool.
    Letters(Vec<Letter>),
    /// Calls have ended.
    Ended,
    /// The size of pools has changed, or a partition pauses.
    Look,
    /// Letters have stepped aside for a while: their hosts may be slow by now.
    Slow,
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
    pool: PoolId,
    /// Letters that wait for a free call, by lane and flow. Bounded by their tickets.
    waiting: Lanes<Letter>,
    /// Letters whose hosts hold all the places they may.
    parked: Parked,
    /// Those of slow hosts that went home.
    turns: Turns,
    /// Whether it is looked at soon which hosts are slow.
    looks: bool,
    /// Letters whose attempt stands in the log and that have their place already.
    begun: VecDeque<Letter>,
    accounts: OpenAccounts,
    slots: Slots,
    /// The calls under way; aborted when the actor dies.
    calls: JoinSet<()>,
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
            pool,
            waiting: Lanes::default(),
            parked: Parked::default(),
            turns: Turns::default(),
            looks: false,
            begun: VecDeque::new(),
            accounts: OpenAccounts::default(),
            slots: Slots::default(),
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
            SenderMsg::Look => {}
            SenderMsg::Slow => state.looks = false,
            SenderMsg::Ended => {
                state.slots.heard();
                while state.calls.try_join_next().is_some() {}
            }
        }
        state.work(&myself);
        Ok(())
    }
}

impl Sending {
    fn receive(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            match &letter {
                Letter { begun: true, slot: Some(_), .. } => self.begun.push_back(letter),
                Letter { begun: true, .. } => self.waiting.push_first(letter),
                _ => {
                    let place = letter.work.ticket.place();
                    self.waiting.push(place.lane, place.flow, letter);
                }
            }
        }
    }

    /// Starts as many calls as there may be. A letter whose attempt must stand in the log first takes its place, goes there
    /// and comes back: it is not claimed before it can be made.
    fn work(&mut self, myself: &ActorRef<SenderMsg>) {
        if self.board.is_stopping() {
            self.waiting.retain(|letter| letter.begun);
            self.parked.retain(|letter| letter.begun);
        }
        self.let_go();
        let (mut lapsed, mut tokenless) = (Vec::new(), Vec::new());
        let (size, _) = self.board.bounds(self.pool);
        while let Some(letter) = self.next(size) {
            let now = self.board.now();
            let calling = letter.calling.unwrap_or_else(|| Calling::begin(Arc::clone(letter.work.ticket.desk())));
            let letter = Letter { calling: Some(calling), ..letter };
            if letter.is_held() || (self.board.is_stopping() && !letter.begun) {
                // Its ticket goes back; whoever may, takes it up again.
                drop(letter);
            } else if self.not_ours(&letter) {
                not_made(&self.board, letter);
            } else if letter.is_stale(now) || self.has_tripped(&letter, now) || is_barred(&self.board, &letter, now) {
                letter.work.ticket.look_again();
            } else if !letter.may_go(now) {
                let calling = letter.calling.filter(|_| letter.begun);
                lapsed.push(Letter { slot: None, calling, ..letter });
            } else {
                // A token, or the id of a file, is had before the attempt is claimed.
                match self.accounts.means(&self.board, &letter, now) {
                    Ok(None) => {
                        let calling = letter.calling.filter(|_| letter.begun);
                        tokenless.push(Letter { slot: None, calling, ..letter });
                    }
                    Ok(Some(means)) => self.begin(letter, means, myself),
                    Err(reason) => {
                        // An operator may mend the account before the last attempt.
                        came_back(&self.board, letter, now, Outcome::Later { reason, after_ms: None });
                    }
                }
            }
        }
        if !lapsed.is_empty() {
            self.board.rate_limiter.send(RateLimiterMsg::Letters(lapsed));
        }
        if !tokenless.is_empty() {
            self.board.tokens_actor.send(TokensMsg::Letters(tokenless));
        }
        self.send_home(size, myself);
        let in_use = self.slots.in_use();
        self.gauge.set(self.waiting.len() + self.parked.len(), in_use);
        meters::in_flight(&self.name, in_use);
    }

    /// Whether the delivery may be another node's by now: it waited here, for a permit or a place, longer than this node was
    /// its owner. Whoever owns it attempts it; a result of ours would be refused. The gate asks once more; this look keeps
    /// attempts from being claimed in vain.
    fn not_ours(&self, letter: &Letter) -> bool {
        let ticket = &letter.work.ticket;
        let lease = self.board.parts.ledger.lease(ticket.desk().partition, ticket.epoch());
        !lease.is_some_and(|lease| lease.holds()) || ticket.is_outlived()
    }

    /// Whether the breaker of its account opened since the letter was written: another account may be chosen. An attempt
    /// that stands in the log already is made nevertheless.
    fn has_tripped(&self, letter: &Letter, now: tidings_contract::Time) -> bool {
        let breakers = self.board.healths.breakers();
        let Some(breaker) = breakers.accounts.get(letter.account_name.as_ref()) else { return false };
        let chosen_in = letter.via.as_ref().map_or(0, |via| via.breaker);
        let guarded = letter.work.sheet.leg(letter.work.delivery.leg()).way.is_some();
        guarded && !letter.begun && breaker.epoch > chosen_in && matches!(breaker.standing(now), Standing::Open(_))
    }

    /// The next letter that has a place, or can have one.
    fn next(&mut self, size: usize) -> Option<Letter> {
        if let Some(letter) = self.begun.pop_front() {
            return Some(letter);
        }
        while self.slots.in_use() < size {
            let slots = &self.slots;
            if let Some(letter) = self.parked.pop(|host| slots.allow(host, size)) {
                return Some(letter);
            }
            let letter = self.waiting.pop()?;
            match host_of(&letter).filter(|host| self.parked.holds(host) || !self.slots.allow(host, size)) {
                Some(host) => self.parked.push(host, letter),
                None => return Some(letter),
            }
        }
        None
    }

    /// Sends back what waits for slow hosts beyond what they may hold: it is not to take the room of others' letters.
    fn send_home(&mut self, size: usize, myself: &ActorRef<SenderMsg>) {
        if self.parked.len() == 0 {
            return;
        }
        let (slots, now) = (&self.slots, self.board.now());
        let kept = ((size / 8).max(1), (self.board.bounds(self.pool).1 / 4).max(1));
        let home = self.parked.send_home(kept, |host, since| {
            slots.is_slow(host) || (!slots.is_prompt(host) && since.elapsed() >= PATIENCE)
        });
        let mut unused = Vec::new();
        for (_, mut letter) in home {
            for held in &mut letter.limits {
                let subject = Arc::clone(&held.subject);
                unused.extend(held.let_go().map(|permit| Held { permit: Some(permit), ..Held::of(subject) }));
            }
            // One row for all of them: whoever looks again costs something, however many hosts there are.
            let back = self.turns.next(EndpointKey::default(), now.after(SLOW), APART_MS);
            let back = letter.work.within_life(back);
            letter.work.ticket.not_before(back);
        }
        if !unused.is_empty() {
            self.board.rate_limiter.send(RateLimiterMsg::Unused(unused));
        }
        if self.parked.len() > 0 && !std::mem::replace(&mut self.looks, true) {
            myself.send_after(PATIENCE, || SenderMsg::Slow);
        }
    }

    /// Has the attempt claimed, or makes it where that is not wanted or done already.
    fn begin(&mut self, letter: Letter, means: Means, myself: &ActorRef<SenderMsg>) {
        let host = host_of(&letter);
        let slot = letter.slot.or_else(|| Some(self.slots.take(host, myself)));
        let letter = Letter { slot, ..letter };
        if letter.wants_begin() && !planted("begin_skipped") {
            let desk = Arc::clone(letter.work.ticket.desk());
            self.board.record(&desk, [Entry::Begin(Box::new(letter))]);
        } else {
            self.send(letter, means);
        }
    }

    fn send(&mut self, letter: Letter, means: Means) {
        let mut letters = self.gather(letter, &means.ready);
        let unused = unused(&mut letters);
        if !unused.is_empty() {
            self.board.rate_limiter.send(RateLimiterMsg::Unused(unused));
        }
        let slots: Vec<_> = letters.iter_mut().map(|letter| letter.slot.take()).collect();
        let slot = slots.into_iter().next();
        let (board, used) = (Arc::clone(&self.board), used(&letters));
        self.calls.spawn(async move {
            call(Arc::clone(&board), means, letters).await;
            if !used.is_empty() {
                // By now the call has arrived, or never will.
                board.rate_limiter.send(RateLimiterMsg::Used(used));
            }
            drop(slot);
        });
    }

    /// Gives back what waits of partitions that pause.
    fn let_go(&mut self) {
        if self.board.desks().iter().any(|desk| desk.is_paused()) {
            self.waiting.retain(|letter| !letter.is_held());
            self.parked.retain(|letter| !letter.is_held());
        }
    }

    /// Adds the letters behind `first` that the same call can carry.
    fn gather(&mut self, first: Letter, account: &Ready) -> Vec<Letter> {
        let (now, most) = (self.board.now(), account.opened.info.max_recipients);
        let (begun, place) = (first.begun, first.work.ticket.place());
        let mut letters = vec![first];
        while letters.len() < most {
            let first = &letters[0];
            let joins = |next: &mut Letter| {
                next.may_go(now)
                    && fits(first, next, now)
                    && lacking(&self.board, account, next, now).is_none()
                    && !is_barred(&self.board, next, now)
            };
            let next = match begun {
                true => self.begun.pop_front_if(joins),
                false => self.waiting.pop_of(place.lane, place.flow, joins),
            };
            let Some(next) = next else { break };
            let calling = Calling::begin(Arc::clone(next.work.ticket.desk()));
            // A pause that began in between finds it counted, or it finds the pause.
            if !next.is_held() {
                letters.push(Letter { calling: Some(calling), ..next });
            }
        }
        letters
    }
}

/// The host that a letter's recipient names, if it is a URL.
fn host_of(letter: &Letter) -> Option<EndpointKey> {
    letter.work.endpoint.map(|endpoint| endpoint.host)
}

/// Whether its address came on the suppression list, or its recipient's server fell ill, while the letter waited, for a permit, a
/// token or a place. An attempt that stands in the log already is made nevertheless.
fn is_barred(board: &Switchboard, letter: &Letter, now: tidings_contract::Time) -> bool {
    let Work { ticket, delivery, sheet, looked, endpoint, probes, .. } = &letter.work;
    if letter.begun || now.since(*looked) < LOOKED_UP_FOR {
        return false;
    }
    let mut barred = false;
    board.parts.ledger.with_partition(ticket.desk().partition, &mut |partition| {
        let wellness = endpoint.map_or(Wellness::Well, |endpoint| partition.wellness(&endpoint, now));
        let unwell = match wellness {
            Wellness::Well => false,
            Wellness::HalfOpen(_) => !probes,
            Wellness::Open(..) => true,
        };
        barred = unwell || partition.closed_by_list(delivery, sheet, now).is_some();
    });
    barred
}

/// Uses the permits of a call that are by request, and takes out those it does not need because one is enough.
fn unused(letters: &mut [Letter]) -> Vec<Held> {
    let mut unused = Vec::new();
    let mut paid = HashSet::new();
    for letter in letters {
        for held in letter.limits.iter_mut().filter(|held| held.is_by_request()) {
            if paid.insert(Arc::clone(&held.subject.name)) {
                held.uses();
            } else if let Some(permit) = held.let_go() {
                unused.push(Held { permit: Some(permit), ..Held::of(Arc::clone(&held.subject)) });
            }
        }
    }
    unused
}

/// The permits that a call uses up whose homes should hear of it, after those it does not need were taken out.
fn used(letters: &[Letter]) -> Vec<Used> {
    let mut used: Vec<Used> = Vec::new();
    for held in letters.iter().flat_map(|letter| &letter.limits) {
        let Some(permit) = held.permit.filter(|permit| permit.settles) else { continue };
        match used.iter_mut().find(|one| one.permit == permit && one.name == held.subject.name) {
            Some(one) => one.count += 1,
            None => used.push(Used { name: Arc::clone(&held.subject.name), permit, count: 1 }),
        }
    }
    used
}

/// Whether one call can carry both.
fn fits(one: &Letter, other: &Letter, now: tidings_contract::Time) -> bool {
    let version = |letter: &Letter| letter.work.sheet.version;
    one.account_name == other.account_name
        && one.account.revision == other.account.revision
        && version(one) == version(other)
        && one.work.sheet.template == other.work.sheet.template
        && one.work.delivery.leg() == other.work.delivery.leg()
        && one.timeout == other.timeout
        && other.via.as_ref().is_none_or(|via| !via.probe)
        && !other.is_stale(now)
        && !other.is_held()
        && !other.wants_begin()
}
