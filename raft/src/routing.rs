//! Getting a proposal or a fresh read to whoever leads a group, within a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::LogIdOptionExt;
use tidings_contract::PartitionId;
use tidings_machine::Machine;
use tidings_machine::control::{self, Control};
use tidings_machine::partition::{self, Partition};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::codec;
use crate::error::ProposeError;
use crate::group::Group;
use crate::ledgers::{Inner, Ledgers};
use crate::peers::{CallError, Kind, Lane};
use crate::propose::{Commands, leader_in};
use crate::types::GroupId;

/// Waits between tries while nobody leads; the last one repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
/// A forwarded proposal is given up a little later than the leader gives it up, so that its answer can arrive.
const GRACE: Duration = Duration::from_millis(500);

impl Ledgers {
    /// Asks control, wherever its leader is. The answers come once the commands are on the disks of a majority.
    ///
    /// # Errors
    /// See [`ProposeError`]; `NotLeader` and `Shutdown` of others are not seen here: they are tried elsewhere.
    pub async fn propose_control(&self, commands: Vec<control::Command>) -> Result<Vec<control::Answer>, ProposeError> {
        let local = Some(Arc::clone(&self.inner.control));
        self.inner.propose::<Control>(GroupId::Control, local, commands, self.inner.propose_within()).await
    }

    /// Asks a partition, wherever its leader is. The answers come once the commands are on the disks of a majority.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(
        &self,
        partition: PartitionId,
        commands: Vec<partition::Command>,
    ) -> Result<Vec<partition::Answer>, ProposeError> {
        self.propose_within(partition, commands, self.inner.propose_within()).await
    }

    /// Like [`Ledgers::propose`], with another deadline.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose_within(
        &self,
        partition: PartitionId,
        commands: Vec<partition::Command>,
        within: Duration,
    ) -> Result<Vec<partition::Answer>, ProposeError> {
        let local = self.inner.partition(partition);
        self.inner.propose::<Partition>(GroupId::Partition(partition), local, commands, within).await
    }

    /// Waits until local control has applied everything that was committed when this was called.
    ///
    /// # Errors
    /// `Refused` when no leader could be asked within the deadline.
    pub async fn fresh_control(&self) -> Result<(), ProposeError> {
        let until = Instant::now() + self.inner.propose_within();
        self.inner.catch_up(GroupId::Control, self.inner.control.host().applied(), until).await
    }

    /// Waits until the local replica of a partition has applied everything that was committed when this was called. Costs
    /// nothing where this node leads the partition: what was answered before, its replica had applied before.
    ///
    /// # Errors
    /// `Refused` when there is no replica here, when no leader could be asked, and when the replica is still behind after
    /// `within`.
    pub async fn fresh(&self, partition: PartitionId, within: Duration) -> Result<(), ProposeError> {
        if self.surely_leads(partition) {
            return Ok(());
        }
        let group = self.inner.partition(partition).filter(|group| group.lives());
        let group = group.ok_or_else(|| ProposeError::Refused("this node has no replica of it".into()))?;
        self.inner.catch_up(GroupId::Partition(partition), group.host().applied(), Instant::now() + within).await
    }

    /// Whether this node leads a partition at this moment, so that nobody else can have taken anything for it.
    pub fn surely_leads(&self, partition: PartitionId) -> bool {
        let term = self.inner.leading.borrow().get(&partition).copied();
        let tenure = term.and_then(|term| self.lease(partition, term));
        tenure.is_some_and(|tenure| tenure.left().is_some())
    }

    /// Who leads a partition, as far as this node knows.
    pub fn leader_of(&self, partition: PartitionId) -> Option<u64> {
        self.inner.leader_of(GroupId::Partition(partition))
    }

    /// Who leads control, as far as this node knows.
    pub fn control_leader(&self) -> Option<u64> {
        self.inner.leader_of(GroupId::Control)
    }
}

/// One search for a leader.
struct Search {
    id: GroupId,
    until: Instant,
    tries: usize,
    /// Nodes that were asked in vain since anything was learned.
    asked: Vec<u64>,
    why: String,
}

impl Search {
    fn new(id: GroupId, until: Instant) -> Self {
        Self { id, until, tries: 0, asked: Vec::new(), why: "nobody leads the group".into() }
    }

