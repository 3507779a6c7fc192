//! openraft's view of the peers: one handle per group and target.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{RPCTypes, RaftNetwork, RaftNetworkFactory, Snapshot};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{CallError, Lane, Peers};
use super::snapshot::send_snapshot;
use super::wire::Kind;
use crate::codec;
use crate::lease::Lease;
use crate::store::{ArchiveStore, Skips};
use crate::types::{GroupId, Peer, Types, Vote};

/// How long replication leaves an unreachable peer alone.
const BACKOFF: Duration = Duration::from_millis(200);

/// Finds the archive of a group on this node, to send it along with snapshots.
pub(crate) type Archives = Arc<dyn Fn(GroupId) -> Option<Arc<ArchiveStore>> + Send + Sync>;

/// Makes networks for groups.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) peers: Peers,
    pub(crate) archives: Archives,
}

impl Network {
    pub(crate) fn of(&self, group: GroupId, lease: Arc<Lease>, skips: Arc<Skips>) -> GroupNetwork {
        GroupNetwork { network: self.clone(), group, lease, skips }
    }
}

/// The network of one group.
pub(crate) struct GroupNetwork {
    network: Network,
    group: GroupId,
    lease: Arc<Lease>,
    skips: Arc<Skips>,
}

impl RaftNetworkFactory<Types> for GroupNetwork {
    type Network = Remote;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Remote {
        let (network, lease, skips) = (self.network.clone(), Arc::clone(&self.lease), Arc::clone(&self.skips));
        Remote { network, group: self.group, target, address: node.peer_addr.clone(), lease, skips }
    }
}

/// One member of a group on another node.
pub(crate) struct Remote {
    pub(super) network: Network,
    pub(super) group: GroupId,
    pub(super) target: u64,
    pub(super) address: String,
    lease: Arc<Lease>,
    pub(super) skips: Arc<Skips>,
}

impl Remote {
    /// Asks, and reads the answer.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        lane: Lane,
        kind: Kind,
        question: &Q,
        within: Duration,
    ) -> Result<A, CallError> {
        let body = codec::encode(&(self.group, question)).map_err(|e| CallError::NotSent(e.to_string()))?;
        let known = Some(self.address.as_str());
        let answer = self.network.peers.call(self.target, known, lane, kind, Bytes::from(body), within).await?;
        codec::decode(&answer).map_err(|e| CallError::NoAnswer(e.to_string()))
    }
}

/// A peer that cannot be asked, or cannot answer, is left alone for a moment; one that was slow is asked again.
fn rpc_error(error: CallError) -> RPCError<u64, Peer, RaftError<u64>> {
    match error {
        CallError::NoAnswer(_) => RPCError::Network(NetworkError::new(&error)),
        CallError::NotSent(_) | CallError::Failed(_) => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

impl RaftNetwork<Types> for Remote {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        let sent = self.lease.sending(&rpc.vote, &rpc.entries);
        let answer = self
            .ask(Lane::Raft, Kind::Append, &(&rpc, self.skips.marks()), option.hard_ttl())
            .await
            .map_err(rpc_error)?;
        let taken = matches!(answer, AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_));
        if let Some(sent) = sent.filter(|_| taken) {
            self.lease.taken(&rpc.vote, self.target, sent);
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, Peer, RaftError<u64>>> {
        self.ask(Lane::Raft, Kind::Vote, &rpc, option.hard_ttl()).await.map_err(rpc_error)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send_snapshot(self, vote, snapshot, option.hard_ttl()) => sent.map_err(|error| match error {
                CallError::NoAnswer(_) => StreamingError::Timeout(Timeout {
                    action: RPCTypes::InstallSnapshot,
                    id: self.network.peers.me().node,
                    target: self.target,
                    timeout: option.hard_ttl(),
                }),
                error => StreamingError::Unreachable(Unreachable::new(&error)),
            }),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}
