//! The one openraft type configuration, and the names of groups and nodes.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_contract::PartitionId;

use crate::store::SnapshotBody;

openraft::declare_raft_types!(
    /// Every group of every node runs with these types; what is inside a [`Blob`] only its machine knows.
    pub(crate) Types:
        D = Blob,
        R = Applied,
        NodeId = u64,
        Node = Peer,
        SnapshotData = SnapshotBody,
);

pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type Membership = openraft::StoredMembership<u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Peer>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Raft = openraft::Raft<Types>;

/// The payload of a log entry: an encoded batch of commands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self)
    }
}

/// What openraft carries back for an applied entry. The answers go straight to whoever proposed the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied;

/// Where a node is reached. Kept in the membership; the address book of control wins over it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where its peers reach it: `host:port`.
    pub peer_addr: String,
    /// Where callers reach it: `host:port`.
    pub api_addr: String,
}

/// One Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GroupId {
    /// The group that keeps what operators decide.
    Control,
    /// The group that owns the deliveries of a slice of recipients.
    Partition(PartitionId),
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control"),
            Self::Partition(partition) => write!(f, "{partition}"),
        }
    }
}

impl FromStr for GroupId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "control" {
            return Ok(Self::Control);
        }
        let number = text.strip_prefix('p').ok_or(())?;
        number.parse().map(|n| Self::Partition(PartitionId(n))).map_err(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_group_can_be_read_back() {
        for group in [GroupId::Control, GroupId::Partition(PartitionId(0)), GroupId::Partition(PartitionId(4_711))] {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        assert!("p".parse::<GroupId>().is_err() && "q1".parse::<GroupId>().is_err());
    }
}
