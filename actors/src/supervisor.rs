//! The supervisor: starts every actor, follows which partitions this node leads, and restarts what dies, for ever and ever
//! more slowly.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tidings_contract::PartitionId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::breakers::BreakersOfNode;
use crate::dedup::Dedup;
use crate::dispatcher::Dispatcher;
use crate::meters;
use crate::pool::PoolId;
use crate::rate_limiter::RateLimiter;
use crate::recalls::Recalls;
use crate::receipts::Receipts;
use crate::recorder::Recorder;
use crate::sender::Sender;
use crate::switchboard::Switchboard;
use crate::template::Template;
use crate::timers::Timers;
use crate::tokens::Tokens;
use crate::work::Letter;

/// The name under which the supervisor itself is seen.
pub(crate) const NAME: &str = "supervisor";
/// The shortest and the longest wait before an actor is started again.
const WAITS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// An actor that lived so long starts again without a grudge.
const FORGIVEN: Duration = Duration::from_secs(30);

/// What the supervisor is told.
#[derive(Debug)]
pub(crate) enum SupervisorMsg {
    /// The partitions this node leads now, with their terms.
    Leading(BTreeMap<PartitionId, u64>),
    /// Letters of a pool whose sender cannot be reached; perhaps it was never made.
    Sender { pool: PoolId, letters: Vec<Letter> },
    /// An actor that died has waited long enough.
    Start(Kind),
}

/// The kinds of actors below the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Template,
    Dedup,
    RateLimiter,
    Breakers,
    Tokens,
    Recalls,
    Receipts,
    Sender(PoolId),
    Recorder(PartitionId),
    Dispatcher(PartitionId),
    Timers(PartitionId),
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Supervisor;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Supervising {
    board: Arc<Switchboard>,
    children: HashMap<ActorId, (Kind, Instant)>,
    /// What was started and is not to stay dead.
    wanted: BTreeSet<Kind>,
    strikes: HashMap<Kind, u32>,
    leading: BTreeMap<PartitionId, u64>,
    /// The watch on what this node leads, and restarts that wait.
    waiting: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = Supervising;
    type Arguments = Arc<Switchboard>;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        board: Arc<Switchboard>,
    ) -> Result<Supervising, ActorProcessingErr> {
        board.supervisor.move_in(myself.clone());
        board.register.runs(NAME, myself.get_cell());
        let mut leading = board.parts.ledger.leading();
        let mut waiting = JoinSet::new();
        let me = myself.clone();
        waiting.spawn(async move {
            loop {
                let now = leading.borrow_and_update().clone();
                if me.send_message(SupervisorMsg::Leading(now)).is_err() || leading.changed().await.is_err() {
                    return;
                }
            }
        });
        let mut state = Supervising {
            board,
            children: HashMap::new(),
            wanted: [
                Kind::Template,
                Kind::Dedup,
                Kind::RateLimiter,
                Kind::Breakers,
                Kind::Tokens,
                Kind::Recalls,
                Kind::Receipts,
            ]
            .into(),
            strikes: HashMap::new(),
            leading: BTreeMap::new(),
            waiting,
        };
        // Here, so that whoever started the motion can use it at once.
        for kind in state.wanted.clone() {
            state.start(kind, &myself).await;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut Supervising,
    ) -> Result<(), ActorProcessingErr> {
        while state.waiting.try_join_next().is_some() {}
        match message {
            SupervisorMsg::Leading(leading) => state.follow(leading, &myself).await,
            SupervisorMsg::Sender { pool, letters } => {
                if state.wanted.insert(Kind::Sender(pool)) {
                    state.start(Kind::Sender(pool), &myself).await;
                }
                // Dropped while the sender waits for its restart: the tickets bring the deliveries back.
                state.board.sender_if_any(pool, letters);
            }
            SupervisorMsg::Start(kind) => state.start(kind, &myself).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut Supervising,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, why) = match &event {
            SupervisionEvent::ActorTerminated(cell, _, why) => (cell, why.clone().unwrap_or_default()),
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            _ => return Ok(()),
        };
        if let Some((kind, since)) = state.children.remove(&cell.get_id()) {
            state.died(kind, since, &why, &myself);
        }
        Ok(())
    }
}

impl Supervising {
    /// Starts what belongs to partitions led anew, and stops what belongs to those no longer led.
    async fn follow(&mut self, leading: BTreeMap<PartitionId, u64>, myself: &ActorRef<SupervisorMsg>) {
        let before = std::mem::replace(&mut self.leading, leading);
        for (partition, epoch) in &before {
            if self.leading.get(partition) != Some(epoch) {
                self.board.desk(*partition).epoch.store(0, Ordering::SeqCst);
                self.stop(Kind::Dispatcher(*partition));
                self.stop(Kind::Timers(*partition));
            }
        }
        for (partition, epoch) in self.leading.clone() {
            if before.get(&partition) != Some(&epoch) {
                self.board.desk(partition).epoch.store(epoch, Ordering::SeqCst);
                // The recorder stays when the lead is lost: outcomes under way may still be taken by the new leader.
                for kind in [Kind::Recorder(partition), Kind::Dispatcher(partition), Kind::Timers(partition)] {
                    if self.wanted.insert(kind) {
                        self.start(kind, myself).await;
                    }
                }
            }
        }
    }

