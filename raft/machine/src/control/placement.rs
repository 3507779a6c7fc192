//! Which nodes hold which partition: as even as can be, moving as little as can be.
//!
//! Three steps, each deterministic: keep the replicas that still have their node and fill up with the least loaded nodes;
//! move single replicas from the fullest to the emptiest node until they differ by at most one; hand preferred leadership
//! along chains of replicas until it, too, differs by at most one.

use std::collections::{BTreeMap, VecDeque};

use tidings_contract::PartitionId;

/// Which nodes hold which partition; the first is the preferred leader.
type Placement = BTreeMap<PartitionId, Vec<u64>>;

/// Places `partitions` on `nodes`, starting from where they are.
pub(super) fn place(previous: &Placement, nodes: &[u64], partitions: u16, replication: u16) -> Placement {
    let copies = usize::from(replication).min(nodes.len());
    let mut load: BTreeMap<u64, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    let mut placement: Placement = (0..partitions)
        .map(|number| {
            let kept = previous.get(&PartitionId(number)).into_iter().flatten();
            let replicas = kept.copied().filter(|node| load.contains_key(node)).take(copies).collect();
            (PartitionId(number), replicas)
        })
        .collect();
    for node in placement.values().flatten() {
        *load.entry(*node).or_default() += 1;
    }
    fill(&mut placement, &mut load, copies);
    even_out(&mut placement, &mut load);
    spread_leaders(&mut placement, nodes);
    placement
}

fn fill(placement: &mut Placement, load: &mut BTreeMap<u64, usize>, copies: usize) {
    for replicas in placement.values_mut() {
        while replicas.len() < copies {
            let free = load.iter_mut().filter(|(node, _)| !replicas.contains(node));
            let Some((node, count)) = free.min_by_key(|(node, count)| (**count, **node)) else { break };
            *count += 1;
            replicas.push(*node);
        }
    }
}

/// Takes from partitions that lost least so far, and rather a follower than the preferred leader.
fn even_out(placement: &mut Placement, load: &mut BTreeMap<u64, usize>) {
    let mut moved: BTreeMap<PartitionId, usize> = BTreeMap::new();
    loop {
        let fullest = load.iter().max_by_key(|(node, count)| (**count, u64::MAX - **node)).map(|(n, c)| (*n, *c));
        let emptiest = load.iter().min_by_key(|(node, count)| (**count, **node)).map(|(n, c)| (*n, *c));
        let (Some((from, most)), Some((to, least))) = (fullest, emptiest) else { return };
        if most - least <= 1 {
            return;
        }
        let candidates = placement.iter_mut().filter_map(|(id, replicas)| {
            let at = replicas.iter().position(|node| *node == from)?;
            (!replicas.contains(&to)).then_some((id, at, replicas))
        });
        let chosen = candidates.min_by_key(|(id, at, _)| (moved.get(*id).copied().unwrap_or(0), *at == 0, **id));
        let Some((id, at, replicas)) = chosen else { return };
        replicas[at] = to;
        *moved.entry(*id).or_default() += 1;
        load.insert(from, most - 1);
        load.insert(to, least + 1);
    }
}

/// While one node leads at least two more than another that can be reached over replicas, one leadership moves that way.
fn spread_leaders(placement: &mut Placement, nodes: &[u64]) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spread(counts: impl Iterator<Item = usize> + Clone) -> usize {
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    }

    /// How far apart the nodes are in replicas and in preferred leaders.
    fn spreads(placement: &Placement, nodes: &[u64]) -> (usize, usize) {
        let holds = nodes.iter().map(|node| placement.values().filter(|replicas| replicas.contains(node)).count());
        let leads = nodes.iter().map(|node| placement.values().filter(|all| all.first() == Some(node)).count());
        (spread(holds), spread(leads))
    }

    fn moved(before: &Placement, after: &Placement) -> usize {
        after.iter().map(|(id, now)| now.iter().filter(|node| !before[id].contains(node)).count()).sum()
    }

    #[test]
    fn a_cluster_that_grows_from_one_to_three_to_five_stays_even() {
        let one = place(&Placement::new(), &[1], 8, 3);
        assert!(one.values().all(|replicas| replicas == &[1]));
        let three = place(&one, &[1, 2, 3], 8, 3);
        assert!(three.values().all(|replicas| replicas.len() == 3));
        assert_eq!(spreads(&three, &[1, 2, 3]).1, 1, "8 leaders on 3 nodes");
        let five = place(&three, &[1, 2, 3, 4, 5], 8, 3);
        assert_eq!(spreads(&five, &[1, 2, 3, 4, 5]), (1, 1));
        assert_eq!(moved(&three, &five), 9, "24 replicas on 5 nodes: the new ones take 5 and 4 and nothing else moves");
    }

    #[test]
    fn what_is_even_already_is_left_alone() {
        let placed = place(&Placement::new(), &[1, 2, 3, 4], 16, 3);
        assert_eq!(place(&placed, &[1, 2, 3, 4], 16, 3), placed);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_growth_keeps_every_partition_whole_and_every_node_within_one(
            partitions in 1u16..65, replication in 1u16..6, steps in proptest::collection::vec(1usize..5, 1..5)
        ) {
            let (mut placement, mut nodes) = (Placement::new(), Vec::new());
            for step in steps {
                nodes.extend((nodes.len()..nodes.len() + step).map(|n| n as u64 * 7 % 31 + 100 * n as u64));
                placement = place(&placement, &nodes, partitions, replication);
                let copies = usize::from(replication).min(nodes.len());
                for replicas in placement.values() {
                    let mut distinct = replicas.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    prop_assert_eq!((distinct.len(), replicas.len()), (copies, copies));
                }
                let (holds, leads) = spreads(&placement, &nodes);
                prop_assert!(holds <= 1 && leads <= 1, "replicas {}, leaders {}", holds, leads);
            }
        }

        #[test]
        fn a_node_that_went_is_nowhere_and_the_rest_is_whole(partitions in 1u16..33, gone in 1u64..6) {
            let all = place(&Placement::new(), &[1, 2, 3, 4, 5], partitions, 3);
            let nodes: Vec<u64> = (1..6).filter(|node| *node != gone).collect();
            let rest = place(&all, &nodes, partitions, 3);
            prop_assert!(rest.values().all(|replicas| replicas.len() == 3 && !replicas.contains(&gone)));
            let (holds, leads) = spreads(&rest, &nodes);
            prop_assert!(holds <= 1 && leads <= 1);
        }
    }
}
