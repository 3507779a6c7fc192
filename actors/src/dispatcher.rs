//! The dispatcher of a partition this node leads: makes the node its owner, walks what is pending, listens to hints, and
//! hands out what is due, in the order of the lanes and never more than the pools can hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{DeliveryId, PartitionId, Time, planted};
use tidings_machine::partition::{Answer, Closing, Command, Delivery, Hint, Owner, Sheet, Wellness};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::breakers::BreakersMsg;
use crate::desk::Desk;
use crate::endpoint;
use crate::flight::{Back, Ticket, When};
use crate::lanes::{Flow, LANES};
use crate::meters;
use crate::outbox::Entry;
use crate::pool::PoolId;
use crate::queue::{Place, Queue};
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::template::TemplateMsg;
use crate::unwell::Turns;
use crate::work::Work;

/// How long to wait before asking again to own the partition.
const OWN_AGAIN: Duration = Duration::from_millis(50);
/// How long a new owner waits for the newest of control before it attempts anything. Control that has no leader must not stop
/// deliveries for ever: what was in force when it had one is better than nothing.
const CONTROL_WITHIN: Duration = Duration::from_secs(5);
/// Most hints gathered into one message.
const HINTS: usize = 1_024;

/// What a dispatcher is told.
#[derive(Debug)]
pub(crate) enum DispatcherMsg {
    /// Make this node the owner.
    Own,
    /// Read the next page of what is pending, after that delivery.
    Walk(Option<DeliveryId>),
    /// The state hints at something.
    Hints(Vec<Hint>),
    /// Something came back, or it is time.
    Wake,
    /// A second has passed: figures and checks.
    Second,
}

