//! Asks a question of whoever can answer it, and answers the questions of other nodes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_contract::PartitionId;
use tokio::time::Instant;

use super::{
    ChunkOf, Day, DeadGroups, DeadPage, DeadRecords, Find, HandOver, HeaderOf, Inbox, Leaderless, OfMessage, Recent,
    Rehearse, RehearseLegs, RepairTime, Sendings, Standing, Standings, Suppressed, SuppressedAddress, Totals,
};
use crate::app::{App, Shared};

/// How long another node may take to answer.
const WITHIN: Duration = Duration::from_secs(3);
/// How long a replica that may be behind may take to catch up: less than another node waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// When no further replica is asked.
const IN_ALL: Duration = Duration::from_secs(6);
/// Questions of one request that are under way at once.
const AT_ONCE: usize = 16;

/// Something one node can ask of another.
pub(crate) trait Question: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its number between nodes. Never used again for something else.
    const KIND: u16;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// The partition whose replica answers; `None` where a node tells of itself.
    fn of(&self) -> Option<PartitionId>;

    /// Whether the answer denies nothing, so that a replica that may be behind can give it. A list may lack what was accepted
    /// a moment ago, so it always denies something.
    fn stands(&self, _answer: &Self::Answer) -> bool {
        false
    }

    /// Answers from what this node has.
    ///
    /// # Errors
    /// Why this node cannot: it has no replica, the disk cannot be read.
    fn answer(self, app: Shared) -> impl Future<Output = Result<Self::Answer, String>> + Send;
}

/// A partition that could not be asked: no replica of it answers, or none that shows that it is not behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable(pub PartitionId);

impl App {
    /// Asks the leader of `partition`; a local replica stands in for a leader that does not answer, and any other replica
    /// where there is none. Whoever answers has shown that nothing that was accepted before is missing.
    pub(crate) async fn ask<Q: Question>(
        self: &Shared,
        partition: PartitionId,
        question: Q,
    ) -> Result<Q::Answer, Unreachable> {
        let here = self.ledger.node();
        let until = Instant::now() + IN_ALL;
        if let Some(leader) = self.ledger.leader_of(partition).filter(|leader| *leader != here) {
            match self.ask_node(leader, question.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(why) => tracing::debug!(%partition, leader, why, "the leader did not answer"),
            }
        }
        match self.answer_here(question.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(why) => tracing::debug!(%partition, why, "no replica to answer from"),
        }
        // A node without a replica learns who leads by proposing. Until it does, any replica stands in.
        let replicas = self.ledger.control(|c| c.placement.get(&partition).cloned().unwrap_or_default());
        for node in replicas.into_iter().filter(|node| *node != here) {
            let left = until.saturating_duration_since(Instant::now()).min(WITHIN);
            if left.is_zero() {
                break;
            }
            if let Ok(answer) = self.ask_node_within(node, question.clone(), left).await {
                return Ok(answer);
            }
        }
        Err(Unreachable(partition))
    }

    /// Answers from what this node has. What would deny something is said only once the replica here has everything that was
    /// committed before the question came: one that comes back, or was cut off, does not know what it missed.
    async fn answer_here<Q: Question>(self: &Shared, question: Q) -> Result<Q::Answer, String> {
        let Some(partition) = question.of() else { return question.answer(Arc::clone(self)).await };
        if !self.ledger.surely_leads(partition) {
            let known = question.clone().answer(Arc::clone(self)).await;
            if known.as_ref().is_ok_and(|answer| question.stands(answer)) {
                return known;
            }
            if let Err(setback) = self.ledger.fresh(partition, PATIENCE).await {
                return Err(format!("the replica of {partition} here may be behind: {}", setback.why()));
            }
        }
        question.answer(Arc::clone(self)).await
    }

    /// Asks one node, which may be this one.
    pub(crate) async fn ask_node<Q: Question>(self: &Shared, node: u64, question: Q) -> Result<Q::Answer, String> {
        self.ask_node_within(node, question, WITHIN).await
    }

