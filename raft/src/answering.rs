//! What this node answers its peers.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::Snapshot;
use openraft::raft::{AppendEntriesRequest, VoteRequest, VoteResponse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidings_machine::control::{Action, Answer, Command, NodeInfo};
use tokio::time::Instant;

use crate::codec;
use crate::error::ProposeError;
use crate::group::AnyGroup;
use crate::ledgers::{Inner, Ledgers};
use crate::peers::{Complete, Kind, Piece, Service};
use crate::types::{GroupId, LogId, Types, Vote};

/// Who is in a group, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    pub(crate) leader: Option<u64>,
    /// Everybody in any part of the configuration, learners too.
    pub(crate) nodes: BTreeSet<u64>,
    /// Not in the middle of a change.
    pub(crate) settled: bool,
}

impl Service for Weak<Inner> {
    fn answer(&self, from: u64, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        match self.upgrade() {
            Some(inner) => inner.answer(from, kind, body).boxed(),
            None => futures::future::ready(Err("this node is closing".to_owned())).boxed(),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    codec::decode(body).map_err(|e| format!("unreadable question: {e}"))
}

fn answer<T: Serialize>(value: &T) -> Result<Bytes, String> {
    codec::encode(value).map(Bytes::from).map_err(|e| e.to_string())
}

impl Inner {
    async fn answer(self: Arc<Self>, from: u64, kind: Kind, body: Bytes) -> Result<Bytes, String> {
        // Whoever asks one of these wants to make this node a leader.
        if matches!(kind, Kind::Elect | Kind::Members) && self.hand_overs.leaving() {
            return Err("this node is leaving".to_owned());
        }
        if matches!(kind, Kind::Append | Kind::Vote | Kind::SnapshotEnd | Kind::Elect)
            && !self.introduced.load(Ordering::Acquire)
        {
            return Err("this node tells its peers first that it was started".to_owned());
        }
        if kind == Kind::Elect && self.ground.clock.is_astray() {
            return Err(format!("the clock of node {} is not that of a majority", self.node()));
        }
        match kind {
            Kind::Append => {
                let (id, (rpc, skips)): (_, (AppendEntriesRequest<Types>, Vec<LogId>)) = read(&body)?;
                if let Some(why) = self.ground.disk.health().refuses().filter(|_| !rpc.entries.is_empty()) {
                    return Err(why);
                }
                let group = self.member(id)?;
                group.skips().agree(&skips).await?;
                answer(&group.raft().append_entries(rpc).await.map_err(|e| e.to_string())?)
            }
            Kind::Vote => {
                let (id, rpc): (_, VoteRequest<u64>) = read(&body)?;
                answer(&vote(self.member(id)?, rpc).await?)
            }
            Kind::SnapshotBegin | Kind::SnapshotPiece | Kind::SnapshotEnd => self.take_snapshot(kind, &body).await,
            Kind::Propose => self.propose_for(&body).await,
            Kind::ReadIndex => {
                let (id, ()) = read(&body)?;
                answer(&self.read_index(id).await)
            }
            Kind::Ask => {
                let (kind, payload) = read(&body)?;
                self.answer_ask(from, kind, payload).await
            }
            Kind::Elect => {
                let (id, ()) = read(&body)?;
                answer(&self.member(id)?.raft().trigger().elect().await.map_err(|e| e.to_string())?)
            }
            Kind::Join => self.let_join(from, &body).await,
            Kind::Members => {
                let (id, ()) = read(&body)?;
                answer(&members(&*self.member(id)?))
            }
            Kind::Backup => self.answer_backup(&body).await,
            Kind::Disks => {
                crate::admitting::hear(&self, from, &read::<Vec<_>>(&body)?).await;
                answer(&crate::admitting::told(&self, from))
            }
            Kind::Clock => answer(&self.ground.clock.reading(self.ground.clock.wall())),
        }
    }

    fn member(&self, id: GroupId) -> Result<Arc<dyn AnyGroup>, String> {
        self.group(id).ok_or_else(|| format!("node {} has no replica of {id}", self.node()))
    }

    async fn take_snapshot(&self, kind: Kind, body: &[u8]) -> Result<Bytes, String> {
        match kind {
            Kind::SnapshotBegin => {
                let (id, vote): (_, Vote) = read(body)?;
                let group = self.member(id)?;
                let ours = group.raft().with_raft_state(|state| *state.vote_ref()).await.map_err(|e| e.to_string())?;
                if vote < ours {
                    return Err(format!("{id} has a newer leader"));
                }
                answer(&self.arrivals.begin(id, group.snapshots(), group.archive().cloned())?)
            }
            Kind::SnapshotPiece => {
                let (id, (number, piece)): (_, (u64, Piece)) = read(body)?;
                answer(&self.arrivals.piece(id, number, piece).await?)
            }
            _ => {
                let (id, complete): (_, Complete) = read(body)?;
                let (arrived, group) = (self.arrivals.end(id, &complete).await?, self.member(id)?);
                group.skips().succeed(&complete.skips, complete.meta.last_log_id.map_or(0, |id| id.index)).await?;
                let snapshot = Snapshot { meta: complete.meta, snapshot: Box::new(arrived) };
                let installed = group.raft().install_full_snapshot(complete.vote, snapshot).await;
                answer(&installed.map_err(|e| e.to_string())?)
            }
        }
    }

    async fn propose_for(&self, body: &[u8]) -> Result<Bytes, String> {
        let (id, (count, within_ms, commands)): (GroupId, (u32, u64, Bytes)) = read(body)?;
        let Some(group) = self.group(id) else {
            return answer(&Err::<Bytes, _>(ProposeError::NotLeader { leader: None }));
        };
        let until = Instant::now() + Duration::from_millis(within_ms).min(self.propose_within());
        let answers = group.propose_encoded(count, commands, until).await;
        answer(&answers.map(Bytes::from))
    }

    async fn let_join(self: &Arc<Self>, from: u64, body: &[u8]) -> Result<Bytes, String> {
        let (node, info): (u64, NodeInfo) = read(body)?;
        if node != from {
            return Err(format!("node {from} asks to join as node {node}"));
        }
        let cluster = self.peers.me().cluster.read().clone().ok_or("this node belongs to no cluster yet")?;
        let ledgers = Ledgers { inner: Arc::clone(self) };
        let command = Command { by: "cluster".into(), action: Action::PutNode { node, info } };
        match ledgers.propose_control(vec![command]).await.map_err(|e| e.to_string())?.pop() {
            Some(Answer::Refused(refusal)) => Err(format!("refused: {refusal:?}")),
            _ => answer(&cluster),
        }
    }
}

/// Votes, or does not. A leader votes too, because it hears from no leader; it has no lease from before its vote leaves, and
/// never again in that term once it gave it. This ends whatever becomes of the question: a bar that stayed would stop the group.
async fn vote(group: Arc<dyn AnyGroup>, rpc: VoteRequest<u64>) -> Result<VoteResponse<u64>, String> {
    if group.is_promised() {
        return Err(format!("{} may have been promised to its leader before this node was started", group.id()));
    }
    let voting = tokio::spawn(async move {
        let bar = group.lease().bar();
        let vote = rpc.vote;
        let answer = group.raft().vote(rpc).await;
        if answer.as_ref().map_or(true, |answer| answer.vote_granted) {
            group.lease().gave(&vote);
        }
        drop(bar);
        answer.map_err(|e| e.to_string())
    });
    voting.await.map_err(|e| e.to_string())?
}

pub(crate) fn members(group: &dyn AnyGroup) -> Members {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow();
    let membership = metrics.membership_config.membership();
    Members {
        leader: metrics.current_leader,
        nodes: membership.nodes().map(|(id, _)| *id).collect(),
        settled: membership.get_joint_config().len() <= 1,
    }
}
