//! Handing over leadership gently.
//!
//! openraft 0.9 has no such operation. A follower grants a vote only when it has not heard of its leader for a lease
//! (`election_max_ms`), so the leader keeps new proposals in its queue, falls silent for one lease, and has the chosen
//! follower stand for election. What was queued goes on to the new leader; nothing is refused because of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::group::AnyGroup;
use crate::ledgers::{Inner, Ledgers};
use crate::peers::{Kind, Lane};
use crate::types::GroupId;

/// Behind the end of the lease.
const MARGIN: Duration = Duration::from_millis(60);
/// How long what is under way, and the election, may take.
const PATIENCE: Duration = Duration::from_secs(2);

impl Ledgers {
    /// Hands over leadership of a group that is led here to another voter of it. Takes about one lease, in which
    /// proposals wait.
    ///
    /// # Errors
    /// Why leadership stayed here; proposals go on as before.
    pub async fn transfer(&self, group: GroupId, to: u64) -> Result<(), String> {
        let group = self.inner.group(group).ok_or("there is no replica of it here")?;
        self.inner.transfer(&group, to).await
    }
}

/// Undoes the silence, however the handing over ends.
struct Silence(Arc<dyn AnyGroup>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.raft().runtime_config().heartbeat(true);
        self.0.hold(false);
    }
}

impl Inner {
    /// See [`Ledgers::transfer`].
    pub(crate) async fn transfer(&self, group: &Arc<dyn AnyGroup>, to: u64) -> Result<(), String> {
        let raft = group.raft();
        let me = self.node();
        let voter = raft.metrics().borrow().membership_config.membership().voter_ids().any(|id| id == to);
        if to == me || !voter || raft.server_metrics().borrow().current_leader != Some(me) {
            return Err(format!("{} is not led here, or node {to} is no other voter of it", group.id()));
        }
        if group.handing_over() {
            return Err(format!("{} is being handed over already", group.id()));
        }
        tracing::info!(group = %group.id(), to, "handing over leadership");
        group.hold(true);
        let silence = Silence(Arc::clone(group));
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
        raft.runtime_config().heartbeat(false);
        sleep(Duration::from_millis(self.ground.options.timing.election_max_ms) + MARGIN).await;
        let body = crate::codec::encode(&(group.id(), ())).map_err(|e| e.to_string())?;
        let called = self.peers.call(to, None, Lane::Raft, Kind::Elect, body.into(), PATIENCE).await;
        called.map_err(|e| e.to_string())?;
        let until = Instant::now() + PATIENCE;
        let mut server = raft.server_metrics();
        let moved = tokio::time::timeout_at(until, server.wait_for(|now| now.current_leader == Some(to))).await;
        drop(silence);
        match moved {
            Ok(Ok(_)) => Ok(()),
            _ => Err(format!("node {to} was not elected")),
        }
    }
}