    fn stop(&mut self, kind: Kind) {
        self.wanted.remove(&kind);
        self.children.retain(|_, (child, _)| *child != kind);
        let name = self.name(kind);
        self.board.register.kill(&name);
        self.board.register.stopped(&name);
    }

    async fn start(&mut self, kind: Kind, myself: &ActorRef<SupervisorMsg>) {
        let running = self.children.values().any(|(child, _)| *child == kind);
        if running || !self.wanted.contains(&kind) || self.board.is_stopping() {
            return;
        }
        match self.spawn(kind, myself.get_cell()).await {
            Ok(cell) => {
                self.children.insert(cell.get_id(), (kind, Instant::now()));
                self.board.register.runs(&self.name(kind), cell);
            }
            Err(error) => self.died(kind, Instant::now(), &error.to_string(), myself),
        }
    }

    fn died(&mut self, kind: Kind, since: Instant, why: &str, myself: &ActorRef<SupervisorMsg>) {
        if self.board.is_stopping() || !self.wanted.contains(&kind) {
            return;
        }
        let name = self.name(kind);
        self.board.register.gauge(&name).restarts.fetch_add(1, Ordering::Relaxed);
        meters::restarted(&name);
        let strikes = self.strikes.entry(kind).or_default();
        *strikes = if since.elapsed() >= FORGIVEN { 0 } else { (*strikes + 1).min(16) };
        let wait = WAITS.0.saturating_mul(1 << *strikes).min(WAITS.1);
        tracing::warn!(actor = name, why, strikes = *strikes, "an actor died and is started again");
        let me = myself.clone();
        self.waiting.spawn(async move {
            sleep(wait).await;
            // The supervisor aborts this when it dies, so it is there.
            let _ = me.send_message(SupervisorMsg::Start(kind));
        });
    }

    async fn spawn(&self, kind: Kind, me: ActorCell) -> Result<ActorCell, SpawnErr> {
        let board = Arc::clone(&self.board);
        let gauge = board.register.gauge(&self.name(kind));
        Ok(match kind {
            Kind::Template => Actor::spawn_linked(None, Template, (board, gauge), me).await?.0.get_cell(),
            Kind::Dedup => Actor::spawn_linked(None, Dedup, (board, gauge), me).await?.0.get_cell(),
            Kind::RateLimiter => Actor::spawn_linked(None, RateLimiter, (board, gauge), me).await?.0.get_cell(),
            Kind::Breakers => Actor::spawn_linked(None, BreakersOfNode, (board, gauge), me).await?.0.get_cell(),
            Kind::Tokens => Actor::spawn_linked(None, Tokens, (board, gauge), me).await?.0.get_cell(),
            Kind::Recalls => Actor::spawn_linked(None, Recalls, (board, gauge), me).await?.0.get_cell(),
            Kind::Receipts => Actor::spawn_linked(None, Receipts, (board, gauge), me).await?.0.get_cell(),
            Kind::Sender(pool) => Actor::spawn_linked(None, Sender, (board, pool, gauge), me).await?.0.get_cell(),
            Kind::Recorder(partition) => {
                let desk = board.desk(partition);
                Actor::spawn_linked(None, Recorder, (board, desk, gauge), me).await?.0.get_cell()
            }
            Kind::Dispatcher(partition) => {
                let desk = board.desk(partition);
                let epoch = self.leading.get(&partition).copied().unwrap_or_default();
                Actor::spawn_linked(None, Dispatcher, (board, desk, epoch, gauge), me).await?.0.get_cell()
            }
            Kind::Timers(partition) => {
                let desk = board.desk(partition);
                Actor::spawn_linked(None, Timers, (board, desk), me).await?.0.get_cell()
            }
        })
    }

    fn name(&self, kind: Kind) -> String {
        match kind {
            Kind::Template => "template".to_owned(),
            Kind::Dedup => "dedup".to_owned(),
            Kind::RateLimiter => "rate_limiter".to_owned(),
            Kind::Breakers => "breakers".to_owned(),
            Kind::Tokens => "tokens".to_owned(),
            Kind::Recalls => "recalls".to_owned(),
            Kind::Receipts => "receipts".to_owned(),
            Kind::Sender(pool) => {
                self.board.pools.get(pool).map_or_else(|| "sender".to_owned(), |pool| format!("sender/{pool}"))
            }
            Kind::Recorder(partition) => format!("recorder/{partition}"),
            Kind::Dispatcher(partition) => format!("dispatcher/{partition}"),
            Kind::Timers(partition) => format!("timers/{partition}"),
        }
    }
}
