//! Writes a whole backup: asks the leader of each group for its section, one after the other, control last.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tidings_contract::PartitionId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use xxhash_rust::xxh3::Xxh3;

use super::format::{Frame, Head, Last, MAGIC, Sum, VERSION, body_of, frame_of, record};
use super::sessions::{Ask, Begun};
use crate::codec;
use crate::error::ProposeError;
use crate::failing::words;
use crate::ledgers::{Inner, Ledgers};
use crate::peers::{Kind, Lane};
use crate::types::GroupId;
use tidings_contract::Clock;

/// How long a group may be without a leader before the backup is given up.
const LEADER: Duration = Duration::from_secs(30);
/// How long the first group may be without one before nothing is begun.
const FIRST: Duration = Duration::from_secs(5);
/// Wait between two questions for a leader.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time of one question to another node.
const ANSWER: Duration = Duration::from_secs(25);
/// How often one section may be begun.
const TRIES: usize = 8;
/// A reader that takes nothing for so long is given up.
const STALLED: Duration = Duration::from_secs(60);
/// Chunks written ahead of the reader.
const AHEAD: usize = 2;

/// Why there is no backup, or why it broke off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to take a backup of.
    #[error("this node is of no cluster yet")]
    NotFounded,
    /// One at a time, so that a backup costs the cluster little.
    #[error("another backup is being taken at this node")]
    Busy,
    /// A group could not be asked.
    #[error("{group} could not be read: {why}")]
    Unreadable {
        /// Which.
        group: String,
        /// Why.
        why: String,
    },
    /// The reader took nothing for a minute.
    #[error("the backup was not taken in time")]
    Stalled,
}

/// A backup that is being taken. The file is whole only when [`Backup::next`] has given everything without an error.
#[derive(Debug)]
pub struct Backup {
    /// The cluster it is taken from.
    pub cluster: String,
    /// Sections there will be.
    pub sections: u32,
    chunks: mpsc::Receiver<Result<Bytes, BackupError>>,
}

impl Backup {
    /// The next bytes of the file; `None` at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BackupError>> {
        self.chunks.recv().await
    }
}

impl Ledgers {
    /// Begins to take a backup of the whole cluster. Everything that was accepted before this call is in it.
    ///
    /// # Errors
    /// See [`BackupError`]; a group whose leader cannot be found at once is `Unreadable`.
    pub async fn backup(&self) -> Result<Backup, BackupError> {
        let inner = &self.inner;
        let busy = Arc::clone(&inner.backing_up).try_acquire_owned().map_err(|_| BackupError::Busy)?;
        let cluster = self.read_control(|control| control.cluster.clone()).ok_or(BackupError::NotFounded)?;
        let mut groups: Vec<GroupId> =
            (0..cluster.partitions).map(|number| GroupId::Partition(PartitionId(number))).collect();
        groups.push(GroupId::Control);
        // A cluster that cannot be read at all is told so at once, not in the middle of a file.
        let first = inner.begin_anywhere(groups[0], FIRST).await?;
        let facts = (cluster.id.clone(), cluster.partitions, cluster.replication);
        let head = Head::new(facts, inner.ground.clock.now(), &inner.ground.options.secret);
        let sections = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let (to, chunks) = mpsc::channel(AHEAD);
        let writing = Writing { inner: Arc::clone(inner), to, hash: Xxh3::new(), sections: 0 };
        inner.spawn("a backup", async move {
            // The file has no last record then, so nobody takes it for a backup; the node goes on.
            let written = std::panic::AssertUnwindSafe(writing.run(head, groups, first)).catch_unwind().await;
            if let Err(panic) = written {
                tracing::error!(why = words(&*panic), "a backup broke off: its task panicked");
            }
            drop(busy);
        });
        Ok(Backup { cluster: cluster.id, sections, chunks })
    }
}

/// A section that was begun: the node that gives it, and its number there.
type Source = (u64, u64);

impl Inner {
    /// Begins a section at the group's leader, wherever that is.
    async fn begin_anywhere(&self, id: GroupId, within: Duration) -> Result<Source, BackupError> {
        let until = Instant::now() + within;
        let mut node = self.leader_of(id);
        let mut turn = 0;
        loop {
            let asked = match node {
                Some(node) => node,
                None => self.somebody(id, turn),
            };
            turn += 1;
            let why = match self.begin_at(asked, id).await {
                Ok(number) => return Ok((asked, number)),
                Err(ProposeError::NotLeader { leader: Some((leader, _)) }) if leader != asked => {
                    node = Some(leader);
                    format!("node {asked} does not lead it")
                }
                Err(error) => {
                    node = self.leader_of(id).filter(|leader| *leader != asked);
                    error.to_string()
                }
            };
            if Instant::now() + PAUSE >= until {
                return Err(BackupError::Unreadable { group: id.to_string(), why });
            }
            sleep(PAUSE).await;
        }
    }

    /// Some node that may know who leads a group; another one each turn.
    fn somebody(&self, id: GroupId, turn: usize) -> u64 {
        let nodes: Vec<u64> = self.control.host().read(|control| match id {
            GroupId::Control => control.nodes.keys().copied().collect(),
            GroupId::Partition(partition) => control.placement.get(&partition).cloned().unwrap_or_default(),
        });
        nodes.get(turn % nodes.len().max(1)).copied().unwrap_or_else(|| self.node())
    }