/// A delivery that was taken up, with what its replica says of it.
#[derive(Debug)]
struct Boarded {
    work: Work,
    /// How the suppression list closes it, if it does.
    listed: Option<Closing>,
    /// How its recipient's server stands.
    wellness: Wellness,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Dispatcher;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Dispatching {
    board: Arc<Switchboard>,
    desk: Arc<Desk>,
    gauge: Arc<Gauge>,
    epoch: u64,
    queue: Queue,
    leading: watch::Receiver<BTreeMap<PartitionId, u64>>,
    owns: bool,
    walking: bool,
    checked: Instant,
    /// Under which policies what waits was put where it waits.
    revision: u64,
    lag: metrics::Histogram,
    /// Those that wait for endpoints that are unwell.
    turns: Turns,
    /// Passes hints on; aborted when the actor dies.
    _listening: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for Dispatcher {
    type Msg = DispatcherMsg;
    type State = Dispatching;
    type Arguments = (Arc<Switchboard>, Arc<Desk>, u64, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<DispatcherMsg>,
        (board, desk, epoch, gauge): Self::Arguments,
    ) -> Result<Dispatching, ActorProcessingErr> {
        // Hints first, so that nothing falls between them and the walk.
        let listening = listen(&board, &desk, myself.clone());
        desk.dispatcher.move_in(myself.clone());
        myself.send_message(DispatcherMsg::Own)?;
        let leading = board.parts.ledger.leading();
        Ok(Dispatching {
            leading,
            board,
            desk,
            gauge,
            epoch,
            queue: Queue::default(),
            owns: false,
            walking: false,
            checked: Instant::now(),
            revision: 0,
            lag: meters::lag(),
            turns: Turns::default(),
            _listening: listening,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<DispatcherMsg>,
        message: DispatcherMsg,
        state: &mut Dispatching,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMsg::Own => {
                state.own().await;
                state.walk(&myself, None)?;
            }
            DispatcherMsg::Walk(after) => state.walk(&myself, after)?,
            DispatcherMsg::Hints(hints) => state.hear(hints),
            DispatcherMsg::Wake => state.desk.dispatcher.heard(),
            DispatcherMsg::Second => state.check(&myself)?,
        }
        state.turn();
        Ok(())
    }
}

fn listen(board: &Switchboard, desk: &Desk, myself: ActorRef<DispatcherMsg>) -> JoinSet<()> {
    let mut hints = board.parts.ledger.hints(desk.partition);
    let mut listening = JoinSet::new();
    listening.spawn(async move {
        while let Some(mut gathered) = hints.recv().await {
            while gathered.len() < HINTS
                && let Ok(more) = hints.try_recv()
            {
                gathered.extend(more);
            }
            if myself.send_message(DispatcherMsg::Hints(gathered)).is_err() {
                return;
            }
        }
    });
    listening
}

/// Returns once this node knows which accounts, limits and routes are in force. A replica of control that comes back, or that
/// was cut off, does not know what was committed meanwhile until its leader is asked.
async fn catch_up(board: &Switchboard) {
    let ledger = &board.parts.ledger;
    let asked = async {
        while let Err(error) = ledger.fresh_control().await {
            tracing::debug!(%error, "control could not be asked what is in force");
            sleep(OWN_AGAIN).await;
        }
    };
    if timeout(CONTROL_WITHIN, asked).await.is_err() {
        tracing::warn!("control cannot be asked: attempts go by what this node knows of it");
    }
}

/// Where a delivery waits.
fn place(board: &Switchboard, delivery: &Delivery, sheet: &Sheet) -> Place {
    let pool = board.pools.id(sheet.leg(delivery.leg()).channel, sheet.message_type);
    Place { lane: sheet.lane, pool, flow: Flow::of(&sheet.template, &sheet.key_id) }
}

impl Dispatching {
    /// Makes this process the owner, and the local replicas, that of control too, as new as their logs were at this moment.
    /// Nothing is attempted before. Ends when the supervisor kills the actor because the node no longer leads.
    async fn own(&mut self) {
        let board = Arc::clone(&self.board);
        tokio::join!(self.take_over(), catch_up(&board));
        tracing::info!(partition = %self.desk.partition, epoch = self.epoch, "owns the partition");
    }

    async fn take_over(&mut self) {
        let parts = &self.board.parts;
        let owner = Owner { node: parts.ledger.node(), boot: parts.boot };
        while !self.owns {
            let command = Command::TakeOver { owner, epoch: self.epoch, limits: parts.limits };
            match parts.ledger.propose(self.desk.partition, vec![command]).await.as_deref() {
                Ok([Answer::Owned]) => self.owns = self.leads(),
                answer => tracing::debug!(partition = %self.desk.partition, ?answer, "does not own the partition yet"),
            }
            if !self.owns {
                sleep(OWN_AGAIN).await;
            }
        }
        // What was taken up in a tenure that ended is not attempted any more: nobody would take its result.
        parts.ledger.with_partition(self.desk.partition, &mut |partition| {
            if let Some((_, _, since)) = partition.owner().filter(|(now, ..)| *now == owner) {
                self.desk.since.store(since, Ordering::Release);
            }
        });
    }

    fn leads(&self) -> bool {
        self.leading.borrow().get(&self.desk.partition) == Some(&self.epoch)
    }

    /// Reads one page of what is pending.
    fn walk(&mut self, myself: &ActorRef<DispatcherMsg>, after: Option<DeliveryId>) -> Result<(), ActorProcessingErr> {
        if planted("no_walk") {
            return Ok(());
        }
        let most = self.board.parts.settings.page;
        let mut page = Vec::new();
        self.board.parts.ledger.with_partition(self.desk.partition, &mut |partition| {
            page = partition.pending(after).take(most).collect();
        });
        let last = page.last().map(|(delivery, _)| delivery.id);
        self.walking = page.len() == most;
        for (delivery, sheet) in &page {
            self.wait_for(delivery, sheet);
        }
        if self.walking {
            myself.send_message(DispatcherMsg::Walk(last))?;
        }
        Ok(())
    }

    fn hear(&mut self, hints: Vec<Hint>) {
        let mut asked = Vec::new();
        let mut calls = Vec::new();
        let mut left = Vec::new();
        for hint in hints {
            match hint {
                Hint::Due { delivery, sheet } => self.wait_for(&delivery, &sheet),
                Hint::CancelRequested(delivery) => asked.push(delivery),
                Hint::Failing { .. } | Hint::Probed { .. } | Hint::Alert { .. } => calls.push(hint),
                Hint::LegLeft { passage, taken } => left.push((passage, taken)),
                _ => {}
            }
        }
        if !left.is_empty() {
            self.board.template.send(TemplateMsg::Left(left));
        }
        if !calls.is_empty() {
            self.board.breakers.send(BreakersMsg::Hints(calls));
        }
        for delivery in &asked {
            self.desk.flights.call_back(delivery);
        }
        if self.owns {
            self.take_up(asked);
        }
    }

    /// Puts a pending delivery where it waits. What is to be closed is due at once.
    fn wait_for(&mut self, delivery: &Delivery, sheet: &Sheet) {
        let (now, due) = (self.board.now(), self.due(delivery, sheet));
        let at = if delivery.cancel_requested || delivery.begun.is_some() { due.min(now) } else { due };
        self.queue.add(delivery.id, place(&self.board, delivery, sheet), at, now);
        if let Some(expires_at) = sheet.expires_at {
            self.queue.runs_out(delivery.id, expires_at);
        }
    }

    /// When a delivery is due by the present. What the caller set is not a time of the partition's but the world's.
    fn due(&self, delivery: &Delivery, sheet: &Sheet) -> Time {
        let due = self.board.by_present(self.desk.partition, delivery.due);
        sheet.send_at.map_or(due, |send_at| due.max(send_at.min(delivery.due)))
    }

    /// Does everything that can be done now.
    fn turn(&mut self) {
        // A node that lost the lead may have an old replica until it is told: it must not act on it.
        if !self.owns || !self.leads() {
            return;
        }
        if self.desk.is_paused() {
            return;
        }
        let now = self.board.now();
        self.receive(self.desk.flights.take_back(), now);
        self.queue.ripen(now);
        let page = self.board.parts.settings.page;
        let expired = self.queue.take_expired(now, page);
        let mut more = expired.len() == page;
        self.take_up(expired);
        if !self.board.is_stopping() {
            for pool in self.queue.pools() {
                let room = self.board.bounds(pool).1.saturating_sub(self.desk.flights.of_pool(pool));
                let taken = self.queue.take(pool, room.min(page));
                more |= taken.len() == page;
                self.take_up(taken);
            }
        }
        self.gauge.set(self.queue.len(), self.desk.flights.len());
        self.desk.alarm.set(self.queue.next());
        if more {
            self.desk.dispatcher.ring(DispatcherMsg::Wake);
        }
    }

    /// Puts what came back where it waits again.
    fn receive(&mut self, back: Vec<Back>, now: Time) {
        let rested = now.after(self.board.parts.settings.rest);
        for Back { delivery, place, when } in back {
            let at = match when {
                When::Now => now,
                When::At(at) => at,
                When::Rested => rested,
            };
            self.queue.add(delivery, place, at, now);
        }
    }

    /// Takes deliveries up: looks at each as it stands, boards it, and decides. Both happen under the replica's lock: an
    /// older ticket lands only after its result was applied, so whoever can board has seen the result.
    fn take_up(&mut self, deliveries: Vec<DeliveryId>) {
        if deliveries.is_empty() {
            return;
        }
        let board = Arc::clone(&self.board);
        let now = board.now();
        let mut boarded = Vec::with_capacity(deliveries.len());
        board.parts.ledger.with_partition(self.desk.partition, &mut |partition| {
            for id in &deliveries {
                let Some((delivery, sheet)) = partition.delivery(id) else { continue };
                let (place, endpoint) = (place(&board, &delivery, &sheet), endpoint::of(delivery.address()));
                let Some(ticket) = Ticket::board(&self.desk, *id, self.epoch, place, endpoint) else {
                    continue;
                };
                let listed = if self.due(&delivery, &sheet) <= now {
                    partition.closed_by_list(&delivery, &sheet, now)
                } else {
                    None
                };
                let wellness = endpoint.map_or(Wellness::Well, |endpoint| partition.wellness(&endpoint, now));
                let suspect = partition.is_suspect(&delivery);
                let work = Work { ticket, delivery, sheet, looked: now, endpoint, probes: false, suspect };
                boarded.push(Boarded { work, listed, wellness });
            }
        });
        self.decide(boarded, now);
    }

    /// What is to be done about each.
    fn decide(&mut self, boarded: Vec<Boarded>, now: Time) {
        let mut works = Vec::with_capacity(boarded.len());
        let mut closings = Vec::new();
        for Boarded { work, listed, wellness } in boarded {
            let expired = work.is_too_late(now);
            let Work { ticket, delivery, sheet, looked, endpoint, probes, suspect } = work;
            let due = self.due(&delivery, &sheet);
            self.queue.forget(delivery.id, ticket.place(), due, sheet.expires_at);
            let closing = if delivery.begun.is_some() {
                // Nobody else in this process holds it, so the end of the attempt is lost.
                Some(Closing::Lost)
            } else if delivery.cancel_requested {
                Some(Closing::Cancelled)
            } else if expired {
                Some(Closing::Expired)
            } else {
                listed
            };
            if let Some(closing) = closing {
                closings.push(Entry::Close { ticket, closing });
            } else if due <= now && delivery.is_hushed(&sheet, now) {
                closings.push(Entry::Defer { ticket });
            } else if due > now || self.board.is_stopping() || self.desk.is_paused() {
                self.wait_for(&delivery, &sheet);
                ticket.done();
            } else if delivery.reserved && !planted("leave_not_asked") {
                closings.push(Entry::Leave { ticket });
            } else {
                let lag = now.since(due);
                let work = Work { ticket, delivery, sheet, looked, endpoint, probes, suspect };
                match self.turns.judge(&self.desk, work, wellness, now) {
                    Ok(work) => {
                        self.lag.record(lag.as_secs_f64());
                        works.push(work);
                    }
                    Err(entry) => closings.extend(entry.map(|entry| *entry)),
                }
            }
        }
        if !closings.is_empty() {
            self.board.record(&self.desk, closings);
        }
        if !works.is_empty() {
            self.board.template.send(TemplateMsg::Work(works));
        }
    }

    /// Compares what is waited for with what is pending, and walks again if they disagree.
    fn check(&mut self, myself: &ActorRef<DispatcherMsg>) -> Result<(), ActorProcessingErr> {
        let partition = self.desk.partition.to_string();
        for pool in self.queue.pools().collect::<Vec<PoolId>>() {
            let Some(name) = self.board.pools.get(pool) else { continue };
            for lane in LANES {
                meters::waiting(&partition, &name.to_string(), lane, self.queue.ready(pool, lane));
            }
        }
        let revision = self.board.in_force().revision;
        if std::mem::replace(&mut self.revision, revision) != revision && self.owns && !self.walking {
            // What was to wait for a limit may not have to any more.
            self.walk(myself, None)?;
        }
        let due = self.checked.elapsed() >= self.board.parts.settings.check_every;
        if !due || !self.owns || self.walking {
            return Ok(());
        }
        self.checked = Instant::now();
        let known = self.queue.len() + self.desk.flights.len();
        let mut pending = 0;
        self.board.parts.ledger.with_partition(self.desk.partition, &mut |partition| {
            pending = partition.pending_count();
        });
        if pending != known as u64 {
            tracing::debug!(partition, pending, known, "walks again what is pending");
            self.walk(myself, None)?;
        }
        Ok(())
    }
}
