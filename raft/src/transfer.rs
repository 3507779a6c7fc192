//! Handing over leadership gently.
//!
//! openraft 0.9 has no such operation. The leader keeps new proposals in its queue, waits until the chosen follower has
//! everything, and has it stand for election. A follower grants no vote within a lease (`election_max_ms`) of hearing from
//! its leader, but the leader itself does: it hears from nobody. With up to three voters its vote and the candidate's own are
//! a majority, so this takes two syncs of a disk; with more, one lease at most. What was queued goes on to the new leader;
//! nothing is refused because of it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parking_lot::RwLock;
use tidings_contract::PartitionId;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::answering::Members;
use crate::codec;
use crate::group::AnyGroup;
use crate::lease::Bar;
use crate::ledgers::{Inner, Ledgers};
use crate::peers::{CallError, Kind, Lane};
use crate::types::GroupId;

/// How long what is under way, and the election, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an election may take before the chosen follower stands again. A leader that was elected less than a lease ago
/// refuses its vote the first time, and learns of the newer term from that.
const STAND_AGAIN: Duration = Duration::from_millis(300);
/// How long a voter may take to show that it lives.
const LIVES_WITHIN: Duration = Duration::from_millis(500);
/// How long a leaving node waits before it tries again with what it still leads.
const LEAVE_AGAIN: Duration = Duration::from_millis(100);

/// What the program has to do before a partition is handed over: begin nothing new and record what is under way. Gives a
/// guard, whose drop lets the partition go on, and whether nothing is under way any more.
pub type QuietHandler = Arc<dyn Fn(PartitionId) -> BoxFuture<'static, (Box<dyn Any + Send>, bool)> + Send + Sync>;

/// What is known of handing over on this node.
#[derive(Default)]
pub(crate) struct HandOvers {
    quiet: RwLock<Option<QuietHandler>>,
    /// Set once: the node gives away what it leads and takes nothing.
    leaving: AtomicBool,
}

impl HandOvers {
    /// Whether the node is about to stop, so that nobody should hand anything to it.
    pub(crate) fn leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }
}

impl Ledgers {
    /// Hands over leadership of a group that is led here to another voter of it. Proposals wait meanwhile.
    ///
    /// # Errors
    /// Why leadership stayed here, or went elsewhere; proposals go on as before.
    pub async fn transfer(&self, group: GroupId, to: u64) -> Result<(), String> {
        let group = self.inner.group(group).ok_or("there is no replica of it here")?;
        self.inner.transfer(&group, to).await
    }

    /// Installs what is asked before a partition is handed over; the newest wins.
    pub fn before_hand_over(&self, handler: QuietHandler) {
        *self.inner.hand_overs.quiet.write() = Some(handler);
    }

    /// Hands over every group that is led here to other voters that live and have everything, all at once and spread over
    /// them, within `within`. From then on nobody hands leadership to this node. Gives the groups that are led here still:
    /// those without another living voter, and those for which the time was too short.
    pub async fn leave(&self, within: Duration) -> Vec<GroupId> {
        let inner = &self.inner;
        inner.hand_overs.leaving.store(true, Ordering::SeqCst);
        let until = Instant::now() + within;
        // The time runs out for whatever hand-over is under way then; its proposals go on.
        let _ = timeout_at(until, inner.give_away()).await;
        inner.led().iter().map(|group| group.id()).collect()
    }
}

