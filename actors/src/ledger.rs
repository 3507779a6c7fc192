//! What actors need of the replicated state: the only door between `actors` and whatever keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidings_contract::PartitionId;
use tidings_machine::control::{self, Control};
use tidings_machine::partition::{Answer, Command, Hint, Partition};
use tokio::sync::{mpsc, watch};

/// The replicated state, as one node sees it.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// This node's number.
    fn node(&self) -> u64;

    /// Asks a partition, wherever its leader is. The answers come in the order of the commands, after the commands are
    /// on the disks of a majority.
    ///
    /// # Errors
    /// See [`LedgerError`]; with `Unknown` some or all of the commands may take effect later.
    async fn propose(&self, partition: PartitionId, commands: Vec<Command>) -> Result<Vec<Answer>, LedgerError>;

    /// Asks control, in the cluster's own name, for one change.
    ///
    /// # Errors
    /// See [`LedgerError`]; with `Unknown` the change may take effect later.
    async fn change(&self, action: control::Action) -> Result<control::Answer, LedgerError>;

    /// Shows `look` the local replica of a partition; `false` if there is none. `look` must be quick: it holds up the replica.
    fn with_partition(&self, partition: PartitionId, look: &mut dyn FnMut(&Partition)) -> bool;

    /// Shows `look` the local replica of control. `look` must be quick.
    fn with_control(&self, look: &mut dyn FnMut(&Control));

    /// Returns once the local replica of control has everything that was committed before the call.
    ///
    /// # Errors
    /// See [`LedgerError`]; control has no leader that could be asked, or this node is too far behind.
    async fn fresh_control(&self) -> Result<(), LedgerError>;

    /// How far the time of a partition with a replica here is ahead of the present. Not at all, unless it was set wrong.
    fn ahead(&self, _partition: PartitionId) -> Duration {
        Duration::ZERO
    }

    /// The partitions this node leads, with the term in which it does.
    fn leading(&self) -> watch::Receiver<BTreeMap<PartitionId, u64>>;

    /// The lease under which this node leads a partition in that epoch; `None` if it does not. Unlike [`Ledger::leading`], which
    /// is a report and may be late, it is right whenever it is asked.
    fn lease(&self, partition: PartitionId, epoch: u64) -> Option<Arc<dyn Lease>>;

    /// Grows with every change of control.
    fn control_version(&self) -> watch::Receiver<u64>;

    /// Hints of a local replica from now on; one listener per partition, the newest wins.
    fn hints(&self, partition: PartitionId) -> mpsc::UnboundedReceiver<Vec<Hint>>;
}

/// The right to attempt deliveries of a partition, for as long as nobody else can have been elected.
pub trait Lease: Send + Sync {
    /// Whether it holds at this very moment, by a clock that a frozen process and a sleeping machine do not stop. Cheap.
    fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// How much of it is left at this moment; `None` when it is over, be it for a moment or for good.
    fn left(&self) -> Option<Duration>;
}

/// Why a proposal was not answered, by what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Certainly not kept: no leader, a full queue. Ask again, a little later.
    #[error("not kept: {0}")]
    Refused(String),
    /// Nobody can tell: the leader changed or the deadline passed while it was under way. Ask again with something idempotent.
    #[error("may have been kept: {0}")]
    Unknown(String),
    /// The process is ending.
    #[error("the ledger is closed")]
    Closed,
}
