//! Which nodes hold which partition: spread over zones, as even as can be, moving as little as can be.
//!
//! Each step is deterministic: keep the replicas that still have their node and fill up with the least loaded nodes of zones
//! that the partition is not in yet; move replicas that share a zone to a zone where fewer are; move single replicas from
//! fuller to emptier nodes, as long as no two come together in a zone by it; hand on preferred leadership (`leaders`).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tidings_contract::PartitionId;

use super::leaders::spread_leaders;

/// Which nodes hold which partition; the first is the preferred leader.
pub(super) type Placement = BTreeMap<PartitionId, Vec<u64>>;
/// The nodes that may hold replicas, and the zone of each; one without a zone shares it with nobody.
pub(super) type Sites = BTreeMap<u64, Option<String>>;
type Load = BTreeMap<u64, usize>;

/// Places `partitions` on `sites`, starting from where they are.
pub(super) fn place(previous: &Placement, sites: &Sites, partitions: u16, replication: u16) -> Placement {
    let copies = usize::from(replication).min(sites.len());
    let mut load: Load = sites.keys().map(|node| (*node, 0)).collect();
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
    fill(&mut placement, &mut load, sites, copies);
    separate(&mut placement, &mut load, sites);
    even_out(&mut placement, &mut load, sites);
    let nodes: Vec<u64> = sites.keys().copied().collect();
    spread_leaders(&mut placement, &nodes);
    placement
}

/// How many of `replicas` would share the zone of `node` with it, if `node` stood `instead_of` one of them.
fn company(sites: &Sites, replicas: &[u64], node: u64, instead_of: Option<u64>) -> usize {
    let Some(Some(zone)) = sites.get(&node) else { return 0 };
    let others = replicas.iter().filter(|other| **other != node && Some(**other) != instead_of);
    others.filter(|other| sites.get(*other).and_then(Option::as_ref) == Some(zone)).count()
}

fn fill(placement: &mut Placement, load: &mut Load, sites: &Sites, copies: usize) {
    for replicas in placement.values_mut() {
        while replicas.len() < copies {
            let free = load.iter().filter(|(node, _)| !replicas.contains(node));
            let best = free.min_by_key(|(node, count)| (company(sites, replicas, **node, None), **count, **node));
            let Some(node) = best.map(|(node, _)| *node) else { break };
            *load.entry(node).or_default() += 1;
            replicas.push(node);
        }
    }
}

/// Moves replicas to where fewer of the same partition share a zone. Every move lowers the pairs that do, so it ends.
fn separate(placement: &mut Placement, load: &mut Load, sites: &Sites) {
    for replicas in placement.values_mut() {
        while let Some((at, to)) = less_company(replicas, load, sites) {
            swap(load, &mut replicas[at], to);
        }
    }
}

/// The replica with the most company, rather a follower than the preferred leader, and a node where it has less.
fn less_company(replicas: &[u64], load: &Load, sites: &Sites) -> Option<(usize, u64)> {
    let crowd = |at: &usize| company(sites, replicas, replicas[*at], None);
    let at = (0..replicas.len()).max_by_key(|at| (crowd(at), load.get(&replicas[*at]), *at))?;
    let there = |node: &u64| company(sites, replicas, *node, Some(replicas[at]));
    let free = sites.keys().filter(|node| !replicas.contains(node));
    let to = free.min_by_key(|node| (there(node), load.get(node), **node))?;
    (there(to) < crowd(&at)).then_some((at, *to))
}

fn swap(load: &mut Load, replica: &mut u64, to: u64) {
    load.entry(*replica).and_modify(|count| *count -= 1);
    *load.entry(to).or_default() += 1;
    *replica = to;
}

/// Takes from partitions that lost least so far, and rather a follower than the preferred leader.
fn even_out(placement: &mut Placement, load: &mut Load, sites: &Sites) {
    let mut moved: BTreeMap<PartitionId, usize> = BTreeMap::new();
    while let Some((id, at, to)) = evener(placement, load, sites, &moved) {
        if let Some(replica) = placement.get_mut(&id).and_then(|replicas| replicas.get_mut(at)) {
            swap(load, replica, to);
        }
        *moved.entry(id).or_default() += 1;
    }
}