/// Keeps proposals in the queue and this node from standing, and takes its lease. All of it ends however the handing over ends.
///
/// With more than three voters the first candidacy may fail and the leader have stepped down for it; it must not win the next
/// one itself, before the chosen follower stands again.
struct Held(Arc<dyn AnyGroup>, #[allow(dead_code, reason = "its drop counts")] Bar);

impl Held {
    fn begin(group: &Arc<dyn AnyGroup>) -> Self {
        group.hold(true);
        group.raft().runtime_config().elect(false);
        Self(Arc::clone(group), group.lease().bar())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A node that may not stand at all is told so again at the keeper's next look.
        self.0.raft().runtime_config().elect(true);
        self.0.hold(false);
    }
}

impl Inner {
    /// See [`Ledgers::transfer`].
    pub(crate) async fn transfer(&self, group: &Arc<dyn AnyGroup>, to: u64) -> Result<(), String> {
        if self.hand_overs.leaving() {
            return Err("this node is leaving".to_owned());
        }
        if self.ground.clock.is_peer_astray(to) {
            return Err(format!("the clock of node {to} is not that of a majority"));
        }
        self.hand_over(group, to).await
    }

    /// The groups led here that others vote in too.
    fn led(&self) -> Vec<Arc<dyn AnyGroup>> {
        let me = self.node();
        let led = |group: &Arc<dyn AnyGroup>| group.raft().server_metrics().borrow().current_leader == Some(me);
        self.groups().into_iter().filter(|group| led(group) && !others(&**group, me).is_empty()).collect()
    }

    /// Hands over what is led here until nothing is, or nobody can take it.
    pub(crate) async fn give_away(&self) {
        loop {
            let led = self.led();
            let living = join_all(led.iter().map(|group| self.living(&**group))).await;
            let mut given: BTreeMap<u64, usize> = BTreeMap::new();
            let mut plan = Vec::new();
            for (group, living) in led.iter().zip(living) {
                let next = living.into_iter().min_by_key(|node| given.get(node).copied().unwrap_or(0));
                let Some(next) = next else { continue };
                *given.entry(next).or_default() += 1;
                plan.push((group, next));
            }
            if plan.is_empty() {
                return;
            }
            let handed = plan.into_iter().map(|(group, to)| async move {
                if let Err(why) = self.hand_over(group, to).await {
                    tracing::info!(group = %group.id(), to, why, "leadership could not be handed over yet");
                }
            });
            join_all(handed).await;
            sleep(LEAVE_AGAIN).await;
        }
    }

    /// The other voters of a group that answer.
    async fn living(&self, group: &dyn AnyGroup) -> Vec<u64> {
        let right = others(group, self.node()).into_iter().filter(|node| !self.ground.clock.is_peer_astray(*node));
        let asked = right.map(|node| async move {
            let body = codec::encode(&(group.id(), ())).ok()?;
            let answer = self.peers.call(node, None, Lane::Raft, Kind::Members, body.into(), LIVES_WITHIN).await;
            codec::decode::<Members>(&answer.ok()?).ok().map(|_| node)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn hand_over(&self, group: &Arc<dyn AnyGroup>, to: u64) -> Result<(), String> {
        let (raft, me) = (group.raft(), self.node());
        if !others(&**group, me).contains(&to) || raft.server_metrics().borrow().current_leader != Some(me) {
            return Err(format!("{} is not led here, or node {to} is no other voter of it", group.id()));
        }
        let (_pause, quiet) = self.make_quiet(group.id()).await;
        // A node that leaves, or must not lead, goes in any case; everybody else may wait for a better moment.
        if !quiet && !self.hand_overs.leaving() && !self.ground.clock.is_astray() {
            return Err("attempts that are under way do not end".to_owned());
        }
        if group.handing_over() {
            return Err(format!("{} is being handed over already", group.id()));
        }
        tracing::info!(group = %group.id(), to, "handing over leadership");
        let held = Held::begin(group);
        timeout(PATIENCE, group.idle()).await.map_err(|_| "what is under way does not end")?;
        let watched = raft.wait(Some(PATIENCE));
        let caught_up = watched.metrics(
            |metrics| {
                let reached = metrics.replication.as_ref().and_then(|all| all.get(&to)).copied().flatten();
                reached.map(|id| id.index) == metrics.last_log_index
            },
            "the next leader has everything",
        );
        caught_up.await.map_err(|e| e.to_string())?;
        let elected = self.have_elected(&**group, to).await;
        drop(held);
        elected
    }

    /// Has `to` stand for election until somebody else than this node leads.
    async fn have_elected(&self, group: &dyn AnyGroup, to: u64) -> Result<(), String> {
        let me = self.node();
        let lease = Duration::from_millis(self.ground.options.timing.election_max_ms);
        let until = Instant::now() + lease + PATIENCE;
        let mut server = group.raft().server_metrics();
        loop {
            let called = self.ask_to_stand(group, to).await;
            // A call without an answer may have been heard all the same.
            if let Err(error @ (CallError::NotSent(_) | CallError::Failed(_))) = called {
                return Err(error.to_string());
            }
            let moved =
                timeout(STAND_AGAIN, server.wait_for(|now| now.current_leader.is_some_and(|it| it != me))).await;
            match moved.map(|moved| moved.map(|now| now.current_leader)) {
                Ok(Ok(Some(leader))) if leader == to => return Ok(()),
                Ok(Ok(leader)) => return Err(format!("node {} leads now", leader.unwrap_or_default())),
                Ok(Err(_)) => return Err("the group has stopped".to_owned()),
                Err(_) if Instant::now() >= until => return Err(format!("node {to} was not elected")),
                Err(_) => {}
            }
        }
    }

    /// Asks `to` to stand. Nothing that was sent to it before keeps it from voting for itself, so none of that counts for the
    /// lease any more: should the handing over fail, what is sent after it has heard of this counts again.
    pub(crate) async fn ask_to_stand(&self, group: &dyn AnyGroup, to: u64) -> Result<Bytes, CallError> {
        let body = codec::encode(&(group.id(), ())).map_err(|e| CallError::NotSent(e.to_string()))?;
        let open = group.lease().may_stand() == Some(to);
        group.lease().asks_to_stand(to);
        let called = self.peers.call(to, None, Lane::Raft, Kind::Elect, body.into(), PATIENCE).await;
        match &called {
            Ok(_) => group.lease().has_stood(to),
            Err(CallError::NotSent(_) | CallError::Failed(_)) if !open => group.lease().was_not_asked(to),
            Err(_) => {}
        }
        called
    }

    /// Has the program begin nothing new in a partition; see [`QuietHandler`].
    async fn make_quiet(&self, group: GroupId) -> (Option<Box<dyn Any + Send>>, bool) {
        let handler = self.hand_overs.quiet.read().clone();
        match (handler, group) {
            (Some(handler), GroupId::Partition(partition)) => {
                let (guard, quiet) = handler(partition).await;
                (Some(guard), quiet)
            }
            _ => (None, true),
        }
    }
}

/// Who votes in a group besides this node.
fn others(group: &dyn AnyGroup, me: u64) -> Vec<u64> {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow();
    metrics.membership_config.membership().voter_ids().filter(|id| *id != me).collect()
}
