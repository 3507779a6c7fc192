//! What a process remembers of one partition beside the actors: it outlives their restarts and holds no truth.

use std::sync::atomic::AtomicU64;

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
        }
    }
}
