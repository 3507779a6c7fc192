//! Who is preferred as leader of which partition: as even as the replicas allow, along chains of replicas.

use std::collections::{BTreeMap, VecDeque};

use tidings_contract::PartitionId;

use super::placement::Placement;

/// While one node leads at least two more than another that can be reached over replicas, one leadership moves that way.
pub(super) fn spread_leaders(placement: &mut Placement, nodes: &[u64]) {
    let mut leads: BTreeMap<u64, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    for leader in placement.values().filter_map(|replicas| replicas.first()) {
        *leads.entry(*leader).or_default() += 1;
    }
    while let Some((from, to)) = nodes.iter().find_map(|node| hand_over(placement, &leads, *node)) {
        leads.entry(from).and_modify(|count| *count -= 1);
        leads.entry(to).and_modify(|count| *count += 1);
    }
}

/// Looks for the nearest node that leads at least two less than `from`, and moves one leadership to it: each partition of
/// the chain is handed from its leader to another of its replicas.
fn hand_over(placement: &mut Placement, leads: &BTreeMap<u64, usize>, from: u64) -> Option<(u64, u64)> {
    let count = |node: &u64| leads.get(node).copied().unwrap_or(0);
    let mut came: BTreeMap<u64, (PartitionId, u64)> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    let mut to = None;
    while let (Some(node), None) = (queue.pop_front(), to) {
        for (id, replicas) in placement.iter().filter(|(_, replicas)| replicas.first() == Some(&node)) {
            for next in replicas.iter().filter(|next| **next != from) {
                if came.contains_key(next) || *next == node {
                    continue;
                }
                came.insert(*next, (*id, node));
                queue.push_back(*next);
                if to.is_none() && count(next) + 2 <= count(&from) {
                    to = Some(*next);
                }
            }
        }
    }
    let to = to?;
    let mut node = to;
    while let Some((id, before)) = came.get(&node).filter(|_| node != from) {
        if let Some(replicas) = placement.get_mut(id)
            && let Some(at) = replicas.iter().position(|replica| *replica == node)
        {
            replicas.swap(0, at);
        }
        node = *before;
    }
    Some((from, to))
}
