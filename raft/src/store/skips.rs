//! Which entries of a group's log are passed over, on every replica alike.
//!
//! An entry that every replica dies of would end the group for good. An operator marks it on the disks of nodes that do not
//! run. A mark counts from the next start on: the machine is then built from its snapshot and the log, as if the entry had
//! been empty. The leader's marks travel with each of its appends and snapshots. A replica that has not come to the entry
//! takes them over; one that passed the entry in another way than its leader takes nothing from it, so that replicas never
//! differ without a word.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::disk::Disk;
use crate::codec;
use crate::seldom::Seldom;
use crate::types::{GroupId, LogId};

/// Most marks of one group.
pub(crate) const MOST: usize = 64;

/// The marks of one replica.
#[derive(Debug)]
pub(crate) struct Skips {
    disk: Disk,
    group: GroupId,
    state: Mutex<State>,
    said: Seldom,
}

#[derive(Debug, Default)]
struct State {
    marks: BTreeSet<LogId>,
    /// One more than the index of the newest entry that the machine has begun with, or has from a snapshot.
    reached: u64,
    /// Why nothing is taken from the leader.
    differs: Option<String>,
}

impl Skips {
    /// The marks that the disk has of `group`. Blocks.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn open(disk: &Disk, group: GroupId) -> Result<Self, String> {
        let state = Mutex::new(State { marks: kept(disk, group)?, ..State::default() });
        Ok(Self { disk: disk.clone(), group, state, said: Seldom::default() })
    }

    /// The name of the small value that holds the marks of `group`.
    pub(crate) fn meta_name(group: GroupId) -> String {
        format!("skips/{group}")
    }

    /// All marks, in order.
    pub(crate) fn marks(&self) -> Vec<LogId> {
        self.state.lock().marks.iter().copied().collect()
    }

    /// Why nothing is taken from the leader, if it passes over other entries than this replica.
    pub(crate) fn differs(&self) -> Option<String> {
        self.state.lock().differs.clone()
    }

    /// The machine begins with an entry: whether it passes over it.
    pub(super) fn begins(&self, entry: &LogId) -> bool {
        let mut state = self.state.lock();
        state.reached = entry.index + 1;
        state.marks.contains(entry)
    }

    /// The machine has everything up to and with `index` from a snapshot.
    pub(super) fn holds(&self, index: u64) {
        self.state.lock().reached = index + 1;
    }

    /// Compares the marks of the leader, which sent an append, with ours, and takes over those to which this replica has not
    /// come.
    ///
    /// # Errors
    /// In words, when this replica passed one of the entries in another way than its leader; then nothing must be taken from it.
    pub(crate) async fn agree(&self, leaders: &[LogId]) -> Result<(), String> {
        let new = match self.compare(leaders) {
            Ok(new) if new.is_empty() => return Ok(()),
            Ok(new) => new,
            Err(why) => return Err(self.complain(why)),
        };
        let before = self.marks();
        let wanted: BTreeSet<LogId> = before.iter().chain(&new).copied().collect();
        // On the disk first: a start then builds the machine with them. An entry that is begun with meanwhile takes them back.
        self.keep(&wanted).await?;
        if let Err(why) = self.take_over(&new) {
            self.keep(&before.into_iter().collect()).await?;
            return Err(self.complain(why));
        }
        tracing::warn!(group = %self.group, entries = ?new, "the leader passes over entries, and so does this replica");
        Ok(())
    }

    /// Takes over the marks of a leader whose snapshot, which holds everything up to and with `index`, is about to be installed.
    pub(crate) async fn succeed(&self, leaders: &[LogId], index: u64) -> Result<(), String> {
        let ours = self.marks();
        let later = ours.iter().filter(|mark| mark.index > index);
        let wanted: BTreeSet<LogId> = leaders.iter().chain(later).copied().collect();
        if wanted.iter().ne(&ours) {
            self.keep(&wanted).await?;
            let mut state = self.state.lock();
            (state.marks, state.differs) = (wanted, None);
        }
        Ok(())
    }

    /// The marks that are to be taken over.
    fn compare(&self, leaders: &[LogId]) -> Result<Vec<LogId>, String> {
        let mut state = self.state.lock();
        if let Some(ours) = state.marks.iter().find(|mark| !leaders.contains(mark)) {
            return Err(format!("this replica passes over entry {} and its leader does not", ours.index));
        }
        if leaders.len() == state.marks.len() {
            state.differs = None;
            return Ok(Vec::new());
        }
        let new: Vec<LogId> = leaders.iter().filter(|mark| !state.marks.contains(mark)).copied().collect();
        state.can_take(&new)?;
        Ok(new)
    }

    fn take_over(&self, new: &[LogId]) -> Result<(), String> {
        let mut state = self.state.lock();
        state.can_take(new)?;
        state.marks.extend(new);
        state.differs = None;
        Ok(())
    }

    async fn keep(&self, marks: &BTreeSet<LogId>) -> Result<(), String> {
        keep(&self.disk, self.group, marks).await
    }

    fn complain(&self, why: String) -> String {
        let why = format!("{}: {why}", self.group);
        if let Some(left_out) = self.said.turn(Instant::now()) {
            tracing::error!(left_out, "nothing is taken from the leader: {why}");
        }
        self.state.lock().differs = Some(why.clone());
        why
    }
}

