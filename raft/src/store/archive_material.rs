//! The bytes of materials in the archive of their home partition.
//!
//! They stand in the trees of a day that never comes. So everything that holds for days holds for them: a new replica and a
//! backup get them, a replica that leaves erases them, a restore brings them back. Only the retention never reaches them.

use std::io;

use tidings_machine::partition::Chunk;

use super::archive::{ArchiveError, ArchiveStore, unreadable};

/// The day that never comes: more than eleven million years ahead.
const NEVER: u32 = u32::MAX;

impl ArchiveStore {
    /// Keeps one piece. Keeping it again writes the same bytes.
    pub(super) fn keep_chunk(&self, chunk: &Chunk) -> io::Result<()> {
        let key = key(&chunk.material, chunk.index);
        self.day(NEVER)?.records.insert(key, &chunk.bytes[..])?;
        Ok(())
    }

    /// Forgets all pieces of a material.
    pub(super) fn drop_material(&self, material: &str) -> io::Result<()> {
        let records = self.day(NEVER)?.records;
        for key in records.scan_prefix(prefix(material)).keys() {
            records.remove(key?)?;
        }
        Ok(())
    }

    /// One piece, if it is here.
    pub(crate) fn chunk(&self, material: &str, index: u32) -> Result<Option<Vec<u8>>, ArchiveError> {
        let day = self.days.read().get(&NEVER).cloned();
        let Some(day) = day else { return Ok(None) };
        let found = day.records.get(key(material, index)).map_err(unreadable)?;
        Ok(found.map(|bytes| bytes.to_vec()))
    }
}

/// No other record of an archive begins with it.
fn prefix(material: &str) -> Vec<u8> {
    [b"m", material.as_bytes(), b"/"].concat()
}

fn key(material: &str, index: u32) -> Vec<u8> {
    [&prefix(material)[..], &index.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;
    use tidings_contract::{PartitionId, Time};
    use tidings_machine::control::Material;
    use tidings_machine::partition::Record;

    use super::super::archive::RecordSink;
    use super::super::{Disk, DiskOptions};
    use super::*;
    use crate::types::GroupId;

    async fn archive(dir: &TempDir) -> ArchiveStore {
        let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
        let disk = Disk::open(&options).await.expect("a disk");
        ArchiveStore::open(&disk, GroupId::Partition(PartitionId(3))).expect("an archive")
    }

    fn chunk(material: &str, index: u32, fill: u8) -> Record {
        let bytes: Arc<[u8]> = vec![fill; 96 * 1024].into();
        Record::Chunk(Box::new(Chunk { material: material.to_owned(), index, bytes }))
    }

    #[tokio::test]
    async fn pieces_outlive_the_retention_and_a_restart_and_go_when_they_are_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        {
            let archive = archive(&dir).await;
            archive.record(1, Time(1), vec![chunk("aa", 0, 1), chunk("aa", 1, 2), chunk("aab", 0, 3)]).expect("kept");
            archive.drop_before(4_000_000).expect("forgotten");
            archive.flush().expect("flushed");
            archive.disk.settle().await.expect("durable");
        }
        let archive = archive(&dir).await;
        let first = |material: &str, index| archive.chunk(material, index).expect("readable").map(|bytes| bytes[0]);
        assert_eq!([first("aa", 0), first("aa", 1), first("aab", 0)], [Some(1), Some(2), Some(3)]);
        archive.record(2, Time(2), vec![Record::Dropped("aa".to_owned())]).expect("kept");
        assert_eq!([first("aa", 0), first("aa", 1), first("aab", 0)], [None, None, Some(3)]);
        // A replay of what is below the watermark brings nothing back.
        archive.record(1, Time(1), vec![chunk("aa", 0, 1)]).expect("passed over");
        assert_eq!(first("aa", 0), None);
    }

    #[tokio::test]
    async fn a_late_drop_leaves_what_was_kept_again_under_another_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let archive = archive(&dir).await;
        let id = "ab".repeat(32);
        let places = [0, 1, 2, 12].map(|number| Material::place(&id, number));
        archive.record(1, Time(1), places.iter().map(|place| chunk(place, 0, 7)).collect()).expect("kept");
        archive.record(2, Time(2), vec![Record::Dropped(places[1].clone())]).expect("kept");
        let there = places.map(|place| archive.chunk(&place, 0).expect("readable").is_some());
        assert_eq!(there, [true, false, true, true]);
        archive.record(3, Time(3), vec![Record::Dropped(id.clone())]).expect("kept");
        assert_eq!(archive.chunk(&id, 0).expect("readable"), None);
        assert!(archive.chunk(&Material::place(&id, 2), 0).expect("readable").is_some());
    }

    #[tokio::test]
    async fn a_new_replica_gets_the_pieces() {
        let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (from, to) = (archive(&from).await, archive(&to).await);
        from.record(1, Time(1), (0..5).map(|n| chunk("aa", n, n as u8)).collect()).expect("kept");
        let mut walk = from.walk().expect("a walk");
        to.begin_taking().expect("begun");
        while let Some(piece) = walk.next_piece().expect("readable") {
            to.take(piece).expect("taken");
        }
        to.end_taking(walk.watermark).expect("ended");
        for n in 0..5 {
            assert_eq!(
                to.chunk("aa", n).expect("readable").map(|bytes| (bytes[0], bytes.len())),
                Some((n as u8, 96 * 1024))
            );
        }
    }
}
