//! The step from disk versions 2 and 3: every value of a machine is read as it was then and written as it is now.
//!
//! What was written cannot be told from what was not, so each batch is first kept as a whole under one key, with the place
//! behind it, and then written. sled recovers a prefix of what was written: whoever begins again writes the kept batch
//! once more, which changes nothing, and goes on at its place.

use std::io::{Read, Write};

use openraft::EntryPayload;
use serde::{Deserialize, Serialize};
use tidings_machine::control::Control;
use tidings_machine::partition::Partition;

use super::archive_block::brought_up;
use super::snapshot::written_anew;
use crate::base::sled;
use crate::codec::{self, CodecError};
use crate::error::OpenError;
use crate::older;
use crate::types::{Blob, Entry, GroupId};

/// Under this name the disk keeps the batch that is being written.
const BATCH: &str = "rewriting";
/// About how many bytes of old values are rewritten at once. One value may be larger: an entry of a log.
const BATCH_BYTES: usize = 64 * 1024;
/// Batches between two syncs, so that what is not on the disk yet stays bounded.
const UNSYNCED: u32 = 256;

/// What is written at once.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Batch {
    /// The tree it is about, and where to go on in it.
    tree: String,
    next: Vec<u8>,
    /// Tree, key, and the value; `None` takes it away.
    rows: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
}

/// What the values of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Log(GroupId),
    Snapshot(GroupId),
    Records,
}

impl Kind {
    /// `None` for trees that hold nothing of a machine.
    fn of(tree: &str) -> Option<Self> {
        let (kind, rest) = tree.split_once('/')?;
        match (kind, rest.split_once('/')) {
            ("log", None) => rest.parse().ok().map(Self::Log),
            ("snap", None) => rest.parse().ok().map(Self::Snapshot),
            ("archive", Some((_, day))) if !day.contains('/') => Some(Self::Records),
            _ => None,
        }
    }
}

type Row = (Vec<u8>, Vec<u8>);
/// How a row of a log or of the records of an archive becomes a new one.
type RewriteRow = fn(u32, Kind, &[u8], &[u8]) -> Result<Row, CodecError>;
/// How a machine is read and written again.
type Rewrite = fn(u32, GroupId, &mut dyn Read, &mut dyn Write) -> Result<(), CodecError>;
/// A tree, a key in it, and what is to stand there; `None` takes it away.
type Put = (String, Vec<u8>, Option<Vec<u8>>);

/// How values of an older version become new ones.
struct Forms {
    /// That version.
    from: u32,
    /// A row of a log or of the records of an archive.
    row: RewriteRow,
    /// A machine.
    machine: Rewrite,
}

/// From what a version had to what there is today.
const fn forms(from: u32) -> Forms {
    Forms {
        from,
        row: |version, kind, key, value| match kind {
            Kind::Log(group) => Ok((key.to_vec(), entry(version, group, value)?)),
            _ => brought_up(version, key, value),
        },
        machine: |version, group, from, out| match group {
            GroupId::Control => codec::write_to(&older::machine::<Control>(version, from)?, out),
            GroupId::Partition(_) => codec::write_to(&older::machine::<Partition>(version, from)?, out),
        },
    }
}

/// Rewrites everything of the version `from`, or what is left of it, as it is in the newest one. Blocks.
///
/// # Errors
/// `Damaged` names the tree with a value that is not of the old version; `Database` when the disk fails.
pub(super) fn rewrite(db: &sled::Db, from: u32) -> Result<(), OpenError> {
    rewrite_with(db, &forms(from), &mut || Ok(()))
}

/// Takes away what [`rewrite`] left, once the disk says that it is done.
pub(super) fn forget(db: &sled::Db) -> Result<(), sled::Error> {
    db.open_tree("meta")?.remove(BATCH).map(drop)
}

