//! How a cluster begins, and how a node becomes part of one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use tidings_contract::PartitionId;
use tidings_machine::control::{Action, Answer, Command, NodeInfo, Refusal};
use tokio::time::Instant;

use crate::codec;
use crate::error::ProposeError;
use crate::group::{AnyGroup, leads};
use crate::ledgers::{Inner, Ledgers};
use crate::peers::Kind;
use crate::secret_check;
use crate::types::{GroupId, Peer, Raft};

/// Under this name the disk knows that this node founded its cluster, and so gives birth to its partitions.
pub(crate) const FOUNDER: &str = "founder";
/// How long a lone group takes to elect itself, at most.
const ELECTION: Duration = Duration::from_secs(10);

impl Ledgers {
    /// Founds a cluster with only this node: starts the control group, proposes `command`, which must be
    /// [`Action::Found`] with this node's number, and starts all partitions. Doing so again changes nothing.
    ///
    /// # Errors
    /// See [`ProposeError`]. The answer may also be a refusal of control.
    pub async fn found(&self, command: Command) -> Result<Answer, ProposeError> {
        let Action::Found { cluster, node, info, partitions, .. } = &command.action else {
            return Err(ProposeError::Refused("only Action::Found founds a cluster".into()));
        };
        if *node != self.node() {
            return Err(ProposeError::Refused(format!("node {node} cannot be founded on node {}", self.node())));
        }
        let (cluster, peer, partitions) = (cluster.clone(), peer_of(info), *partitions);
        if let Some(known) = self.read_control(|control| control.cluster.as_ref().map(|c| c.id.clone())) {
            return Ok(Answer::Refused(Refusal::Founded(known)));
        }
        let unkept = |e: std::io::Error| ProposeError::Refused(format!("the disk does not keep the founding: {e}"));
        self.inner.ground.disk.keep(FOUNDER.into(), cluster.clone().into_bytes()).await.map_err(unkept)?;
        self.inner.adopt_cluster(&cluster).await.map_err(unkept)?;
        *self.inner.peers.me().address.write() = Some(peer.peer_addr.clone());
        give_birth(self.inner.control.raft(), self.node(), &peer).await?;
        let until = Instant::now() + ELECTION;
        let elected = async {
            let mut metrics = self.inner.control.raft().metrics();
            while leads(self.inner.control.raft()).is_none() && metrics.changed().await.is_ok() {}
        };
        if tokio::time::timeout_at(until, elected).await.is_err() {
            return Err(ProposeError::Refused("the control group elected nobody".into()));
        }
        let answer = self.propose_control(vec![command]).await?.pop();
        let answer = answer.ok_or_else(|| ProposeError::Unknown("control gave no answer".into()))?;
        if answer == Answer::Done {
            self.inner.bear_partitions(partitions, &peer).await?;
        }
        Ok(answer)
    }

    /// Makes this node part of a cluster by asking any member, at one of `seeds`. Its groups then come by themselves.
    /// Doing so again tells the cluster this node's present addresses.
    ///
    /// # Errors
    /// See [`ProposeError`]; with `Refused` no seed could be reached or took the node.
    pub async fn join(&self, seeds: &[String], info: NodeInfo) -> Result<(), ProposeError> {
        *self.inner.peers.me().address.write() = Some(info.peer_addr.clone());
        let question = codec::encode(&(self.node(), info)).map_err(|e| ProposeError::Refused(e.to_string()))?;
        let mut why = Vec::new();
        for seed in seeds {
            let body = question.clone().into();
            let within = self.inner.ground.options.propose_within + Duration::from_secs(2);
            let answer = self.inner.peers.call_address(seed, Kind::Join, body, within).await;
            match answer.map_err(|e| e.to_string()).and_then(|a| codec::decode::<String>(&a).map_err(|e| e.to_string()))
            {
                Ok(cluster) => {
                    let kept = self.inner.adopt_cluster(&cluster).await;
                    return kept.map_err(|e| ProposeError::Unknown(format!("joined, but the disk says: {e}")));
                }
                Err(error) => why.push(format!("{seed}: {error}")),
            }
        }
        Err(ProposeError::Refused(format!("no seed took this node: {}", why.join("; "))))
    }
}

impl Inner {
    /// Remembers for ever which cluster this node belongs to.
    pub(crate) async fn adopt_cluster(&self, cluster: &str) -> std::io::Result<()> {
        if self.peers.me().cluster.read().as_deref() == Some(cluster) {
            return Ok(());
        }
        self.keep_secret_check().await?;
        self.ground.disk.keep("cluster".into(), cluster.as_bytes().to_vec()).await?;
        *self.peers.me().cluster.write() = Some(cluster.to_owned());
        Ok(())
    }

    /// Keeps a check value of the secret, unless there is one.
    pub(crate) async fn keep_secret_check(&self) -> std::io::Result<()> {
        if self.ground.disk.meta().contains_key(secret_check::KEY)? {
            return Ok(());
        }
        let value = secret_check::make(&self.ground.options.secret);
        self.ground.disk.keep(secret_check::KEY.to_owned(), value).await
    }

    /// Whether this node founded its cluster and has not lost its disk since.
    pub(crate) fn is_founder(&self) -> bool {
        let founder = self.ground.disk.meta().get(FOUNDER).ok().flatten();
        founder.is_some_and(|cluster| self.peers.me().cluster.read().as_ref().map(String::as_bytes) == Some(&*cluster))
    }

    /// Starts every partition once in the life of the cluster, on the node that founded it. A partition that was born is
    /// marked on the disk, so that a node which lost a replica never starts a second, empty one.
    pub(crate) async fn bear_partitions(self: &Arc<Self>, count: u16, peer: &Peer) -> Result<(), ProposeError> {
        let refused = |e: &dyn std::fmt::Display| ProposeError::Refused(e.to_string());
        let _alone = self.bearing.lock().await;
        for partition in (0..count).map(PartitionId) {
            let mark = born_mark(partition);
            if self.ground.disk.meta().contains_key(&mark).map_err(|e| refused(&e))? {
                continue;
            }
            let group = self.open_partition(partition).await.map_err(|e| refused(&e))?;
            give_birth(group.raft(), self.node(), peer).await?;
            self.ground.disk.keep(mark, Vec::new()).await.map_err(|e| refused(&e))?;
        }
        Ok(())
    }
}

/// Makes `node` the only member of a group that has none.
async fn give_birth(raft: &Raft, node: u64, peer: &Peer) -> Result<(), ProposeError> {
    match raft.initialize(BTreeMap::from([(node, peer.clone())])).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(ProposeError::Refused(error.to_string())),
    }
}

/// Under this name the disk knows that a partition was born, and so is never born again.
pub(crate) fn born_mark(partition: PartitionId) -> String {
    format!("born/{}", GroupId::Partition(partition))
}

pub(crate) fn peer_of(info: &NodeInfo) -> Peer {
    Peer { peer_addr: info.peer_addr.clone(), api_addr: info.api_addr.clone() }
}