/// The next single move from a fuller to an emptier node, the furthest apart first.
fn evener(
    placement: &Placement,
    load: &Load,
    sites: &Sites,
    moved: &BTreeMap<PartitionId, usize>,
) -> Option<(PartitionId, usize, u64)> {
    let mut full: Vec<(u64, usize)> = load.iter().map(|(node, count)| (*node, *count)).collect();
    full.sort_by_key(|(node, count)| (Reverse(*count), *node));
    let mut empty = full.clone();
    empty.sort_by_key(|(node, count)| (*count, *node));
    for (from, most) in full {
        for (to, _) in empty.iter().take_while(|(_, least)| most > least + 1) {
            let candidates = placement.iter().filter_map(|(id, replicas)| {
                let at = replicas.iter().position(|node| *node == from)?;
                let closer = || company(sites, replicas, *to, Some(from)) > company(sites, replicas, from, None);
                (!replicas.contains(to) && !closer()).then_some((*id, at))
            });
            let chosen = candidates.min_by_key(|(id, at)| (moved.get(id).copied().unwrap_or(0), *at == 0, *id));
            if let Some((id, at)) = chosen {
                return Some((id, at, *to));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anywhere(nodes: &[u64]) -> Sites {
        nodes.iter().map(|node| (*node, None)).collect()
    }

    /// Pairs of replicas of one partition that share a zone.
    fn pairs(sites: &Sites, replicas: &[u64]) -> usize {
        replicas.iter().map(|node| company(sites, replicas, *node, None)).sum::<usize>() / 2
    }

    /// The fewest such pairs there can be: each replica goes to the zone with the fewest that still has a node.
    fn fewest_pairs(sites: &Sites, copies: usize) -> usize {
        let alone = sites.values().filter(|zone| zone.is_none()).count();
        let mut zones: BTreeMap<&String, (usize, usize)> = BTreeMap::new();
        for zone in sites.values().flatten() {
            zones.entry(zone).or_default().1 += 1;
        }
        for _ in alone.min(copies)..copies {
            let free = zones.values_mut().filter(|(used, room)| used < room);
            if let Some((used, _)) = free.min_by_key(|(used, _)| *used) {
                *used += 1;
            }
        }
        // Those without a zone cost nothing, so they are taken first.
        zones.values().map(|(used, _)| used * used.saturating_sub(1) / 2).sum()
    }

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
        let one = place(&Placement::new(), &anywhere(&[1]), 8, 3);
        assert!(one.values().all(|replicas| replicas == &[1]));
        let three = place(&one, &anywhere(&[1, 2, 3]), 8, 3);
        assert!(three.values().all(|replicas| replicas.len() == 3));
        assert_eq!(spreads(&three, &[1, 2, 3]).1, 1, "8 leaders on 3 nodes");
        let five = place(&three, &anywhere(&[1, 2, 3, 4, 5]), 8, 3);
        assert_eq!(spreads(&five, &[1, 2, 3, 4, 5]), (1, 1));
        assert_eq!(moved(&three, &five), 9, "24 replicas on 5 nodes: the new ones take 5 and 4 and nothing else moves");
    }

    #[test]
    fn what_is_even_already_is_left_alone() {
        let placed = place(&Placement::new(), &anywhere(&[1, 2, 3, 4]), 16, 3);
        assert_eq!(place(&placed, &anywhere(&[1, 2, 3, 4]), 16, 3), placed);
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
                placement = place(&placement, &anywhere(&nodes), partitions, replication);
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
            let all = place(&Placement::new(), &anywhere(&[1, 2, 3, 4, 5]), partitions, 3);
            let nodes: Vec<u64> = (1..6).filter(|node| *node != gone).collect();
            let rest = place(&all, &anywhere(&nodes), partitions, 3);
            prop_assert!(rest.values().all(|replicas| replicas.len() == 3 && !replicas.contains(&gone)));
            let (holds, leads) = spreads(&rest, &nodes);
            prop_assert!(holds <= 1 && leads <= 1);
        }

        #[test]
        fn replicas_share_a_zone_only_where_there_are_too_few_and_nodes_of_a_zone_are_even(
            partitions in 1u16..33, replication in 1u16..6,
            steps in proptest::collection::vec(proptest::collection::vec((0u64..12, 0u8..5), 1..9), 1..4)
        ) {
            let (mut placement, mut sites) = (Placement::new(), Sites::new());
            for step in steps {
                // A number that comes again moves to another zone; zone 4 is none.
                sites.extend(step.iter().map(|(node, zone)| (*node, (*zone < 4).then(|| format!("z{zone}")))));
                if sites.len() > 6 {
                    sites.pop_first();
                }
                placement = place(&placement, &sites, partitions, replication);
                let copies = usize::from(replication).min(sites.len());
                for replicas in placement.values() {
                    prop_assert_eq!(replicas.len(), copies);
                    prop_assert_eq!(pairs(&sites, replicas), fewest_pairs(&sites, copies), "{:?} on {:?}", replicas, sites);
                }
                let zones: std::collections::BTreeSet<_> = sites.values().flatten().collect();
                for zone in zones {
                    let inside: Vec<u64> =
                        sites.iter().filter(|(_, of)| of.as_ref() == Some(zone)).map(|(node, _)| *node).collect();
                    prop_assert!(spreads(&placement, &inside).0 <= 1, "{} in {:?}", zone, placement);
                }
                prop_assert_eq!(&place(&placement, &sites, partitions, replication), &placement, "nothing moves twice");
            }
        }
    }

    #[test]
    fn a_node_that_takes_the_place_of_another_gets_what_that_one_held_and_nothing_else_moves() {
        let before = place(&Placement::new(), &anywhere(&[1, 2, 3, 4, 5]), 16, 3);
        let after = place(&before, &anywhere(&[1, 2, 4, 5, 6]), 16, 3);
        let held = before.values().filter(|replicas| replicas.contains(&3)).count();
        assert_eq!(moved(&before, &after), held);
        assert_eq!(spreads(&after, &[1, 2, 4, 5, 6]), (1, 1));
    }

    #[test]
    fn three_zones_of_two_nodes_hold_one_replica_each() {
        let sites: Sites = (1..=6).map(|node| (node, Some(format!("z{}", node % 3)))).collect();
        let placement = place(&Placement::new(), &sites, 8, 3);
        assert!(placement.values().all(|replicas| pairs(&sites, replicas) == 0), "{placement:?}");
        assert_eq!(spreads(&placement, &[1, 2, 3, 4, 5, 6]), (0, 1));
    }
}