impl State {
    fn can_take(&self, new: &[LogId]) -> Result<(), String> {
        match new.iter().find(|mark| mark.index < self.reached) {
            Some(passed) => Err(format!(
                "its leader passes over entry {0} and this replica has taken it in; stop this node and mark it here \
                 too (`tidings cluster skip`)",
                passed.index
            )),
            None => Ok(()),
        }
    }
}

/// The marks that a disk has of a group. Blocks.
pub(crate) fn kept(disk: &Disk, group: GroupId) -> Result<BTreeSet<LogId>, String> {
    let bytes = disk.meta().get(Skips::meta_name(group)).map_err(|e| e.to_string())?;
    let marks = bytes.map(|bytes| codec::decode::<Vec<LogId>>(&bytes)).transpose().map_err(|e| e.to_string())?;
    Ok(marks.unwrap_or_default().into_iter().collect())
}

/// Keeps the marks of a group durably.
pub(crate) async fn keep(disk: &Disk, group: GroupId, marks: &BTreeSet<LogId>) -> Result<(), String> {
    if marks.len() > MOST {
        return Err(format!("{group} passes over {MOST} entries already, which is the most"));
    }
    let marks: Vec<LogId> = marks.iter().copied().collect();
    let value = codec::encode(&marks).map_err(|e| e.to_string())?;
    disk.keep(Skips::meta_name(group), value).await.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DiskOptions;

    const GROUP: GroupId = GroupId::Control;

    fn id(index: u64) -> LogId {
        LogId::new(openraft::CommittedLeaderId::new(1, 1), index)
    }

    async fn disk(dir: &tempfile::TempDir) -> Disk {
        let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
        Disk::open(&options).await.expect("a disk")
    }

    #[tokio::test]
    async fn marks_of_the_leader_are_taken_over_before_their_entry_comes_and_stay_over_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let skips = Skips::open(&disk, GROUP).expect("readable");
        assert!(!skips.begins(&id(4)));
        skips.agree(&[]).await.expect("nobody passes over anything");
        skips.agree(&[id(5), id(9)]).await.expect("neither has come");
        assert!(skips.begins(&id(5)) && !skips.begins(&id(6)) && skips.begins(&id(9)));
        let again = Skips::open(&disk, GROUP).expect("readable");
        assert_eq!(again.marks(), [id(5), id(9)]);
        assert!(again.begins(&id(5)), "also when the log is taken in again");
    }

    #[tokio::test]
    async fn an_entry_that_was_passed_in_another_way_than_by_the_leader_ends_the_agreement() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let skips = Skips::open(&disk, GROUP).expect("readable");
        assert!(!skips.begins(&id(5)));
        let why = skips.agree(&[id(5)]).await.expect_err("it was taken in");
        assert!(why.contains("entry 5") && skips.differs().is_some(), "{why}");
        assert_eq!(kept(&disk, GROUP).expect("readable").len(), 0, "nothing was written");
        skips.agree(&[]).await.expect("another leader took it in too");
        assert_eq!(skips.differs(), None);
        skips.agree(&[id(7)]).await.expect("it has not come");
        let why = skips.agree(&[]).await.expect_err("the leader does not pass over it");
        assert!(why.contains("entry 7"), "{why}");
        let another_term = LogId::new(openraft::CommittedLeaderId::new(2, 1), 7);
        assert!(skips.agree(&[another_term]).await.is_err(), "an entry is its index and its term");
    }

    #[tokio::test]
    async fn a_snapshot_brings_the_marks_of_its_maker_and_later_ones_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let skips = Skips::open(&disk, GROUP).expect("readable");
        assert!(!skips.begins(&id(5)));
        skips.agree(&[id(8), id(40)]).await.expect("neither has come");
        skips.succeed(&[id(5), id(30)], 20).await.expect("kept");
        skips.holds(20);
        assert_eq!(skips.marks(), [id(5), id(30), id(40)]);
        assert_eq!(kept(&disk, GROUP).expect("readable").len(), 3);
        skips.agree(&[id(5), id(30), id(40)]).await.expect("they agree");
        assert!(skips.begins(&id(30)) && !skips.begins(&id(31)));
    }

    #[tokio::test]
    async fn there_are_at_most_so_many() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = disk(&dir).await;
        let marks = |count: u64| (0..count).map(id).collect::<Vec<_>>();
        let skips = Skips::open(&disk, GROUP).expect("readable");
        skips.agree(&marks(64)).await.expect("as many as there may be");
        assert!(skips.agree(&marks(65)).await.is_err());
        assert_eq!(skips.marks().len(), MOST);
    }
}
