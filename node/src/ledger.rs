//! The one door to the replicated state: raft's groups, as this crate and the actors want to see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidings_actors::{Lease, Ledger, LedgerError};
use tidings_contract::{PartitionId, Time};
use tidings_machine::control::{self, Control};
use tidings_machine::partition::{Answer, Command, Hint, Partition};
use tidings_raft::{
    Archive, AskHandler, Backup, BackupError, DiskUse, GroupId, GroupStatus, Ledgers, ProbeError, ProposeError,
    QuietHandler, RepairedGroup, Role, Tenure, TimeReport,
};
use tokio::sync::{mpsc, watch};

use crate::guard::DISK_MS;
use crate::look::GroupView;
use crate::problem::{Code, Problem};

/// The groups of this node.
#[derive(Debug)]
pub(crate) struct NodeLedger {
    ledgers: Ledgers,
}

/// Why a proposal was not answered, by what the caller should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// Certainly not kept: nobody leads. Again, a little later.
    NotKept(String),
    /// Certainly not kept: no room. Again, when there is.
    Full(String),
    /// Certainly not kept: the leader's disk takes no writes. Again, when somebody has made room.
    DiskFull(String),
    /// Certainly not kept, and it never will be: it is larger than what is kept at once.
    TooLarge(String),
    /// Nobody can tell. Again, with the same command, if it is idempotent.
    Unknown(String),
    /// Certainly not kept: the node is ending.
    Closed,
}

impl Setback {
    /// What went wrong, for people.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::NotKept(why) | Self::Full(why) | Self::DiskFull(why) | Self::TooLarge(why) | Self::Unknown(why) => {
                why
            }
            Self::Closed => "the node is stopping",
        }
    }
}

impl From<ProposeError> for Setback {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { .. } | ProposeError::Refused(_) => Self::NotKept(error.to_string()),
            ProposeError::Full(_) => Self::Full(error.to_string()),
            ProposeError::DiskFull(_) => Self::DiskFull(error.to_string()),
            ProposeError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            ProposeError::Unknown(_) => Self::Unknown(error.to_string()),
            ProposeError::Shutdown => Self::Closed,
        }
    }
}

impl From<Setback> for LedgerError {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::NotKept(why) | Setback::Full(why) | Setback::DiskFull(why) | Setback::TooLarge(why) => {
                Self::Refused(why)
            }
            Setback::Unknown(why) => Self::Unknown(why),
            Setback::Closed => Self::Closed,
        }
    }
}

impl From<Setback> for Problem {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::NotKept(why) => Self::new(Code::NoLeader, why),
            Setback::Full(why) => Self::new(Code::Full, why),
            Setback::DiskFull(why) => Self::new(Code::DiskFull, why).come_back_in(DISK_MS),
            Setback::TooLarge(why) => Self::new(Code::TooLarge, why),
            Setback::Unknown(why) => Self::new(Code::Timeout, why),
            Setback::Closed => Self::new(Code::Stopping, "the node is stopping"),
        }
    }
}

impl NodeLedger {
    pub(crate) fn new(ledgers: Ledgers) -> Self {
        Self { ledgers }
    }

    /// Closes all groups and lets go of the disk.
    pub(crate) async fn shutdown(&self) {
        self.ledgers.clone().shutdown().await;
    }

    /// Changes how long proposals may take that bring no deadline of their own.
    pub(crate) fn set_propose_within(&self, within: Duration) {
        self.ledgers.set_propose_within(within);
    }

    /// Installs what is asked before a partition is handed over.
    pub(crate) fn before_hand_over(&self, handler: QuietHandler) {
        self.ledgers.before_hand_over(handler);
    }

    /// Hands over what is led here, and gives what could not be.
    pub(crate) async fn leave(&self, within: Duration) -> Vec<String> {
        self.ledgers.leave(within).await.iter().map(ToString::to_string).collect()
    }

