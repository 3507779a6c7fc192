//! The deliveries of one message in one partition, in the order of their ids.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId};
use tidings_machine::partition::{Partition, State};

use super::{Question, Summary};
use crate::app::Shared;

/// Ended deliveries read from the archive at once.
const READ_AT_ONCE: usize = 1_000;

/// Asks a partition for its deliveries of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OfMessage {
    pub partition: PartitionId,
    pub message: MessageId,
    /// Only those with greater ids.
    pub after: Option<DeliveryId>,
    /// Most summaries; the states of all are counted anyway.
    pub limit: usize,
}

/// The deliveries of a message in one partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Siblings {
    /// Every delivery and where it stands.
    pub states: BTreeMap<DeliveryId, State>,
    /// The first ones behind the place asked for.
    pub summaries: Vec<Summary>,
}

impl Question for OfMessage {
    const KIND: u16 = 3;
    type Answer = Siblings;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Siblings, String> {
        let mut found = BTreeMap::new();
        let wanted = |id: DeliveryId| self.after.is_none_or(|after| id > after);
        app.ledger
            .partition(self.partition, |p| {
                pending(p, self.message, |s| {
                    found.insert(s.id, s);
                })
            })
            .ok_or("no replica here")?;
        let archive = app.ledger.archive(self.partition).ok_or("no archive here")?;
        let mut states: BTreeMap<DeliveryId, State> = found.iter().map(|(id, s)| (*id, s.state)).collect();
        found.retain(|id, _| wanted(*id));
        let mut after = None;
        loop {
            let some = archive.of_message(self.message, after, READ_AT_ONCE).await.map_err(|e| e.to_string())?;
            let full = some.len() >= READ_AT_ONCE;
            after = some.last().map(|ended| ended.delivery.id);
            for ended in some {
                let id = ended.delivery.id;
                states.insert(id, ended.delivery.state);
                if wanted(id) {
                    found.insert(id, Summary::new(&ended.delivery, &ended.sheet));
                }
            }
            while found.len() > self.limit {
                found.pop_last();
            }
            if !full {
                return Ok(Siblings { states, summaries: found.into_values().collect() });
            }
        }
    }
}

/// Shows the pending deliveries of a message.
fn pending(partition: &Partition, message: MessageId, mut see: impl FnMut(Summary)) {
    // The scan excludes its start, which may itself be a delivery.
    let first = DeliveryId::new(message, 0, PartitionId(0));
    let at_first = partition.delivery(&first);
    let others = partition.pending(Some(first)).take_while(|(delivery, _)| delivery.id.message() == message);
    for (delivery, sheet) in at_first.into_iter().chain(others) {
        see(Summary::new(&delivery, &sheet));
    }
}