/// `pulse` is called before each write: a test has it fail.
fn rewrite_with(
    db: &sled::Db,
    forms: &Forms,
    pulse: &mut dyn FnMut() -> Result<(), sled::Error>,
) -> Result<(), OpenError> {
    let meta = db.open_tree("meta")?;
    let kept = meta.get(BATCH)?.map(|bytes| codec::decode::<Batch>(&bytes)).transpose();
    let kept = kept.map_err(|why| damaged("meta", why))?.unwrap_or_default();
    write(db, &kept.rows, pulse)?;
    let mut names: Vec<String> = db.tree_names().iter().filter_map(|n| String::from_utf8(n.to_vec()).ok()).collect();
    names.retain(|name| *name >= kept.tree);
    names.sort_unstable();
    let mut batches = 0_u32;
    for name in names {
        let Some(kind) = Kind::of(&name) else { continue };
        let mut next = if name == kept.tree { kept.next.clone() } else { Vec::new() };
        while let Some(batch) = batch_of((db, forms), kind, &name, &next).map_err(|why| damaged(&name, why))? {
            next.clone_from(&batch.next);
            // What did not change may be looked at again.
            if !batch.rows.is_empty() {
                pulse()?;
                meta.insert(BATCH, codec::encode(&batch).map_err(|why| damaged(&name, why))?)?;
                write(db, &batch.rows, pulse)?;
            }
            batches += 1;
            if batches.is_multiple_of(UNSYNCED) {
                db.flush()?;
                tracing::info!(tree = name, batches, "the disk is being rewritten");
            }
        }
    }
    Ok(())
}

fn damaged(tree: &str, why: CodecError) -> OpenError {
    OpenError::Damaged { what: tree.to_owned(), why: why.to_string() }
}

fn write(db: &sled::Db, rows: &[Put], pulse: &mut dyn FnMut() -> Result<(), sled::Error>) -> Result<(), sled::Error> {
    for (tree, key, value) in rows {
        pulse()?;
        let tree = db.open_tree(tree)?;
        match value {
            Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
            None => tree.remove(key)?,
        };
    }
    Ok(())
}

/// The next batch of a tree from `next` on; `None` behind its end.
fn batch_of(
    (db, forms): (&sled::Db, &Forms),
    kind: Kind,
    name: &str,
    next: &[u8],
) -> Result<Option<Batch>, CodecError> {
    let failed = |error: sled::Error| CodecError::new(error.to_string());
    let tree = db.open_tree(name).map_err(failed)?;
    if let Kind::Snapshot(group) = kind {
        return if next.is_empty() { snapshot((db, forms), &tree, name, group).map(Some) } else { Ok(None) };
    }
    let mut batch = Batch { tree: name.to_owned(), ..Batch::default() };
    let mut bytes = 0;
    for row in tree.range(next.to_vec()..) {
        let (key, value) = row.map_err(failed)?;
        // All amendments of one delivery go into one batch: their names change, and none may be met under its new one.
        let amends = matches!(kind, Kind::Records) && key.first() == Some(&b'a');
        let group = if amends { key.get(..key.len().saturating_sub(8)).unwrap_or_default() } else { &key[..] };
        if bytes >= BATCH_BYTES && !batch.next.starts_with(group) {
            return Ok(Some(batch));
        }
        bytes += key.len() + value.len();
        batch.next = [group, if amends { &[0xff; 9][..] } else { &[0] }].concat();
        let (new_key, new_value) = (forms.row)(forms.from, kind, &key, &value)?;
        if new_key == *key && new_value == *value {
            continue;
        }
        let moved = (new_key != *key).then(|| (name.to_owned(), key.to_vec(), None));
        batch.rows.push((name.to_owned(), new_key, Some(new_value)));
        batch.rows.extend(moved);
    }
    Ok((!batch.next.is_empty()).then_some(batch))
}

/// An entry of the log of `group`.
fn entry(version: u32, group: GroupId, value: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut entry: Entry = codec::decode(value)?;
    let EntryPayload::Normal(blob) = &entry.payload else { return Ok(value.to_vec()) };
    let payload = older::payload_of(version, group, &blob.0)?.into_owned();
    entry.payload = EntryPayload::Normal(Blob(payload.into()));
    codec::encode(&entry)
}

