//! Backups of three nodes under load: machine and archive fit each other, and nothing that was accepted before is missing.
#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_contract::{DeliveryId, PartitionId, Secret};
use tidings_machine::control::NodeInfo;
use tidings_machine::partition::State;
use tidings_raft::{BackupError, Ledgers, Options, Query, Restore, inspect, restore};

use support::{Moving, Node, START, accept, cluster, deliver, keep, options, until};

const PARTITIONS: u16 = 3;

/// Writes a backup that `node` takes.
async fn take(node: &Node, to: &Path) {
    let mut backup = node.ledgers.backup().await.expect("it begins");
    assert_eq!(backup.sections, u32::from(PARTITIONS) + 1);
    let mut bytes = Vec::new();
    while let Some(chunk) = backup.next().await {
        bytes.extend_from_slice(&chunk.expect("it comes whole"));
    }
    std::fs::write(to, bytes).expect("it can be written");
}

fn leader(nodes: &[Node], partition: PartitionId) -> &Node {
    nodes.iter().find(|node| node.ledgers.leading().borrow().contains_key(&partition)).expect("somebody leads")
}

/// Restores `file` as node 9 of a new cluster of one.
async fn revive(file: PathBuf) -> (TempDir, Ledgers) {
    let dir = tempfile::tempdir().expect("a directory");
    let data: Options = options(9, &dir);
    let info = somewhere();
    let wish = Restore { cluster: "c-2".into(), replication: 3, info, at: START };
    let restored = restore(data.clone(), file, wish, |_, _| {}).await.expect("it is restored");
    assert_eq!((restored.from.as_str(), restored.partitions), ("c-1", PARTITIONS));
    let ledgers = Ledgers::open(data, Arc::new(Moving::default())).await.expect("it opens");
    until("it leads everything", || ledgers.leading().borrow().len() == usize::from(PARTITIONS)).await;
    (dir, ledgers)
}

fn somewhere() -> NodeInfo {
    let (peer_addr, api_addr) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
    NodeInfo { peer_addr, api_addr, labels: Default::default(), joined_at: START }
}

/// Every ended delivery in the archive of a partition.
async fn archived(ledgers: &Ledgers, partition: PartitionId) -> BTreeSet<DeliveryId> {
    let archive = ledgers.archive(partition).expect("it has one");
    let (mut all, mut from, mut count) = (BTreeSet::new(), None, 0);
    loop {
        let page = archive.scan(Query::default(), from, 500).await.expect("it can be read");
        count += page.items.len();
        all.extend(page.items.iter().map(|ended| ended.delivery.id));
        from = page.next;
        if from.is_none() {
            assert_eq!(all.len(), count, "something is in the archive twice");
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_each_partition_at_one_point_of_its_log() {
    let nodes = cluster(3, PARTITIONS).await;
    let partitions: Vec<_> = (0..PARTITIONS).map(PartitionId).collect();
    let mut before = BTreeSet::new();
    for partition in &partitions {
        for crowd in 0..30 {
            let to: Vec<_> = (0..20).map(|n| format!("user-{crowd}-{n}")).collect();
            before.extend(deliver(leader(&nodes, *partition), *partition, &to).await);
            let (id, command) = accept(*partition, &format!("waits-{crowd}"));
            keep(&nodes[0].ledgers, *partition, command).await;
            before.insert(id);
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let over = AtomicBool::new(false);
    let load = async {
        let mut turn = 0_u32;
        while !over.load(Ordering::Relaxed) {
            for partition in &partitions {
                let to: Vec<_> = (0..5).map(|n| format!("more-{turn}-{n}")).collect();
                deliver(leader(&nodes, *partition), *partition, &to).await;
                keep(&nodes[1].ledgers, *partition, accept(*partition, &format!("more-{turn}")).1).await;
            }
            turn += 1;
        }
        turn
    };
    let backups = async {
        for node in &nodes {
            take(node, &dir.path().join(node.id.to_string())).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (turns, ()) = tokio::join!(load, backups);
    assert!(turns > 0, "nothing was written meanwhile");
    for node in &nodes {
        let (_home, ledgers) = revive(dir.path().join(node.id.to_string())).await;
        for partition in &partitions {
            let (counts, pending) = ledgers
                .read(*partition, |p| (p.totals().clone(), p.pending(None).map(|(d, _)| d.id).collect::<BTreeSet<_>>()))
                .expect("it has a replica");
            let ended = archived(&ledgers, *partition).await;
            assert!(ended.is_disjoint(&pending), "ended and pending at once");
            assert_eq!(counts.ended.get(&State::Delivered).copied(), Some(ended.len() as u64), "of node {}", node.id);
            assert_eq!(counts.accepted, (ended.len() + pending.len()) as u64);
            let of_it = before.iter().filter(|id| id.partition() == *partition);
            let lost: Vec<_> = of_it.filter(|id| !ended.contains(id) && !pending.contains(id)).collect();
            assert!(lost.is_empty(), "{} accepted before are missing", lost.len());
        }
        let nodes_known = ledgers.read_control(|control| control.nodes.keys().copied().collect::<Vec<_>>());
        assert_eq!((nodes_known, ledgers.cluster().as_deref()), (vec![9], Some("c-2")));
        ledgers.shutdown().await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backup_at_a_time_and_the_next_one_after_its_reader_has_gone() {
    let nodes = cluster(1, PARTITIONS).await;
    let first = nodes[0].ledgers.backup().await.expect("it begins");
    let second = nodes[0].ledgers.backup().await.expect_err("one is being taken");
    assert_eq!(second, BackupError::Busy);
    drop(first);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("whole");
    let end = Instant::now() + Duration::from_secs(30);
    let mut begun = loop {
        match nodes[0].ledgers.backup().await {
            Ok(backup) => break backup,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = begun.next().await {
        bytes.extend_from_slice(&chunk.expect("it comes whole"));
    }
    std::fs::write(&path, bytes).expect("it can be written");
    let summary = inspect(&path, &mut |_, _| {}).expect("it is whole");
    assert!(summary.head.is_of(&Secret::new("of the cluster")));
    for node in nodes {
        node.stop().await;
    }
}
