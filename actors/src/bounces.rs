//! Hands addresses that turned out to be nobody's on to the partitions where their suppression lists are, for the partitions
//! this process owns. What is to be handed on stands in the state; doing it twice changes nothing.

use std::sync::Arc;

use tidings_contract::{PartitionId, partition_of};
use tidings_machine::partition::{Command, ReceiptCommand, Suppress};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use crate::LedgerError;
use crate::asking::each_owned;
use crate::switchboard::Switchboard;

/// Most addresses of a partition that are handed on in one look.
const MOST: usize = 100;

/// Whether addresses are being handed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandingOn(Arc<Mutex<()>>);

impl HandingOn {
    /// Begins to hand on what waits, unless that is under way.
    pub(crate) fn look(&self, board: &Arc<Switchboard>, tasks: &mut JoinSet<()>) {
        let mut waiting: Vec<(PartitionId, Suppress)> = Vec::new();
        each_owned(board, |partition, state| {
            waiting.extend(state.bounces_elsewhere().take(MOST).map(|wish| (partition, wish.clone())));
        });
        if waiting.is_empty() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.0).try_lock_owned() else { return };
        tasks.spawn(hand_on(Arc::clone(board), waiting, turn));
    }
}

async fn hand_on(board: Arc<Switchboard>, waiting: Vec<(PartitionId, Suppress)>, _turn: OwnedMutexGuard<()>) {
    let mut partitions = 1;
    board.parts.ledger.with_control(&mut |control| {
        partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
    });
    for (partition, wish) in waiting {
        if let Err(error) = hand_on_one(&board, partition, partitions, wish).await {
            // It waits in the state and comes up in the next look.
            tracing::debug!(%partition, %error, "an address could not be suppressed yet where its list is");
        }
    }
}

async fn hand_on_one(
    board: &Switchboard,
    partition: PartitionId,
    partitions: u16,
    wish: Suppress,
) -> Result<(), LedgerError> {
    let (address, channel) = (wish.address.clone(), wish.channel.clone());
    let home = partition_of(&address, partitions);
    // A list that is full says so at home; nobody can do more about it here.
    board.parts.ledger.propose(home, vec![Command::Suppress(Box::new(wish))]).await?;
    let done = Command::Receipt(ReceiptCommand::HandedOn { address, channel });
    board.parts.ledger.propose(partition, vec![done]).await.map(|_| ())
}