    /// Why this process has to end and start again, if it has to.
    pub(crate) fn failure(&self) -> Option<String> {
        self.ledgers.failure()
    }

    /// Of each replica here that takes nothing from its leader, because they passed an entry in different ways: why.
    pub(crate) fn apart(&self) -> Vec<String> {
        self.ledgers.apart()
    }

    /// Installs what answers the questions of other nodes.
    pub(crate) fn on_ask(&self, handler: AskHandler) {
        self.ledgers.on_ask(handler);
    }

    /// The local replica of a partition, whole.
    #[cfg(feature = "sim")]
    pub(crate) fn replica(&self, partition: PartitionId) -> Option<tidings_raft::sim::Replica> {
        self.ledgers.replica(partition)
    }

    /// This node's number.
    pub(crate) fn node(&self) -> u64 {
        self.ledgers.node()
    }

    /// Asks a partition, wherever it is led.
    pub(crate) async fn propose(&self, partition: PartitionId, commands: Vec<Command>) -> Result<Vec<Answer>, Setback> {
        self.ledgers.propose(partition, commands).await.map_err(Setback::from)
    }

    /// Asks a partition, wherever it is led, and gives up when `within` has passed.
    pub(crate) async fn propose_within(
        &self,
        partition: PartitionId,
        commands: Vec<Command>,
        within: Duration,
    ) -> Result<Vec<Answer>, Setback> {
        self.ledgers.propose_within(partition, commands, within).await.map_err(Setback::from)
    }

    /// Asks control for one change, and returns once this node knows of it.
    pub(crate) async fn change(&self, by: &str, action: control::Action) -> Result<control::Answer, Setback> {
        let command = control::Command { by: by.to_owned(), action };
        let answers = self.ledgers.propose_control(vec![command]).await?;
        // Whoever reads what they wrote, on the same node, should find it. The change is made even if this fails.
        if let Err(setback) = self.fresh_control().await {
            tracing::debug!(?setback, "control changed, but this node does not know of it yet");
        }
        answers.into_iter().next().ok_or_else(|| Setback::Unknown("control gave no answer".to_owned()))
    }

    /// Shows control as this node knows it. `look` must be quick.
    pub(crate) fn control<T>(&self, look: impl FnOnce(&Control) -> T) -> T {
        self.ledgers.read_control(look)
    }

    /// Grows with every change of control that this node knows of.
    pub(crate) fn control_state(&self) -> u64 {
        *self.ledgers.control_version().borrow()
    }

    /// Returns once this node knows everything that was committed to control before the call.
    pub(crate) async fn fresh_control(&self) -> Result<(), Setback> {
        self.ledgers.fresh_control().await.map_err(Setback::from)
    }

    /// Whether this node leads a partition at this moment.
    pub(crate) fn surely_leads(&self, partition: PartitionId) -> bool {
        self.ledgers.surely_leads(partition)
    }

    /// Returns once the local replica of a partition shows everything that was accepted before the call; see
    /// [`Ledgers::fresh`].
    pub(crate) async fn fresh(&self, partition: PartitionId, within: Duration) -> Result<(), Setback> {
        self.ledgers.fresh(partition, within).await.map_err(Setback::from)
    }

    /// Shows the local replica of a partition, if there is one. `look` must be quick.
    pub(crate) fn partition<T>(&self, partition: PartitionId, look: impl FnOnce(&Partition) -> T) -> Option<T> {
        self.ledgers.read(partition, look)
    }

    /// The newest of the present and of the times of all groups with a replica here.
    pub(crate) fn latest_time(&self) -> Time {
        self.ledgers.latest_time()
    }

    /// The time of control, as this node knows it.
    pub(crate) fn control_time(&self) -> Time {
        self.ledgers.control_time()
    }

    /// How this node's clock and the cluster's time stand.
    pub(crate) fn time_report(&self) -> TimeReport {
        self.ledgers.time_report()
    }