    /// Waits before the next try; an error once the time is up.
    async fn pause(&mut self) -> Result<(), ProposeError> {
        let pause = PAUSES[self.tries.min(PAUSES.len() - 1)];
        self.tries += 1;
        if Instant::now() + pause >= self.until {
            return Err(ProposeError::Refused(self.why.clone()));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl Inner {
    pub(crate) fn leader_of(&self, id: GroupId) -> Option<u64> {
        let local = self.group(id).and_then(|group| group.raft().server_metrics().borrow().current_leader);
        local.or_else(|| self.routes.lock().get(&id).copied())
    }

    /// Whom to ask next: the known leader, or somebody who may know it.
    fn target(&self, search: &Search) -> Option<u64> {
        let known = self.leader_of(search.id);
        if known.is_some_and(|leader| search.asked.last() != Some(&leader)) {
            return known;
        }
        let candidates: Vec<u64> = self.control.host().read(|control| match search.id {
            GroupId::Control => control.nodes.keys().copied().collect(),
            GroupId::Partition(partition) => control.placement.get(&partition).cloned().unwrap_or_default(),
        });
        candidates.iter().find(|node| !search.asked.contains(node)).or(candidates.first()).copied()
    }

    fn learn(&self, id: GroupId, leader: Option<u64>) {
        let mut routes = self.routes.lock();
        match leader {
            Some(leader) => drop(routes.insert(id, leader)),
            None => drop(routes.remove(&id)),
        }
    }

    async fn propose<M: Machine>(
        self: &Arc<Self>,
        id: GroupId,
        local: Option<Arc<Group<M>>>,
        commands: Vec<M::Command>,
        within: Duration,
    ) -> Result<Vec<M::Answer>, ProposeError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(why) = self.peers.me().roll.told() {
            return Err(ProposeError::Refused(why));
        }
        if let Some(why) = self.peers.me().disks.unaccepted() {
            return Err(ProposeError::Refused(why));
        }
        let mut commands = Commands::<M>::new(commands)?;
        let mut search = Search::new(id, Instant::now() + within);
        loop {
            let target = self.target(&search).unwrap_or_else(|| self.node());
            let answered = match &local {
                Some(group) if target == self.node() => group.propose(&mut commands, search.until).await,
                _ if target == self.node() => Err(ProposeError::NotLeader { leader: None }),
                _ => self.forward::<M>(id, target, &commands, search.until).await,
            };
            let leader = match answered {
                Ok(answers) => {
                    self.learn(id, Some(target));
                    return Ok(answers);
                }
                Err(ProposeError::NotLeader { leader }) => leader.map(|(leader, _)| leader),
                Err(ProposeError::Refused(why)) => {
                    search.why = why;
                    None
                }
                // That node or that replica is going away; another will lead.
                Err(ProposeError::Shutdown) if target != self.node() => None,
                Err(error) => return Err(error),
            };
            self.learn(id, leader);
            search.asked.push(target);
            match leader {
                // Somebody told us better: ask there at once, unless we were sent around before.
                Some(leader) if !search.asked.contains(&leader) => {}
                _ => {
                    search.pause().await?;
                    if leader.is_some() || search.asked.len() > 8 {
                        search.asked.clear();
                    }
                }
            }
        }
    }

    async fn forward<M: Machine>(
        &self,
        id: GroupId,
        leader: u64,
        commands: &Commands<M>,
        until: Instant,
    ) -> Result<Vec<M::Answer>, ProposeError> {
        let left = until.saturating_duration_since(Instant::now());
        let within = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let (count, encoded) = commands.encoded();
        let body = codec::encode(&(id, (count, within, encoded))).map_err(|e| ProposeError::Refused(e.to_string()))?;
        let answer = self.peers.call(leader, None, Lane::Bulk, Kind::Propose, body.into(), left + GRACE).await;
        let answer = answer.map_err(|error| match error {
            CallError::NotSent(why) | CallError::Failed(why) => ProposeError::Refused(why),
            CallError::NoAnswer(why) => ProposeError::Unknown(format!("node {leader}: {why}")),
        })?;
        let unreadable = |e: codec::CodecError| ProposeError::Unknown(format!("unreadable answer: {e}"));
        let answers: Bytes = codec::decode::<Result<Bytes, ProposeError>>(&answer).map_err(unreadable)??;
        codec::decode(&answers).map_err(unreadable)
    }

    /// How many entries of a group led here a fresh read must have applied.
    pub(crate) async fn read_index(&self, id: GroupId) -> Result<u64, ProposeError> {
        let group = self.group(id).ok_or(ProposeError::NotLeader { leader: None })?;
        // A leader that hands over must stay silent, or its followers would not elect the next one.
        if group.handing_over() {
            return Err(ProposeError::NotLeader { leader: None });
        }
        match group.raft().get_read_log_id().await {
            Ok((read, _)) => Ok(read.next_index()),
            Err(error) => match leader_in(&error) {
                Some(leader) => Err(ProposeError::NotLeader { leader: Some((leader, String::new())) }),
                None => Err(ProposeError::Refused(error.to_string())),
            },
        }
    }

    /// Waits until a replica here, whose count of applied entries is `applied`, has everything that is committed now.
    async fn catch_up(
        &self,
        id: GroupId,
        mut applied: watch::Receiver<u64>,
        until: Instant,
    ) -> Result<(), ProposeError> {
        let index = self.remote_read_index(id, until).await?;
        match timeout_at(until, applied.wait_for(|applied| *applied >= index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Shutdown),
            Err(_) => Err(ProposeError::Refused("this node is too far behind".into())),
        }
    }

    async fn remote_read_index(&self, id: GroupId, until: Instant) -> Result<u64, ProposeError> {
        let mut search = Search::new(id, until);
        loop {
            let target = self.target(&search).unwrap_or_else(|| self.node());
            let answered = if target == self.node() {
                self.read_index(id).await
            } else {
                let left = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
                let body = codec::encode(&(id, ())).map_err(|e| ProposeError::Refused(e.to_string()))?;
                let answer = self.peers.call(target, None, Lane::Raft, Kind::ReadIndex, body.into(), left).await;
                // A read may be asked for as often as one likes.
                let answer =
                    answer.map_err(|e| e.to_string()).and_then(|a| codec::decode(&a).map_err(|e| e.to_string()));
                answer.unwrap_or_else(|why| Err(ProposeError::Refused(why)))
            };
            match answered {
                Ok(index) => return Ok(index),
                Err(ProposeError::NotLeader { leader }) => self.learn(id, leader.map(|(leader, _)| leader)),
                Err(error) => search.why = error.to_string(),
            }
            search.asked.push(target);
            search.pause().await?;
            if search.asked.len() > 4 {
                search.asked.clear();
            }
        }
    }
}
