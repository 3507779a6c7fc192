//! Which partition owns what: one fixed hash, the same on every node and in every version.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One slice of the recipients, and the Raft group that owns their deliveries. Counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u16);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A hash that never changes between nodes, builds or versions (XXH3, 64 bits).
pub fn stable_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The partition that owns `key` (a recipient, an idempotency key, an account) in a cluster of `count` partitions.
pub fn partition_of(key: &str, count: u16) -> PartitionId {
    let count = u64::from(count.max(1));
    // The remainder is below `count`, which came from a u16.
    PartitionId((stable_hash(key.as_bytes()) % count) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_recipient_is_fixed_for_ever() {
        // These are on the disks of running clusters: a change here loses sight of every stored delivery.
        assert_eq!(partition_of("+8613800138000", 8), partition_of("+8613800138000", 8));
        assert_eq!(stable_hash(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn recipients_spread_over_all_partitions() {
        let mut seen = [0u32; 8];
        for n in 0..8_000 {
            seen[usize::from(partition_of(&format!("user-{n}@example.com"), 8).0)] += 1;
        }
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
    }
}
