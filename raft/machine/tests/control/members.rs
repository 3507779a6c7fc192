//! Nodes that leave, that are replaced, that come back; zones and preferred leaders.

use std::collections::BTreeMap;

use tidings_contract::{PartitionId, Time};
use tidings_machine::control::{Action, Answer, Control, NodeInfo, Refusal, ZONE};

use crate::{ask, founded, info};

/// A cluster of nodes 1 to `count`.
fn cluster(count: u64) -> Control {
    let mut control = founded();
    for node in 2..=count {
        assert_eq!(ask(&mut control, 1_000 + node, Action::PutNode { node, info: info(node) }), Answer::Done);
    }
    control
}

fn remove(control: &mut Control, node: u64) -> Answer {
    ask(control, 5_000, Action::RemoveNode { node })
}

fn forget(control: &mut Control, node: u64) -> Answer {
    ask(control, 6_000, Action::ForgetNode { node })
}

fn held(control: &Control, node: u64) -> usize {
    control.placement.values().filter(|replicas| replicas.contains(&node)).count()
}

fn in_zone(node: u64, zone: &str) -> NodeInfo {
    NodeInfo { labels: BTreeMap::from([(ZONE.to_owned(), zone.to_owned())]), ..info(node) }
}

#[test]
fn a_node_is_emptied_first_and_forgotten_afterwards() {
    let mut control = cluster(4);
    assert_eq!(remove(&mut control, 4), Answer::Done);
    assert_eq!(held(&control, 4), 0);
    assert!(control.placement.values().all(|replicas| replicas.len() == 3));
    assert!(control.nodes.contains_key(&4), "its peers still have to find it");
    assert_eq!(control.departures.draining.get(&4), Some(&Time(5_000)));
    let changes = control.audit_seq;
    assert_eq!(remove(&mut control, 4), Answer::Done, "asking again is no change");
    assert_eq!(control.audit_seq, changes);
    assert_eq!(forget(&mut control, 4), Answer::Done);
    assert!(!control.nodes.contains_key(&4) && control.departures.draining.is_empty());
    assert_eq!(control.departures.removed.get(&4), Some(&Time(6_000)));
    assert_eq!((forget(&mut control, 4), remove(&mut control, 4)), (Answer::Done, Answer::Done));
    assert_eq!(control.audit_seq, changes + 1);
}

#[test]
fn the_number_of_a_removed_node_is_never_taken_again() {
    let mut control = cluster(4);
    remove(&mut control, 4);
    forget(&mut control, 4);
    let back = ask(&mut control, 7_000, Action::PutNode { node: 4, info: info(9) });
    assert_eq!(back, Answer::Refused(Refusal::Removed(4)));
    let back = ask(&mut control, 7_000, Action::ReplaceNode { old: 3, node: 4, info: info(9) });
    assert_eq!(back, Answer::Refused(Refusal::Removed(4)));
    assert!(!control.departures.draining.contains_key(&3), "a refusal changes nothing");
}

#[test]
fn what_cannot_leave_is_refused() {
    let mut control = cluster(2);
    assert_eq!(remove(&mut control, 9), Answer::Refused(Refusal::NotFound));
    assert!(matches!(forget(&mut control, 2), Answer::Refused(Refusal::Invalid(_))), "nobody asked it to leave");
    assert_eq!(remove(&mut control, 2), Answer::Done);
    assert_eq!(remove(&mut control, 1), Answer::Refused(Refusal::LastNode));
    assert!(control.placement.values().all(|replicas| replicas == &[1]), "fewer nodes, fewer replicas");
}

#[test]
fn a_node_that_leaves_goes_on_leaving_when_it_tells_a_new_address() {
    let mut control = cluster(4);
    remove(&mut control, 4);
    assert_eq!(ask(&mut control, 7_000, Action::PutNode { node: 4, info: info(40) }), Answer::Done);
    assert_eq!(control.nodes[&4].peer_addr, info(40).peer_addr);
    assert_eq!(held(&control, 4), 0);
}

#[test]
fn a_replacement_takes_what_the_old_node_held_and_nothing_else_moves() {
    for count in [1, 3, 5] {
        let mut control = cluster(count);
        let before = control.placement.clone();
        let replace = Action::ReplaceNode { old: count, node: 9, info: info(9) };
        assert_eq!(ask(&mut control, 7_000, replace.clone()), Answer::Done, "{count} nodes");
        for (partition, replicas) in &control.placement {
            let mut expected: Vec<u64> = before[partition].iter().map(|n| if *n == count { 9 } else { *n }).collect();
            let mut found = replicas.clone();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{partition} of {count} nodes");
        }
        let changes = control.audit_seq;
        assert_eq!(ask(&mut control, 7_001, replace), Answer::Done, "the same again, as after a lost answer");
        assert_eq!(control.audit_seq, changes);
    }
    let mut control = cluster(3);
    for (old, node) in [(3, 3), (3, 2)] {
        let refused = ask(&mut control, 7_000, Action::ReplaceNode { old, node, info: info(node) });
        assert!(matches!(refused, Answer::Refused(Refusal::Invalid(_))), "{old} by {node}: {refused:?}");
    }
    let refused = ask(&mut control, 7_000, Action::ReplaceNode { old: 8, node: 9, info: info(9) });
    assert_eq!(refused, Answer::Refused(Refusal::NotFound));
}

#[test]
fn a_node_that_changes_its_zone_is_placed_anew() {
    let mut control = founded();
    for (node, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
        ask(&mut control, 2_000, Action::PutNode { node, info: in_zone(node, zone) });
    }
    let apart = |control: &Control| {
        control.placement.values().all(|replicas| {
            let zones = replicas.iter().map(|node| control.nodes[node].zone());
            zones.collect::<std::collections::BTreeSet<_>>().len() == 3
        })
    };
    assert!(apart(&control), "{:?}", control.placement);
    ask(&mut control, 3_000, Action::PutNode { node: 2, info: in_zone(2, "c") });
    assert!(apart(&control), "{:?}", control.placement);
    remove(&mut control, 5);
    assert!(apart(&control), "{:?}", control.placement);
}

#[test]
fn an_operator_chooses_the_leader_among_the_replicas() {
    let mut control = cluster(4);
    let partition = PartitionId(3);
    let replicas = control.placement[&partition].clone();
    let prefer = |control: &mut Control, node| ask(control, 7_000, Action::PreferLeader { partition, node });
    assert_eq!(prefer(&mut control, replicas[2]), Answer::Done);
    assert_eq!(control.placement[&partition][0], replicas[2]);
    let outside = (1..=4).find(|node| !replicas.contains(node)).expect("four nodes, three replicas");
    assert!(matches!(prefer(&mut control, outside), Answer::Refused(Refusal::Invalid(_))));
    let nowhere = Action::PreferLeader { partition: PartitionId(99), node: 1 };
    assert_eq!(ask(&mut control, 7_000, nowhere), Answer::Refused(Refusal::NotFound));
}
