//! Disks that are lost, put back to an earlier state, or copied: nothing accepted is lost, no such disk counts, and its node
//! comes back as a new disk that is filled before it votes.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod support;

use std::path::Path;

use tempfile::TempDir;
use tidings_contract::PartitionId;

use support::{Node, accept, cluster, keep, options, settled, start, stop_all, until};

const PARTITIONS: u16 = 2;

async fn fill(nodes: &[&Node], count: usize) {
    for partition in (0..PARTITIONS).map(PartitionId) {
        for n in 0..count {
            keep(&nodes[n % nodes.len()].ledgers, partition, accept(partition, &format!("user-{n}")).1).await;
        }
    }
}

/// Waits until every node holds all of every partition.
async fn whole(nodes: &[Node], pending: u64) {
    settled(nodes).await;
    for node in nodes {
        for partition in (0..PARTITIONS).map(PartitionId) {
            let held = || node.ledgers.read(partition, |p| p.pending_count()) == Some(pending);
            until("each replica has everything", held).await;
        }
    }
}

/// A copy of a directory.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().expect("a directory");
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::fs::create_dir(&target).expect("made");
            copy_into(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

fn disk_of(node: &Node, id: u64) -> Option<String> {
    node.ledgers.read_control(|control| control.disks.known.get(&id).map(ToString::to_string))
}

/// Waits until `judge` knows the disks of all.
async fn known(judge: &Node, count: u64) {
    until("control knows every disk", || (1..=count).all(|id| disk_of(judge, id).is_some())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_disk_does_not_vote_and_comes_back_as_a_new_one_that_is_filled() {
    let mut nodes = cluster(3, PARTITIONS).await;
    known(&nodes[0], 3).await;
    fill(&[&nodes[0]], 10).await;
    whole(&nodes, 10).await;
    // Node 3 is away while nodes 1 and 2 accept; then node 1 is, and node 2 loses its disk.
    let third = nodes.remove(2);
    let third_at = third.addr();
    let (_, third) = third.stop().await;
    fill(&[&nodes[0], &nodes[1]], 10).await;
    let (second_at, before) = (nodes[1].addr(), disk_of(&nodes[0], 2));
    let first_at = nodes[0].addr();
    drop(nodes.remove(1).stop().await);
    let (_, first) = nodes.remove(0).stop().await;
    let second = start(2, tempfile::tempdir().expect("a directory"), &second_at).await;
    let third = start(3, third, &third_at).await;
    until("the emptied node knows why it counts for nothing", || {
        second.ledgers.unaccepted().is_some_and(|why| why.contains("takes it in as a new disk"))
    })
    .await;
    let refused = third.ledgers.propose_within(PartitionId(0), vec![accept(PartitionId(0), "x").1], TWO_SECONDS).await;
    assert!(refused.is_err(), "an emptied disk and one that was away are no majority: {refused:?}");
    let first = start(1, first, &first_at).await;
    let nodes = vec![first, second, third];
    whole(&nodes, 20).await;
    until("its new disk is known", || disk_of(&nodes[0], 2).is_some_and(|disk| Some(disk) != before)).await;
    until("it is taken", || nodes[1].ledgers.unaccepted().is_none()).await;
    stop_all(nodes).await;
}

const TWO_SECONDS: std::time::Duration = std::time::Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_put_back_does_not_vote_and_comes_back_as_a_new_one() {
    let mut nodes = cluster(3, PARTITIONS).await;
    known(&nodes[0], 3).await;
    fill(&[&nodes[0]], 10).await;
    whole(&nodes, 10).await;
    let addrs: Vec<String> = nodes.iter().map(Node::addr).collect();
    // A copy is kept of node 2's directory, which then goes on.
    let (_, second) = nodes.remove(1).stop().await;
    let old = copy(second.path());
    nodes.insert(1, start(2, second, &addrs[1]).await);
    whole(&nodes, 10).await;
    let before = disk_of(&nodes[0], 2);
    let (_, third) = nodes.remove(2).stop().await;
    fill(&[&nodes[0], &nodes[1]], 10).await;
    drop(nodes.remove(1).stop().await);
    let (_, first) = nodes.remove(0).stop().await;
    let second = start(2, old, &addrs[1]).await;
    let third = start(3, third, &addrs[2]).await;
    until("the node knows that its disk is behind", || {
        second.ledgers.unaccepted().is_some_and(|why| why.contains("put back to an earlier state"))
    })
    .await;
    let refused = third.ledgers.propose_within(PartitionId(0), vec![accept(PartitionId(0), "x").1], TWO_SECONDS).await;
    assert!(refused.is_err(), "an old disk and one that was away are no majority: {refused:?}");
    let nodes = vec![start(1, first, &addrs[0]).await, second, third];
    whole(&nodes, 20).await;
    until("its new disk is known", || disk_of(&nodes[0], 2).is_some_and(|disk| Some(disk) != before)).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_running_disk_is_refused_while_the_disk_itself_goes_on() {
    let mut nodes = cluster(3, PARTITIONS).await;
    known(&nodes[0], 3).await;
    let addr = nodes[2].addr();
    let (_, third) = nodes.remove(2).stop().await;
    let twin = copy(third.path());
    nodes.push(start(3, third, &addr).await);
    whole(&nodes, 0).await;
    let before = disk_of(&nodes[0], 3);
    let twin = start(3, twin, "127.0.0.1:0").await;
    until("the copy is told what it is", || {
        twin.ledgers.unaccepted().is_some_and(|why| why.contains("copied") || why.contains("another process"))
    })
    .await;
    fill(&[&nodes[0], &nodes[1], &nodes[2]], 12).await;
    whole(&nodes, 12).await;
    assert_eq!(disk_of(&nodes[0], 3), before, "the disk that runs stays the node's");
    assert!(nodes.iter().all(|node| node.ledgers.unaccepted().is_none()));
    twin.stop().await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_emptied_disks_of_three_are_refused_until_an_operator_forces_one() {
    let mut nodes = cluster(3, PARTITIONS).await;
    known(&nodes[0], 3).await;
    fill(&[&nodes[0]], 10).await;
    whole(&nodes, 10).await;
    let addrs: Vec<String> = nodes.iter().map(Node::addr).collect();
    drop(nodes.remove(2).stop().await);
    drop(nodes.remove(1).stop().await);
    let (_, first) = nodes.remove(0).stop().await;
    let first = start(1, first, &addrs[0]).await;
    let second = start(2, tempfile::tempdir().expect("a directory"), &addrs[1]).await;
    let third = start(3, tempfile::tempdir().expect("a directory"), &addrs[2]).await;
    for node in [&second, &third] {
        until("the emptied nodes are told", || node.ledgers.unaccepted().is_some()).await;
    }
    let refused = first.ledgers.propose_within(PartitionId(0), vec![accept(PartitionId(0), "x").1], TWO_SECONDS).await;
    assert!(refused.is_err(), "one whole disk of three is no majority: {refused:?}");
    let held = first.ledgers.read(PartitionId(0), |p| p.pending_count());
    assert_eq!(held, Some(10), "what it has is not touched");

    let (_, first) = first.stop().await;
    tidings_raft::force_disk(&options(1, &first), 2).await.expect("forced");
    let first = start(1, first, &addrs[0]).await;
    let nodes = vec![first, second, third];
    // With node 2 there is a majority again, which then takes node 3 in by itself.
    whole(&nodes, 10).await;
    let noted = nodes[0].ledgers.read_control(|control| control.audit.iter().any(|entry| entry.action == "force_disk"));
    assert!(noted, "the audit log says so");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_in_use_is_not_taken_by_an_empty_node_elsewhere() {
    let nodes = cluster(3, PARTITIONS).await;
    known(&nodes[0], 3).await;
    fill(&[&nodes[0]], 5).await;
    let stranger = Node::start(3).await;
    let refused = nodes[0].ledgers.probe(3, &stranger.addr(), TWO_SECONDS).await.expect_err("it is not node 3's disk");
    let refused = refused.to_string();
    assert!(refused.contains("is not the one that the cluster knows"), "{refused}");
    let refused = stranger.ledgers.join(&[nodes[0].addr()], stranger.info()).await;
    assert!(refused.is_err(), "nor may it join by itself: {refused:?}");
    until("node 3 is heard of", || !nodes[0].ledgers.disk_is_quiet(3)).await;
    whole(&nodes, 5).await;
    stranger.stop().await;
    stop_all(nodes).await;
}
