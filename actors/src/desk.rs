//! What a process remembers of one partition beside the actors: it outlives their restarts and holds no truth.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tidings_contract::PartitionId;

use crate::alarm::Alarm;
use crate::bell::Bell;
use crate::dispatcher::DispatcherMsg;
use crate::flight::Flights;
use crate::outbox::Outbox;
use crate::recorder::RecorderMsg;

/// One partition, as this process works on it.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) partition: PartitionId,
    pub(crate) flights: Flights,
    pub(crate) outbox: Outbox,
    pub(crate) alarm: Alarm,
    pub(crate) dispatcher: Bell<DispatcherMsg>,
    pub(crate) recorder: Bell<RecorderMsg>,
    /// The first epoch of this process's present tenure as owner.
    pub(crate) since: AtomicU64,
    /// Pauses that last.
    pub(crate) pauses: AtomicUsize,
    /// Letters whose attempt is claimed, made or being written down.
    pub(crate) calling: AtomicUsize,
    /// The epoch in which this process leads the partition; 0 while it does not.
    pub(crate) epoch: AtomicU64,
}

impl Desk {
    pub(crate) fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            flights: Flights::default(),
            outbox: Outbox::default(),
            alarm: Alarm::default(),
            dispatcher: Bell::default(),
            recorder: Bell::default(),
            since: AtomicU64::new(0),
            pauses: AtomicUsize::new(0),
            calling: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    /// Whether nothing new is to be begun in it.
    pub(crate) fn is_paused(&self) -> bool {
        self.pauses.load(Ordering::SeqCst) > 0
    }

    /// Whether no attempt is under way and all that came back is recorded.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calling.load(Ordering::SeqCst) == 0 && self.outbox.len() == 0
    }
}