    /// Sets this node's present to agreed time and that of the groups led here back; see [`Ledgers::repair_time`].
    pub(crate) async fn repair_time(&self) -> Result<Vec<RepairedGroup>, String> {
        self.ledgers.repair_time().await
    }

    /// The time that a majority of the machines' clocks agrees on, if one does.
    pub(crate) fn agreed_time(&self) -> Option<Time> {
        self.ledgers.agreed_time()
    }

    /// The archive of the local replica, if there is one.
    pub(crate) fn archive(&self, partition: PartitionId) -> Option<Archive> {
        self.ledgers.archive(partition)
    }

    /// The node that leads a partition, as far as is known here.
    pub(crate) fn leader_of(&self, partition: PartitionId) -> Option<u64> {
        self.ledgers.leader_of(partition)
    }

    /// Those of `partitions` that nobody leads, as well as this node can tell: a leader that has heard no majority for
    /// `patience` is none, and neither is one that the local replica has given up.
    pub(crate) fn leaderless(&self, partitions: &[PartitionId], patience: Duration) -> Vec<PartitionId> {
        let here: BTreeMap<String, GroupStatus> =
            self.ledgers.status().into_iter().map(|status| (status.group.to_string(), status)).collect();
        let led = |partition: &PartitionId| match here.get(&partition.to_string()) {
            Some(GroupStatus { role: Role::Leader, since_majority_ms, replicas, .. }) => {
                replicas.len() == 1 || since_majority_ms.is_some_and(|ms| u128::from(ms) <= patience.as_millis())
            }
            Some(status) => status.leader.is_some(),
            // Held by other nodes only: they are asked.
            None => true,
        };
        partitions.iter().filter(|partition| !led(partition)).copied().collect()
    }

    /// Those of `partitions` that this node cannot judge: it has no replica of them, or one that is left over from before
    /// they were placed on other nodes, which nobody tells anything any more.
    pub(crate) fn elsewhere(&self, partitions: &[PartitionId]) -> Vec<PartitionId> {
        let (me, mut here) = (self.ledgers.node(), self.ledgers.hosted());
        self.control(|control| {
            here.retain(|partition| control.placement.get(partition).is_some_and(|nodes| nodes.contains(&me)));
        });
        partitions.iter().filter(|partition| !here.contains(partition)).copied().collect()
    }

    /// How the groups of this node stand.
    pub(crate) fn status(&self) -> Vec<GroupView> {
        let view = |status: GroupStatus| GroupView {
            name: status.group.to_string(),
            leader: status.leader,
            term: status.term,
            log_length: Some(status.log_length),
            voters: status.replicas.iter().filter(|(_, replica)| replica.voter).map(|(node, _)| *node).collect(),
            replicas: status.replicas.into_iter().map(|(node, replica)| (node, replica.lag)).collect(),
            applied: status.applied_index,
            last_log: status.last_index,
            waiting: status.waiting,
        };
        self.ledgers.status().into_iter().map(view).collect()
    }

    /// The node that leads a group, as far as is known here.
    pub(crate) fn group_leader(&self, group: GroupId) -> Option<u64> {
        match group {
            GroupId::Control => self.ledgers.control_leader(),
            GroupId::Partition(partition) => self.ledgers.leader_of(partition),
        }
    }

    /// Hands a group that is led here to another node.
    pub(crate) async fn hand_over(&self, group: GroupId, to: u64) -> Result<(), String> {
        self.ledgers.transfer(group, to).await
    }

    /// How much of the disk is used.
    pub(crate) fn disk_use(&self) -> Option<DiskUse> {
        self.ledgers.disk_use()
    }

    /// Why this node is no member of its cluster any more, if it was removed.
    pub(crate) fn dismissed(&self) -> Option<String> {
        self.ledgers.dismissed()
    }

    /// Whether the disk keeps a check value of the cluster's secret.
    pub(crate) fn secret_is_known(&self) -> bool {
        self.ledgers.secret_is_known()
    }