/// The current snapshot of `group`, whose pieces are written anew beside the old ones.
fn snapshot(
    (db, forms): (&sled::Db, &Forms),
    tree: &sled::Tree,
    name: &str,
    group: GroupId,
) -> Result<Batch, CodecError> {
    let failed = |error: std::io::Error| CodecError::new(error.to_string());
    let meta = db.open_tree("meta").map_err(|error| failed(error.into()))?;
    // The small value that says which one is current has the name of the tree.
    let current = meta.get(name).map_err(|error| failed(error.into()))?;
    let machine = |from: &mut dyn Read, out: &mut dyn Write| (forms.machine)(forms.from, group, from, out);
    let anew = current.map(|current| written_anew((&meta, tree), &current, machine));
    let anew = anew.transpose().map_err(failed)?.flatten();
    let rows = anew.map(|value| ("meta".to_owned(), name.as_bytes().to_vec(), Some(value)));
    Ok(Batch { tree: name.to_owned(), next: vec![0xff], rows: rows.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::write_for_a_test;
    use super::*;

    /// Forms that cannot be told apart and change each time: a mark behind every value, and amendments renamed.
    const MARKS: Forms = Forms {
        from: 2,
        row: |_, _, key, value| {
            let value = [value, b"+"].concat();
            let mut name = key.to_vec();
            if key[0] == b'a' {
                name[22..29].fill(b'z');
            }
            Ok((name, value))
        },
        machine: |_, _, from, out| {
            let io = |error: std::io::Error| CodecError::new(error.to_string());
            std::io::copy(from, out).map_err(io)?;
            out.write_all(b"+").map_err(io)
        },
    };

    fn database() -> (tempfile::TempDir, sled::Db) {
        let dir = tempfile::tempdir().expect("a directory");
        let db = sled::Config::new().path(dir.path()).segment_size(1 << 20).open().expect("a database");
        let records = db.open_tree("archive/p0/020000").expect("a tree");
        let log = db.open_tree("log/p0").expect("a tree");
        for n in 0..40_u8 {
            records.insert([b"e", &[n; 21][..]].concat(), vec![n; 9_000]).expect("written");
            log.insert(u64::from(n).to_be_bytes(), vec![n; 9_000]).expect("written");
        }
        for n in 0..4 {
            records.insert([b"a", &[n / 2; 21][..], &[n; 8]].concat(), vec![n; 40_000]).expect("written");
        }
        for other in ["log/p0x", "archive/p0/020000/index", "meta", "other/p0"] {
            db.open_tree(other).expect("a tree").insert("e left alone", "it").expect("written");
        }
        write_for_a_test(&db, "snap/p0", b"a machine").expect("written");
        (dir, db)
    }

    /// The key of every value with the number of marks it has.
    fn marks(db: &sled::Db) -> Vec<(String, usize)> {
        let rows = ["archive/p0/020000", "log/p0"].map(|name| db.open_tree(name).expect("a tree"));
        let rows = rows.iter().flat_map(|tree| tree.iter().map(|row| row.expect("read")));
        rows.map(|(key, value)| (format!("{key:?}"), value.iter().filter(|b| **b == b'+').count())).collect()
    }

    fn machine(db: &sled::Db) -> Vec<u8> {
        let (meta, tree) = (db.open_tree("meta").expect("a tree"), db.open_tree("snap/p0").expect("a tree"));
        let current = meta.get("snap/p0").expect("read").expect("there is one");
        let mut bytes = Vec::new();
        let look = |from: &mut dyn Read, _: &mut dyn Write| {
            from.read_to_end(&mut bytes).map(drop).map_err(|error| CodecError::new(error.to_string()))
        };
        written_anew((&meta, &tree), &current, look).expect("it is whole");
        bytes
    }

    #[test]
    fn wherever_it_stops_whoever_goes_on_rewrites_everything_once() {
        for stop in (0..200).step_by(7).chain([usize::MAX]) {
            let (_dir, db) = database();
            let mut lives = 0;
            loop {
                lives += 1;
                let mut writes = 0;
                // Each life is a little longer than the one before, so that it ends.
                let mut pulse = || {
                    writes += 1;
                    let dies = writes > stop.saturating_add(lives * 3);
                    if dies { Err(sled::Error::Unsupported("dead".into())) } else { Ok(()) }
                };
                if rewrite_with(&db, &MARKS, &mut pulse).is_ok() {
                    break;
                }
            }
            let marks = marks(&db);
            assert_eq!(marks.len(), 84, "nothing is gone and nothing is there twice (stopped after {stop})");
            assert_eq!(marks.iter().find(|(_, marks)| *marks != 1), None, "stopped after {stop}");
            assert_eq!(machine(&db), b"a machine+", "stopped after {stop}");
            for other in ["log/p0x", "archive/p0/020000/index", "meta", "other/p0"] {
                let kept = db.open_tree(other).expect("a tree").get("e left alone").expect("read");
                assert_eq!(kept.as_deref(), Some(&b"it"[..]), "{other}");
            }
        }
    }

    #[test]
    fn a_value_that_is_not_of_the_old_version_is_named_by_its_tree() {
        let (_dir, db) = database();
        let error = rewrite(&db, 3).expect_err("the values are no machine's");
        assert!(error.to_string().contains("archive/p0/020000"), "{error}");
    }
}