    async fn begin_at(&self, node: u64, id: GroupId) -> Begun {
        if node == self.node() {
            return self.begin_section(id).await;
        }
        let answer = self.ask_for_section(node, id, Ask::Begin).await.map_err(ProposeError::Refused)?;
        codec::decode::<Begun>(&answer).map_err(|e| ProposeError::Refused(e.to_string()))?
    }

    async fn records_from(&self, node: u64, id: GroupId, number: u64) -> Result<Vec<Bytes>, String> {
        if node == self.node() {
            return self.next_records(number).await;
        }
        let answer = self.ask_for_section(node, id, Ask::Next(number)).await?;
        codec::decode(&answer).map_err(|e| e.to_string())
    }

    async fn ask_for_section(&self, node: u64, id: GroupId, ask: Ask) -> Result<Bytes, String> {
        let body = codec::encode(&(id, ask)).map_err(|e| e.to_string())?;
        let answer = self.peers.call(node, None, Lane::Bulk, Kind::Backup, body.into(), ANSWER).await;
        answer.map_err(|e| e.to_string())
    }
}

struct Writing {
    inner: Arc<Inner>,
    to: mpsc::Sender<Result<Bytes, BackupError>>,
    hash: Xxh3,
    sections: u32,
}

/// Why the writing ends early.
enum Stop {
    /// The reader has gone.
    Gone,
    Failed(BackupError),
}

impl Writing {
    async fn run(mut self, head: Head, groups: Vec<GroupId>, first: Source) {
        match self.write(head, groups, first).await {
            Ok(()) | Err(Stop::Gone) => {}
            Err(Stop::Failed(error)) => {
                tracing::warn!(%error, "a backup broke off");
                let _gone = timeout(STALLED, self.to.send(Err(error))).await;
            }
        }
    }

    async fn write(&mut self, head: Head, groups: Vec<GroupId>, first: Source) -> Result<(), Stop> {
        self.send([&MAGIC[..], &VERSION.to_le_bytes()].concat()).await?;
        self.frame(&Frame::Head(head)).await?;
        let mut begun = Some(first);
        for group in groups {
            self.section(group, begun.take()).await?;
            self.sections += 1;
        }
        let last = Last { sections: self.sections, checksum: self.hash.digest() };
        self.frame(&Frame::Last(last)).await
    }

    /// Writes the section of a group; when its replica goes away under way, the group begins again at its next leader.
    async fn section(&mut self, id: GroupId, mut begun: Option<Source>) -> Result<(), Stop> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let source = match begun.take() {
                Some(source) => source,
                None => self.inner.begin_anywhere(id, LEADER).await.map_err(Stop::Failed)?,
            };
            match self.copy(id, source).await? {
                Copied::Whole => return Ok(()),
                Copied::Nothing(reason) => why = reason,
                Copied::Part(reason) => {
                    why = reason;
                    self.frame(&Frame::Void).await?;
                }
            }
            tracing::info!(group = %id, why, "the group's part of a backup begins again");
        }
        Err(Stop::Failed(BackupError::Unreadable { group: id.to_string(), why }))
    }

    /// Copies records as they come. The last one is held back until it is known to be the last: the end of the section,
    /// which must tell what was copied.
    async fn copy(&mut self, id: GroupId, (node, number): Source) -> Result<Copied, Stop> {
        let (mut sum, mut held): (Sum, Option<Bytes>) = (Sum::default(), None);
        let mut written = false;
        loop {
            let batch = match self.inner.records_from(node, id, number).await {
                Ok(batch) => batch,
                Err(why) => return Ok(Copied::broken(written, why)),
            };
            let ended = batch.is_empty();
            let mut chunk = Vec::new();
            for body in batch {
                if let Some(before) = held.replace(body) {
                    sum.add(&before);
                    chunk.extend_from_slice(&record(&before).map_err(|e| unreadable(id, e))?);
                }
            }
            if !chunk.is_empty() {
                written = true;
                self.send(chunk).await?;
            }
            if !ended {
                continue;
            }
            let Some(last) = held else { return Ok(Copied::Nothing("it is empty".to_owned())) };
            return match frame_of(&last) {
                Ok(Frame::End(end)) if end == sum.end(end.index, end.term) => {
                    self.send(record(&last).map_err(|e| unreadable(id, e))?).await?;
                    Ok(Copied::Whole)
                }
                _ => Ok(Copied::broken(written, "what came is not what was sent".to_owned())),
            };
        }
    }

    async fn frame(&mut self, frame: &Frame) -> Result<(), Stop> {
        let unwritable = |e: codec::CodecError| unreadable(GroupId::Control, e);
        let body = body_of(frame).map_err(unwritable)?;
        self.send(record(&body).map_err(unwritable)?).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Stop> {
        self.hash.update(&bytes);
        match timeout(STALLED, self.to.send(Ok(bytes.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stop::Gone),
            Err(_) => Err(Stop::Failed(BackupError::Stalled)),
        }
    }
}

/// How far a section came.
enum Copied {
    Whole,
    /// Nothing of it was written.
    Nothing(String),
    /// Some of it was written and is void.
    Part(String),
}

impl Copied {
    fn broken(written: bool, why: String) -> Self {
        if written { Self::Part(why) } else { Self::Nothing(why) }
    }
}

fn unreadable(group: GroupId, error: codec::CodecError) -> Stop {
    Stop::Failed(BackupError::Unreadable { group: group.to_string(), why: error.to_string() })
}