    /// Keeps a check value of the cluster's secret.
    pub(crate) async fn keep_secret_check(&self) -> std::io::Result<()> {
        self.ledgers.keep_secret_check().await
    }

    /// Whether the disk of a node has not been heard of for some seconds.
    pub(crate) fn disk_is_quiet(&self, node: u64) -> bool {
        self.ledgers.disk_is_quiet(node)
    }

    /// Why the disk of this node counts for nothing in its cluster, if it does not.
    pub(crate) fn unaccepted(&self) -> Option<String> {
        self.ledgers.unaccepted()
    }

    /// Why the disk takes no writes, if it takes none.
    pub(crate) fn disk_trouble(&self) -> Option<String> {
        self.ledgers.disk_trouble()
    }

    /// Founds a cluster with this node alone.
    pub(crate) async fn found(&self, action: control::Action) -> Result<control::Answer, Setback> {
        self.ledgers.found(control::Command { by: "cluster".to_owned(), action }).await.map_err(Setback::from)
    }

    /// Meets the node that is said to be at `address`.
    pub(crate) async fn probe(&self, node: u64, address: &str, within: Duration) -> Result<(), ProbeError> {
        self.ledgers.probe(node, address, within).await
    }

    /// Begins to take a backup of the whole cluster.
    pub(crate) async fn backup(&self) -> Result<Backup, BackupError> {
        self.ledgers.backup().await
    }

    /// Asks another node a question of that kind.
    pub(crate) async fn ask(&self, node: u64, kind: u16, question: Bytes, within: Duration) -> Result<Bytes, String> {
        self.ledgers.ask(node, kind, question, within).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Ledger for NodeLedger {
    fn node(&self) -> u64 {
        self.ledgers.node()
    }

    async fn propose(&self, partition: PartitionId, commands: Vec<Command>) -> Result<Vec<Answer>, LedgerError> {
        Self::propose(self, partition, commands).await.map_err(LedgerError::from)
    }

    async fn change(&self, action: control::Action) -> Result<control::Answer, LedgerError> {
        let command = control::Command { by: "cluster".to_owned(), action };
        let answers = self.ledgers.propose_control(vec![command]).await;
        let answers = answers.map_err(|error| LedgerError::from(Setback::from(error)))?;
        // Whoever asks about a breaker acts on what control says next.
        if let Err(setback) = self.fresh_control().await {
            tracing::debug!(?setback, "control changed, but this node does not know of it yet");
        }
        answers.into_iter().next().ok_or_else(|| LedgerError::Unknown("control gave no answer".to_owned()))
    }

    async fn fresh_control(&self) -> Result<(), LedgerError> {
        Self::fresh_control(self).await.map_err(LedgerError::from)
    }

    fn with_partition(&self, partition: PartitionId, look: &mut dyn FnMut(&Partition)) -> bool {
        self.ledgers.read(partition, look).is_some()
    }

    fn with_control(&self, look: &mut dyn FnMut(&Control)) {
        self.ledgers.read_control(look);
    }

    fn leading(&self) -> watch::Receiver<BTreeMap<PartitionId, u64>> {
        self.ledgers.leading()
    }

    fn lease(&self, partition: PartitionId, epoch: u64) -> Option<Arc<dyn Lease>> {
        self.ledgers.lease(partition, epoch).map(|tenure| Arc::new(Held(tenure)) as Arc<dyn Lease>)
    }

    fn ahead(&self, partition: PartitionId) -> Duration {
        self.ledgers.ahead(partition)
    }

    fn control_version(&self) -> watch::Receiver<u64> {
        self.ledgers.control_version()
    }

    fn hints(&self, partition: PartitionId) -> mpsc::UnboundedReceiver<Vec<Hint>> {
        self.ledgers.hints(partition)
    }
}

/// The lease of a partition that is led here, as the actors ask for it.
struct Held(Arc<Tenure>);

impl Lease for Held {
    fn left(&self) -> Option<Duration> {
        self.0.left()
    }
}
