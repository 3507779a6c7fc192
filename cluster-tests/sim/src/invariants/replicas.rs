//! No replica decides by itself: at the same applied index the replicas of a partition are the same bytes.

use std::collections::BTreeMap;

use tidings_contract::PartitionId;
use tidings_node::sim::Look;
use xxhash_rust::xxh3::xxh3_64;

use crate::host::PARTITIONS;
use crate::world::World;

pub(crate) fn compare(world: &World, looks: &BTreeMap<usize, Look>) {
    for partition in (0..PARTITIONS).map(PartitionId) {
        let mut seen: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (node, look) in looks {
            let Some(replica) = look(partition) else { continue };
            let hash = xxh3_64(&replica.state);
            let (other, known) = *seen.entry(replica.applied).or_insert((*node, hash));
            if known != hash {
                let what = format!("{partition} on n{other} and n{node} differ at index {}", replica.applied);
                world.violated("replicas are the same", what);
            }
        }
    }
}
