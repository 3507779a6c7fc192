//! The step from disk version 2: every value of a machine is read as it was then and written as it is now.
//!
//! What was written cannot be told from what was not, so each batch is first kept as a whole under one key, with the place
//! behind it, and then written. sled recovers a prefix of what was written: whoever begins again writes the kept batch
//! once more, which changes nothing, and goes on at its place.

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

/// The version it begins at.
pub(super) const FROM: u32 = 2;
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

/// Rewrites everything, or what is left of it. Blocks.
///
/// # Errors
/// `Damaged` names the tree with a value that is not of the old version; `Database` when the disk fails.
pub(super) fn rewrite(db: &sled::Db) -> Result<(), OpenError> {
    rewrite_with(db, &mut || Ok(()))
}

/// Takes away what [`rewrite`] left, once the disk says that it is done.
pub(super) fn forget(db: &sled::Db) -> Result<(), sled::Error> {
    db.open_tree("meta")?.remove(BATCH).map(drop)
}

/// `pulse` is called before each write: a test has it fail.
fn rewrite_with(db: &sled::Db, pulse: &mut dyn FnMut() -> Result<(), sled::Error>) -> Result<(), OpenError> {
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
        while let Some(batch) = batch_of(db, kind, &name, &next).map_err(|why| damaged(&name, why))? {
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

fn write(
    db: &sled::Db,
    rows: &[(String, Vec<u8>, Option<Vec<u8>>)],
    pulse: &mut dyn FnMut() -> Result<(), sled::Error>,
) -> Result<(), sled::Error> {
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
fn batch_of(db: &sled::Db, kind: Kind, name: &str, next: &[u8]) -> Result<Option<Batch>, CodecError> {
    let failed = |error: sled::Error| CodecError::new(error.to_string());
    let tree = db.open_tree(name).map_err(failed)?;
    if let Kind::Snapshot(group) = kind {
        return if next.is_empty() { snapshot(db, &tree, name, group).map(Some) } else { Ok(None) };
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
        let (new_key, new_value) = match kind {
            Kind::Log(group) => (key.to_vec(), entry(group, &value)?),
            _ => brought_up(FROM, &key, &value)?,
        };
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
fn entry(group: GroupId, value: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut entry: Entry = codec::decode(value)?;
    let EntryPayload::Normal(blob) = &entry.payload else { return Ok(value.to_vec()) };
    let payload = older::payload_of(FROM, group, &blob.0)?.into_owned();
    entry.payload = EntryPayload::Normal(Blob(payload.into()));
    codec::encode(&entry)
}

/// The current snapshot of `group`, whose pieces are written anew beside the old ones.
fn snapshot(db: &sled::Db, tree: &sled::Tree, name: &str, group: GroupId) -> Result<Batch, CodecError> {
    let failed = |error: std::io::Error| CodecError::new(error.to_string());
    let meta = db.open_tree("meta").map_err(|error| failed(error.into()))?;
    // The small value that says which one is current has the name of the tree.
    let current = meta.get(name).map_err(|error| failed(error.into()))?;
    let anew = current.map(|current| {
        written_anew((&meta, tree), &current, |from, out| match group {
            GroupId::Control => codec::write_to(&older::machine::<Control>(FROM, from)?, out),
            GroupId::Partition(_) => codec::write_to(&older::machine::<Partition>(FROM, from)?, out),
        })
    });
    let anew = anew.transpose().map_err(failed)?.flatten();
    let rows = anew.map(|value| ("meta".to_owned(), name.as_bytes().to_vec(), Some(value)));
    Ok(Batch { tree: name.to_owned(), next: vec![0xff], rows: rows.into_iter().collect() })
}
