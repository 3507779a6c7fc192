//! Passing over an entry that every replica dies of: the last way out, by the word of an operator.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::EntryPayload;
use tidings_contract::Time;
use tidings_machine::control::{Action, Answer, Command};
use tokio::time::{sleep, timeout};

use crate::error::OpenError;
use crate::host::{count_of, stamp_of};
use crate::ledgers::{Inner, Ledgers};
use crate::options::Options;
use crate::store::{Disk, DiskLog, DiskOptions, SnapshotStore, skips};
use crate::types::{GroupId, LogId};

/// How often it is looked whether there is something to be noted.
const LOOK: Duration = Duration::from_secs(2);
/// How long control may take to note one; it is tried again.
const NOTE: Duration = Duration::from_secs(5);

/// An entry that is passed over from the next start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The term in which it was proposed.
    pub term: u64,
    /// When its leader stamped it, if it can be read.
    pub at: Option<Time>,
    /// How many commands it holds, if it can be read.
    pub commands: Option<u32>,
    /// It was marked before.
    pub again: bool,
}

/// Has the replica of `group` in a data directory pass over the entry at `index` of its log, from the next start on. To be
/// called while no node runs on the directory, on every node that dies of the entry; the others take it over from their
/// leader. Whatever the entry was to do is not done, and who proposed it may have been told that it was kept.
///
/// # Errors
/// See [`OpenError`]; also when the log has no such entry, when the entry holds no commands, and when a snapshot on this disk
/// was made after the entry was taken in.
pub async fn skip_entry(options: &Options, group: GroupId, index: u64) -> Result<Skipped, OpenError> {
    if !options.data_dir.join("ledger").join("db").exists() {
        return Err(OpenError::Option(format!("there is no data in {}", options.data_dir.display())));
    }
    let disk = Disk::open(&DiskOptions::of(options)).await?;
    let damaged = |why: String| OpenError::Damaged { what: format!("log of {group}"), why };
    let (entry, span) = DiskLog::entry_at(&disk, group, index).map_err(|e| damaged(e.to_string()))?;
    let Some(entry) = entry else {
        let holds = match span {
            Some((first, last)) => format!("the log of {group} on this disk goes from entry {first} to {last}"),
            None => format!("this disk has no log of {group}"),
        };
        return Err(OpenError::Option(format!("there is no entry {index} here: {holds}")));
    };
    let EntryPayload::Normal(blob) = &entry.payload else {
        return Err(OpenError::Option(format!("entry {index} of {group} holds no commands: nothing can die of it")));
    };
    let taken_in = SnapshotStore::newest(&disk, group).map_err(|e| damaged(e.to_string()))?;
    if let Some(snapshot) = taken_in.filter(|snapshot| *snapshot >= index) {
        return Err(OpenError::Option(format!(
            "a snapshot on this disk goes to entry {snapshot} of {group}, so it was taken in here; start this node with an \
             empty data directory instead, and the others fill it"
        )));
    }
    let mut marks = skips::kept(&disk, group).map_err(damaged)?;
    let again = !marks.insert(entry.log_id);
    skips::keep(&disk, group, &marks).await.map_err(OpenError::Option)?;
    Ok(Skipped { term: entry.log_id.leader_id.term, at: stamp_of(&blob.0), commands: count_of(&blob.0), again })
}

impl Ledgers {
    /// Of each group here whose leader passes over other entries than this replica: that nothing is taken from it, and why.
    pub fn apart(&self) -> Vec<String> {
        self.inner.groups().iter().filter_map(|group| group.skips().differs()).collect()
    }
}

/// Has control note what the replicas here pass over, once for each life of the process; control notes each entry once. A task of
/// its own: while nobody leads control it waits, and the keeper must not.
pub(crate) async fn report(inner: Weak<Inner>) {
    let mut noted = BTreeSet::new();
    loop {
        sleep(LOOK).await;
        let Some(inner) = inner.upgrade() else { return };
        for group in inner.groups() {
            for mark in group.skips().marks().into_iter().map(|id| Mark { group: group.id(), entry: id }) {
                if !noted.contains(&mark) && note(&inner, mark).await {
                    noted.insert(mark);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    group: GroupId,
    entry: LogId,
}

async fn note(inner: &Arc<Inner>, mark: Mark) -> bool {
    let (term, index) = (mark.entry.leader_id.term, mark.entry.index);
    let action = Action::NoteSkip { group: mark.group.to_string(), term, index };
    let ledgers = Ledgers { inner: Arc::clone(inner) };
    let noting = ledgers.propose_control(vec![Command { by: "cluster".into(), action }]);
    let answers = timeout(NOTE, noting).await;
    matches!(answers, Ok(Ok(answers)) if answers.first() == Some(&Answer::Done))
}