    /// Asks one node, which may be this one, and waits no longer than `within`.
    pub(crate) async fn ask_node_within<Q: Question>(
        self: &Shared,
        node: u64,
        question: Q,
        within: Duration,
    ) -> Result<Q::Answer, String> {
        if node == self.ledger.node() {
            return self.answer_here(question).await;
        }
        let bytes = serde_json::to_vec(&question).map_err(|e| e.to_string())?;
        let bytes = self.ledger.ask(node, Q::KIND, Bytes::from(bytes), within).await?;
        serde_json::from_slice(&bytes).map_err(|e| format!("an answer that cannot be read: {e}"))
    }

    /// Asks many partitions at once; names those that could not be asked. The answers come in the order of the partitions.
    pub(crate) async fn ask_all<Q: Question>(
        self: &Shared,
        partitions: Vec<PartitionId>,
        question: impl Fn(PartitionId) -> Q,
    ) -> (Vec<(PartitionId, Q::Answer)>, Vec<String>) {
        let asked = partitions.into_iter().map(|partition| {
            let asking = self.ask(partition, question(partition));
            async move { (partition, asking.await) }
        });
        // Boxed at once: a closure that borrows keeps the compiler from seeing that the stream may move between workers.
        let asked: Vec<_> = asked.map(FutureExt::boxed).collect();
        let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        let mut given = Vec::with_capacity(answers.len());
        let mut missing = Vec::new();
        for (partition, answer) in answers {
            match answer {
                Ok(answer) => given.push((partition, answer)),
                Err(Unreachable(partition)) => missing.push(partition.to_string()),
            }
        }
        (given, missing)
    }

    /// Every partition there is.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        let count = self.ledger.control(|c| c.cluster.as_ref().map_or(0, |cluster| cluster.partitions));
        (0..count).map(PartitionId).collect()
    }
}

/// Installs the answers to the questions of other nodes.
pub(crate) fn answer_peers(app: &Shared) {
    let weak = Arc::downgrade(app);
    let handler = move |_from: u64, kind: u16, question: Bytes| answer(weak.clone(), kind, question).boxed();
    app.ledger.on_ask(Arc::new(handler));
}

/// Answers another node's question.
async fn answer(app: Weak<App>, kind: u16, question: Bytes) -> Result<Bytes, String> {
    let app = app.upgrade().ok_or("the node is stopping")?;
    let question = &question[..];
    match kind {
        Find::KIND => reply::<Find>(app, question).await,
        HeaderOf::KIND => reply::<HeaderOf>(app, question).await,
        OfMessage::KIND => reply::<OfMessage>(app, question).await,
        Recent::KIND => reply::<Recent>(app, question).await,
        DeadGroups::KIND => reply::<DeadGroups>(app, question).await,
        DeadPage::KIND => reply::<DeadPage>(app, question).await,
        DeadRecords::KIND => reply::<DeadRecords>(app, question).await,
        Totals::KIND => reply::<Totals>(app, question).await,
        Day::KIND => reply::<Day>(app, question).await,
        Standing::KIND => reply::<Standing>(app, question).await,
        HandOver::KIND => reply::<HandOver>(app, question).await,
        RepairTime::KIND => reply::<RepairTime>(app, question).await,
        Inbox::KIND => reply::<Inbox>(app, question).await,
        Sendings::KIND => reply::<Sendings>(app, question).await,
        Standings::KIND => reply::<Standings>(app, question).await,
        Leaderless::KIND => reply::<Leaderless>(app, question).await,
        ChunkOf::KIND => reply::<ChunkOf>(app, question).await,
        Rehearse::KIND => reply::<Rehearse>(app, question).await,
        RehearseLegs::KIND => reply::<RehearseLegs>(app, question).await,
        Suppressed::KIND => reply::<Suppressed>(app, question).await,
        SuppressedAddress::KIND => reply::<SuppressedAddress>(app, question).await,
        _ => Err(format!("unknown question {kind}; this node may be older than the one that asks")),
    }
}

async fn reply<Q: Question>(app: Shared, question: &[u8]) -> Result<Bytes, String> {
    let question: Q = serde_json::from_slice(question).map_err(|e| e.to_string())?;
    let answer = app.answer_here(question).await?;
    serde_json::to_vec(&answer).map(Bytes::from).map_err(|e| e.to_string())
}
