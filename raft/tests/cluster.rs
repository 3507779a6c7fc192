//! Several nodes in one process: founding, joining, losing, restarting, catching up, handing over.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_contract::{PartitionId, Secret};
use tidings_machine::control::Action;
use tidings_raft::{GroupId, Ledgers, ProposeError, Query, Role};

use support::{Moving, Node, accept, cluster, deliver, founding, keep, options, settled, until};

const P0: PartitionId = PartitionId(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founded_cluster_takes_nodes_in_and_serves_every_partition_through_every_node() {
    let nodes = cluster(3, 6).await;
    let leaders = || -> std::collections::BTreeSet<_> {
        (0..6).filter_map(|p| nodes[0].ledgers.leader_of(PartitionId(p))).collect()
    };
    // A follower hears of its leader a moment later than the leader itself.
    until("leaders are spread", || leaders().len() == 3).await;
    for node in &nodes {
        for partition in (0..6).map(PartitionId) {
            let (_, command) = accept(partition, "+8613800138000");
            let answers = node.ledgers.propose(partition, vec![command]).await.expect("it is kept");
            assert_eq!(answers.len(), 1);
        }
        node.ledgers.fresh_control().await.expect("a fresh read");
        assert_eq!(node.ledgers.read_control(|control| control.nodes.len()), 3);
    }
    for partition in (0..6).map(PartitionId) {
        for node in &nodes {
            let pending = || node.ledgers.read(partition, |p| p.pending_count());
            until("every replica has what every node proposed", || pending() == Some(3)).await;
        }
    }
    let again = nodes[0].ledgers.found(founding(&nodes[0], 6)).await.expect("an answer");
    assert!(matches!(again, tidings_machine::control::Answer::Refused(_)), "{again:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_and_nothing_it_accepted_is_lost() {
    let mut nodes = cluster(3, 1).await;
    let leader = nodes[0].ledgers.leader_of(P0).expect("somebody leads");
    let at = nodes.iter().position(|node| node.id == leader).expect("it is one of ours");
    let gone = nodes.remove(at);
    for n in 0..50 {
        keep(&gone.ledgers, P0, accept(P0, &format!("user-{n}")).1).await;
    }
    let (id, dir) = gone.stop().await;
    for n in 50..100 {
        keep(&nodes[0].ledgers, P0, accept(P0, &format!("user-{n}")).1).await;
    }
    for node in &nodes {
        until("both have all", || node.ledgers.read(P0, |p| p.pending_count()) == Some(100)).await;
    }
    let back = Node::again(id, dir, &[nodes[0].addr(), nodes[1].addr()]).await;
    until("the dead one catches up", || back.ledgers.read(P0, |p| p.pending_count()) == Some(100)).await;
    nodes.push(back);
    settled(&nodes).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_from_disk_keeps_everything_beyond_snapshots_and_purges() {
    let mut node = cluster(1, 2).await.remove(0);
    let mut ids = Vec::new();
    for round in 0..450 {
        ids.extend(deliver(&node, P0, &[format!("user-{round}")]).await);
    }
    let (pending, command) = accept(P0, "later");
    keep(&node.ledgers, P0, command).await;
    until("a snapshot was taken and the log was cut", || {
        let status = node.ledgers.status();
        let group = status.iter().find(|s| s.group == GroupId::Partition(P0)).expect("it is here");
        group.snapshot_index.is_some_and(|index| index >= 200) && group.log_length < 300
    })
    .await;
    for _ in 0..2 {
        node = node.restart(&[]).await;
        until("it leads again", || node.ledgers.leading().borrow().len() == 2).await;
        assert!(node.ledgers.read(P0, |p| p.delivery(&pending).is_some()).expect("a replica"));
        let archive = node.ledgers.archive(P0).expect("a replica");
        for id in &ids {
            assert!(archive.get(*id).await.expect("readable").is_some(), "{id} was lost");
        }
        let query = Query { template: Some("otp".into()), ..Query::default() };
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = archive.scan(query.clone(), cursor, 100).await.expect("readable");
            found.extend(page.items.into_iter().map(|ended| ended.delivery.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.sort_unstable();
        let mut expected = ids.clone();
        expected.sort_unstable();
        assert_eq!(found, expected, "the index names each delivery once");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_gets_a_snapshot_with_the_archive() {
    let mut nodes = cluster(3, 1).await;
    let leader = nodes[0].ledgers.leader_of(P0).expect("somebody leads");
    let at = nodes.iter().position(|node| node.id != leader).expect("a follower");
    let (id, dir) = nodes.remove(at).stop().await;
    let leader = nodes.iter().position(|node| node.id == leader).expect("it still runs");
    let mut ids = Vec::new();
    for round in 0..450 {
        ids.extend(deliver(&nodes[leader], P0, &[format!("user-{round}")]).await);
    }
    let back = Node::again(id, dir, &[nodes[leader].addr()]).await;
    let wanted = nodes[leader].ledgers.read(P0, |p| p.totals().clone());
    until("it has caught up", || back.ledgers.read(P0, |p| p.totals().clone()) == wanted).await;
    let status = back.ledgers.status();
    let group = status.iter().find(|s| s.group == GroupId::Partition(P0)).expect("it is here");
    assert!(group.snapshot_index.is_some(), "it came by snapshot: {group:?}");
    let archive = back.ledgers.archive(P0).expect("a replica");
    for id in &ids {
        assert!(archive.get(*id).await.expect("readable").is_some(), "{id} did not come along");
    }
    let query = Query { recipient: Some("user-17".into()), ..Query::default() };
    let page = archive.scan(query, None, 10).await.expect("readable");
    assert_eq!(page.items.iter().map(|e| e.delivery.id).collect::<Vec<_>>(), [ids[17]]);
    back.stop().await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_without_refusing_anything() {
    let nodes = cluster(3, 1).await;
    let from = nodes.iter().find(|node| node.ledgers.leading().borrow().contains_key(&P0)).expect("a leader");
    let to = nodes.iter().find(|node| node.id != from.id).expect("a follower");
    let asking = |node: &Node| {
        let (ledgers, until) = (node.ledgers.clone(), Instant::now() + Duration::from_secs(2));
        tokio::spawn(async move {
            let mut kept = 0;
            while Instant::now() < until {
                let answered = ledgers.propose(P0, vec![accept(P0, "user").1]).await;
                assert!(answered.is_ok(), "{answered:?}");
                kept += 1;
            }
            kept
        })
    };
    let askers: Vec<_> = nodes.iter().map(asking).collect();
    // Without this wish the new leader would hand the partition back to the one control prefers.
    let action = Action::PreferLeader { partition: P0, node: to.id };
    let wish = tidings_machine::control::Command { by: "test".into(), action };
    from.ledgers.propose_control(vec![wish]).await.expect("control takes it");
    until("the other one leads", || to.ledgers.leading().borrow().contains_key(&P0)).await;
    let mut kept = 0;
    for asker in askers {
        kept += asker.await.expect("nothing was refused");
    }
    until("all of it is there", || to.ledgers.read(P0, |p| p.pending_count()) == Some(kept)).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_not_let_in() {
    let nodes = cluster(1, 1).await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut wrong = options(2, &dir);
    wrong.secret = Secret::new("of another cluster");
    let stranger = Ledgers::open(wrong, Arc::new(Moving::default())).await.expect("it opens");
    let refused = stranger.join(&[nodes[0].addr()], nodes[0].info()).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    assert_eq!(stranger.status().len(), 1);
    assert_eq!(stranger.status()[0].role, Role::Learner);
    stranger.shutdown().await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_has_no_leader_is_refused_for_what_it_is() {
    let nodes = cluster(1, 1).await;
    let huge = "x".repeat(300 << 10);
    let refused = nodes[0].ledgers.propose(P0, vec![accept(P0, &huge).1]).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    let within = Duration::from_millis(300);
    let refused = nodes[0].ledgers.propose_within(PartitionId(9), vec![accept(P0, "user").1], within).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    let asked = nodes[0].ledgers.ask(1, 5, bytes::Bytes::new(), within).await;
    assert!(asked.is_err(), "nobody answers yet");
    nodes[0].ledgers.on_ask(Arc::new(|from, kind, payload| {
        Box::pin(async move { Ok(bytes::Bytes::from(format!("{from} {kind} {}", payload.len()))) })
    }));
    let asked = nodes[0].ledgers.ask(1, 5, bytes::Bytes::from_static(b"abc"), within).await;
    assert_eq!(asked.as_deref(), Ok(&b"1 5 3"[..]));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_led_and_what_was_refused_is_never_kept() {
    let mut nodes = cluster(3, 1).await;
    let at = nodes.iter().position(|node| node.ledgers.leading().borrow().contains_key(&P0)).expect("a leader");
    let alone = nodes.remove(at);
    let mut away = Vec::new();
    for node in nodes {
        away.push(node.stop().await);
    }
    let ask = |n: u32| {
        let ledgers = alone.ledgers.clone();
        async move {
            let (id, command) = accept(P0, &format!("user-{n}"));
            (id, ledgers.propose_within(P0, vec![command], Duration::from_millis(500)).await)
        }
    };
    let first = ask(0).await;
    assert!(matches!(first.1, Err(ProposeError::Unknown(_))), "it is in the leader's log: {:?}", first.1);
    let later = futures::future::join_all((1..40).map(ask)).await;
    for (id, answer) in &later {
        assert!(matches!(answer, Err(ProposeError::Refused(_))), "{id}: {answer:?}");
    }
    until("it stopped leading", || alone.ledgers.leading().borrow().is_empty()).await;
    let mut back = Vec::new();
    for (id, dir) in away {
        back.push(Node::again(id, dir, &[]).await);
    }
    // Their ports are new, and there is no majority that could write them down: they find each other by telling.
    let seeds: Vec<_> = back.iter().map(Node::addr).chain([alone.addr()]).collect();
    for node in &back {
        node.ledgers.join(&seeds, node.info()).await.expect("it tells its new address");
    }
    let (kept, command) = accept(P0, "at last");
    keep(&alone.ledgers, P0, command).await;
    until("the first replica has it", || alone.ledgers.read(P0, |p| p.delivery(&kept).is_some()) == Some(true)).await;
    for (id, _) in &later {
        assert_eq!(alone.ledgers.read(P0, |p| p.delivery(id).is_some()), Some(false), "{id} was refused");
    }
    alone.stop().await;
    for node in back {
        node.stop().await;
    }
}
