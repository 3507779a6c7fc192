//! The records of a backup file, and the proof of which secret its cluster has.

use std::io::{self, Read};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tidings_contract::{Secret, Time};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::codec::{self, CodecError};
use crate::peers::Piece;
use crate::store::DISK_VERSION;
use crate::types::GroupId;

/// What every backup file begins with.
pub(super) const MAGIC: [u8; 12] = *b"tidings-back";
/// The form of the file that this program writes and reads.
pub(super) const VERSION: u32 = 1;
/// Length and checksum around the body of a record.
pub(super) const AROUND: usize = 4 + 8;
/// Most bytes of one record; an entry of a log is the largest thing in one.
const MOST: usize = 4 << 20;

/// What the file is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the program that wrote it.
    pub program: String,
    /// The disk version of that program; rows of the archive have its form.
    pub disk: u32,
    /// The cluster it was taken from.
    pub cluster: String,
    /// How many partitions that cluster has.
    pub partitions: u16,
    /// Most replicas of a group of that cluster.
    pub replication: u16,
    /// When it was begun, by the clock of the node that was asked.
    pub taken_at: Time,
    salt: [u8; 16],
    /// Shows whoever has a secret whether it is the one with which the secrets in the file were sealed.
    proof: [u8; 32],
}

/// One record. New kinds go at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Frame {
    /// The first record.
    Head(Head),
    /// A section begins.
    Begin(Begin),
    /// A piece of the machine or of the archive.
    Piece(Piece),
    /// An entry that was applied after the snapshot.
    Entry(Entry),
    /// The section is complete.
    End(End),
    /// The section that was begun is void, because its replica went away; the group begins again.
    Void,
    /// The last record.
    Last(Last),
}

/// Whose section it is, and which entry is the first that its machine does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) group: GroupId,
    /// Whether pieces of a machine follow; without them it is in its first state.
    pub(super) machine: bool,
    pub(super) next: u64,
}

/// The payload of a log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) payload: bytes::Bytes,
}

/// What a complete section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// The index and the term of the last entry that is part of it.
    pub(super) index: u64,
    pub(super) term: u64,
    /// Records from `Begin` up to here.
    pub(super) records: u64,
    /// XXH3 (64 bits) over their bodies.
    pub(super) checksum: u64,
}

/// What a complete file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) sections: u32,
    /// XXH3 (64 bits) over every byte of the file before this record.
    pub(super) checksum: u64,
}

impl Head {
    /// A head for a cluster that has this secret.
    pub(super) fn new(cluster: (String, u16, u16), taken_at: Time, secret: &Secret) -> Self {
        let salt = rand::random();
        let proof = proof(secret, &salt);
        let (cluster, partitions, replication) = cluster;
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { program, disk: DISK_VERSION, cluster, partitions, replication, taken_at, salt, proof }
    }

    /// Whether `secret` is that of the cluster the backup was taken from.
    pub fn is_of(&self, secret: &Secret) -> bool {
        self.proof.ct_eq(&proof(secret, &self.salt)).into()
    }
}

fn proof(secret: &Secret, salt: &[u8; 16]) -> [u8; 32] {
    // HMAC takes keys of any length, so this never fails; an empty proof would fit no secret.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return [0; 32] };
    mac.update(b"tidings backup v1");
    mac.update(salt);
    mac.finalize().into_bytes().into()
}

/// The checksum of a section while it is written or read.
#[derive(Default)]
pub(super) struct Sum {
    hash: Xxh3,
    records: u64,
}

impl Sum {
    pub(super) fn add(&mut self, body: &[u8]) {
        self.hash.update(body);
        self.records += 1;
    }

    /// What the end of a section has to say about it.
    pub(super) fn end(&self, index: u64, term: u64) -> End {
        End { index, term, records: self.records, checksum: self.hash.digest() }
    }
}

/// The body of a record.
pub(super) fn body_of(frame: &Frame) -> Result<Vec<u8>, CodecError> {
    codec::encode(frame)
}

/// A record as it stands in the file.
pub(super) fn record(body: &[u8]) -> Result<Vec<u8>, CodecError> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MOST);
    let length = length.ok_or_else(|| CodecError::new(format!("a record of {} bytes", body.len())))?;
    Ok([&length.to_le_bytes(), body, &xxh3_64(body).to_le_bytes()].concat())
}

/// Reads the body of the next record; an error says what is wrong with it.
pub(super) fn read_body(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST {
        return Err(damaged(format!("a record claims {length} bytes")));
    }
    let (mut body, mut checksum) = (vec![0; length], [0; 8]);
    from.read_exact(&mut body)?;
    from.read_exact(&mut checksum)?;
    if xxh3_64(&body) == u64::from_le_bytes(checksum) {
        Ok(body)
    } else {
        Err(damaged("a record does not match its checksum"))
    }
}

/// Reads a body.
pub(super) fn frame_of(body: &[u8]) -> io::Result<Frame> {
    codec::decode(body).map_err(|error| damaged(format!("a record cannot be read: {error}")))
}

pub(super) fn damaged(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_knows_its_secret_and_no_other_and_does_not_show_it() {
        let secret = Secret::new("a secret of at least sixteen bytes");
        let head = Head::new(("clu_1".into(), 8, 3), Time(7), &secret);
        assert!(head.is_of(&secret) && !head.is_of(&Secret::new("another secret of sixteen bytes")));
        let other = Head::new(("clu_1".into(), 8, 3), Time(7), &secret);
        assert_ne!(head.proof, other.proof, "two files do not tell that their clusters share a secret");
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_refused() {
        let body = body_of(&Frame::Entry(Entry { index: 7, payload: bytes::Bytes::from_static(b"payload") }));
        let good = record(&body.expect("it has a binary form")).expect("it is small");
        assert!(read_body(&mut &good[..]).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read_body(&mut &bad[..]).is_err(), "a changed byte {at} was not seen");
            assert!(read_body(&mut &good[..at]).is_err(), "an end after {at} bytes was not seen");
        }
    }
}
