//! Which partitions are led, asked of the nodes that hold them: what a node has no replica of, it cannot judge itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tidings_contract::PartitionId;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Question;
use crate::app::{App, Shared};

/// How long a holder may take to answer.
const WITHIN: Duration = Duration::from_millis(400);
/// Most holders that are asked about one partition, one after another.
const TURNS: usize = 3;
/// How long what they said is believed.
const FRESH: Duration = Duration::from_secs(1);

/// Asks a node which of these partitions nobody leads, as far as its replicas tell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leaderless {
    pub partitions: Vec<PartitionId>,
}

impl Question for Leaderless {
    const KIND: u16 = 20;
    type Answer = Vec<PartitionId>;

    fn of(&self) -> Option<PartitionId> {
        None
    }

    /// What it has no replica of it cannot vouch for, so that counts as led by nobody.
    async fn answer(self, app: Shared) -> Result<Vec<PartitionId>, String> {
        let mut without = app.ledger.elsewhere(&self.partitions);
        let here: Vec<_> = self.partitions.into_iter().filter(|partition| !without.contains(partition)).collect();
        without.extend(app.ledger.leaderless(&here, app.limits().election));
        Ok(without)
    }
}

/// What other nodes said last about the partitions that only they hold.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Option<(Instant, Vec<PartitionId>)>>);

impl App {
    /// Those of `partitions`, of which this node has no replica, that no holder says are led. Whoever asks while somebody
    /// else does gets the same answer.
    pub(crate) async fn leaderless_elsewhere(self: &Shared, partitions: Vec<PartitionId>) -> Vec<PartitionId> {
        if partitions.is_empty() {
            return Vec::new();
        }
        let mut said = self.said.0.lock().await;
        if let Some((at, leaderless)) = said.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            tracing::trace!(?at, "what holders said a moment ago");
            return leaderless.clone();
        }
        let leaderless = self.ask_holders(partitions).await;
        *said = Some((Instant::now(), leaderless.clone()));
        leaderless
    }

    /// Asks one holder of each partition, then the next one of those that were not vouched for.
    async fn ask_holders(self: &Shared, mut left: Vec<PartitionId>) -> Vec<PartitionId> {
        let holders = self.ledger.control(|control| control.placement.clone());
        for turn in 0..TURNS {
            let mut asked: BTreeMap<u64, Vec<PartitionId>> = BTreeMap::new();
            for partition in &left {
                if let Some(holder) = holders.get(partition).and_then(|holders| holders.get(turn)) {
                    asked.entry(*holder).or_default().push(*partition);
                }
            }
            let asking = asked.into_iter().map(|(holder, partitions)| async move {
                let question = Leaderless { partitions: partitions.clone() };
                match self.ask_node_within(holder, question, WITHIN).await {
                    Ok(without) => partitions.into_iter().filter(|p| !without.contains(p)).collect(),
                    Err(why) => {
                        tracing::debug!(holder, why, "a holder did not say which partitions are led");
                        Vec::new()
                    }
                }
            });
            let led: Vec<PartitionId> = join_all(asking).await.into_iter().flatten().collect();
            left.retain(|partition| !led.contains(partition));
            if left.is_empty() {
                break;
            }
        }
        left
    }
}
