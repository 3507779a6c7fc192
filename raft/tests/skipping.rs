//! An entry that no replica can take in: every node ends at it, an operator has them pass over it, and all replicas are the same.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod support;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tidings_contract::PartitionId;
use tidings_raft::{GroupId, Ledgers};

use support::{Moving, Node, accept, cluster, keep, options, settled, start, stop_all, until};

const PARTITION: PartitionId = PartitionId(0);
const GROUP: GroupId = GroupId::Partition(PARTITION);
/// Who stands in the entry that is damaged. Nobody else's name is contained in it.
const WHOM: &str = "user-poison";

async fn send(node: &Node, to: &str) {
    keep(&node.ledgers, PARTITION, accept(PARTITION, to).1).await;
}

/// Makes the entry in which [`WHOM`] stands unreadable in the log of a stopped node, and gives its index.
fn poison(dir: &Path) -> u64 {
    let ledger = sled::Config::new().path(dir.join("ledger")).segment_size(16 << 20).flush_every_ms(None);
    let ledger = ledger.open().expect("nobody has it open");
    let log = ledger.open_tree("log/p0").expect("a log");
    let name = WHOM.as_bytes();
    let mut poisoned = Vec::new();
    for row in log.iter() {
        let (key, value) = row.expect("readable");
        let mut value = value.to_vec();
        let places: Vec<usize> =
            (0..value.len().saturating_sub(name.len())).filter(|n| value[*n..].starts_with(name)).collect();
        for place in &places {
            // No text in UTF-8 has such a byte.
            value[*place..place + name.len()].fill(0xff);
        }
        if !places.is_empty() {
            poisoned.push(u64::from_be_bytes((*key).try_into().expect("an index")));
            log.insert(key, value).expect("written");
        }
    }
    ledger.flush().expect("synced");
    assert_eq!(poisoned.len(), 1, "one entry holds it: {poisoned:?}");
    poisoned[0]
}

/// Waits until every node holds so many deliveries.
async fn whole(nodes: &[Node], pending: u64) {
    settled(nodes).await;
    for node in nodes {
        until("each replica has everything", || {
            node.ledgers.read(PARTITION, |partition| partition.pending_count()) == Some(pending)
        })
        .await;
    }
}

/// How a node ends that comes to the entry: when it is opened, or once it hears that the entry is kept.
async fn ends(id: u64, dir: &TempDir) -> String {
    match Ledgers::open(options(id, dir), Arc::new(Moving::default())).await {
        Err(error) => error.to_string(),
        Ok(ledgers) => {
            until("it ends", || ledgers.failure().is_some()).await;
            let why = ledgers.failure().unwrap_or_default();
            ledgers.shutdown().await;
            why
        }
    }
}

fn noted(node: &Node) -> Vec<String> {
    node.ledgers.read_control(|control| {
        control.audit.iter().filter(|entry| entry.action == "skip_entry").map(|entry| entry.subject.clone()).collect()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_every_replica_dies_of_is_passed_over_by_all_of_them_and_by_one_that_comes_new() {
    let nodes = cluster(3, 1).await;
    for to in ["user-1", WHOM, "user-2"] {
        send(&nodes[0], to).await;
    }
    whole(&nodes, 3).await;
    let stopped = stop_all(nodes).await;
    let mut indexes: Vec<u64> = stopped.iter().map(|(_, dir, _)| poison(dir.path())).collect();
    indexes.dedup();
    let [index] = indexes[..] else { panic!("it is the same entry everywhere: {indexes:?}") };
    let why = ends(1, &stopped[0].1).await;
    assert!(why.contains("p0") && why.contains(&index.to_string()), "its last words name group and entry: {why}");

    let mut nodes = Vec::new();
    for (id, dir, addr) in stopped {
        for again in [false, true] {
            let skipped = tidings_raft::skip_entry(&options(id, &dir), GROUP, index).await.expect("marked");
            assert_eq!((skipped.again, skipped.commands), (again, Some(1)));
        }
        nodes.push(start(id, dir, &addr).await);
    }
    whole(&nodes, 2).await;
    send(&nodes[1], "user-3").await;
    whole(&nodes, 3).await;
    until("control notes it", || !noted(&nodes[0]).is_empty()).await;

    // A node with an empty disk takes in the log, or what comes of it, and passes over the entry too.
    let third = nodes.remove(2);
    let at = third.addr();
    drop(third.stop().await);
    nodes.push(start(3, tempfile::tempdir().expect("a directory"), &at).await);
    send(&nodes[0], "user-4").await;
    whole(&nodes, 4).await;
    let subjects = noted(&nodes[0]);
    assert!(matches!(&subjects[..], [one] if one.contains(&format!("p0: entry {index}"))), "once: {subjects:?}");
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_passes_over_what_the_others_took_in_takes_nothing_from_them_and_says_so() {
    let mut nodes = cluster(3, 1).await;
    for to in ["user-1", "user-2"] {
        send(&nodes[0], to).await;
    }
    whole(&nodes, 2).await;
    let third = nodes.remove(2);
    let (addr, last) = (third.addr(), third.ledgers.status()[1].last_index.expect("a log"));
    let (_, dir) = third.stop().await;
    let options = options(3, &dir);
    for (group, index, words) in [
        (GROUP, 999_999, "goes from entry"),
        (GROUP, 0, "holds no commands"),
        (GroupId::Partition(PartitionId(7)), 1, "no log of p7"),
    ] {
        let refused =
            tidings_raft::skip_entry(&options, group, index).await.expect_err("there is nothing to pass over");
        assert!(refused.to_string().contains(words), "{refused}");
    }
    tidings_raft::skip_entry(&options, GROUP, last).await.expect("marked");
    let third = start(3, dir, &addr).await;
    until("it says why it takes nothing", || {
        let status = third.ledgers.status();
        status[1].failure.as_ref().is_some_and(|why| why.contains(&format!("passes over entry {last}")))
    })
    .await;
    assert_eq!(third.ledgers.apart().len(), 1, "whoever watches over the node is told");
    send(&nodes[0], "user-3").await;
    let held = |node: &Node| node.ledgers.read(PARTITION, |partition| partition.pending_count());
    until("the others go on", || held(&nodes[0]) == Some(3) && held(&nodes[1]) == Some(3)).await;
    assert!(held(&third) <= Some(1), "and it takes in nothing more: {:?}", held(&third));
    nodes.push(third);
    stop_all(nodes).await;
}
