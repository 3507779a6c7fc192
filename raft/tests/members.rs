//! Nodes that leave, are replaced, or come back after they were removed: nothing accepted is lost and nobody is disturbed.

#![allow(clippy::expect_used, reason = "these are tests; clippy only sees that in test functions")]

mod support;

use tidings_contract::PartitionId;
use tidings_machine::control::{Action, Answer, Command, Refusal};
use tidings_raft::{GroupId, Ledgers, ProposeError, Role};

use support::{Node, accept, cluster, keep, settled, until};

const PARTITIONS: u16 = 4;

async fn ask(ledgers: &Ledgers, action: Action) -> Answer {
    let command = Command { by: "k-1".into(), action };
    ledgers.propose_control(vec![command]).await.expect("control answers").remove(0)
}

/// Keeps so many deliveries in every partition, through any of `nodes`.
async fn fill(nodes: &[Node], count: usize) {
    for partition in (0..PARTITIONS).map(PartitionId) {
        for n in 0..count {
            keep(&nodes[n % nodes.len()].ledgers, partition, accept(partition, &format!("user-{n}")).1).await;
        }
    }
}

/// Waits until every node holds exactly what it should, and all of it.
async fn whole(nodes: &[Node], pending: u64) {
    settled(nodes).await;
    for node in nodes {
        until("each node holds exactly what control placed on it", || {
            let placed = |control: &tidings_machine::control::Control| {
                let mine = control.placement.iter().filter(|(_, replicas)| replicas.contains(&node.id));
                mine.map(|(partition, _)| *partition).collect::<Vec<_>>()
            };
            node.ledgers.hosted() == node.ledgers.read_control(placed)
        })
        .await;
        for partition in node.ledgers.hosted() {
            let held = || node.ledgers.read(partition, |p| p.pending_count()) == Some(pending);
            until("each replica has everything", held).await;
        }
    }
}

/// Waits until something is known: between two leaders nobody is one.
async fn known<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = look();
        found.is_some()
    })
    .await;
    found.expect("it was just found")
}

/// Waits until control has forgotten a node.
async fn forgotten(nodes: &[Node], id: u64) {
    until("the node is forgotten", || {
        nodes.iter().all(|node| node.ledgers.read_control(|control| control.departures.removed.contains_key(&id)))
    })
    .await;
    until("control has it as a member no more", || {
        let status = nodes.iter().flat_map(|node| node.ledgers.status());
        status.filter(|group| group.group == GroupId::Control).all(|group| !group.replicas.contains_key(&id))
    })
    .await;
}

async fn stop_all(nodes: Vec<Node>) {
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_and_shrinks_and_replicas_that_left_are_erased() {
    let mut nodes = cluster(3, PARTITIONS).await;
    fill(&nodes, 30).await;
    let joining = Node::start(4).await;
    joining.ledgers.join(&[nodes[1].addr()], joining.info()).await.expect("it joins");
    nodes.push(joining);
    whole(&nodes, 30).await;
    assert!(!nodes[3].ledgers.hosted().is_empty(), "the new node took replicas");
    // What left is gone from the disk, not only from memory.
    let kept = nodes[0].ledgers.hosted();
    assert!(kept.len() < usize::from(PARTITIONS), "node 1 gave some away: {kept:?}");
    let first = nodes.remove(0).restart(&[nodes[0].addr()]).await;
    assert_eq!(first.ledgers.hosted(), kept);
    nodes.insert(0, first);
    whole(&nodes, 30).await;
    // The one that leads control leaves, without being told apart.
    let leader = known("somebody leads control", || nodes[0].ledgers.control_leader()).await;
    assert_eq!(ask(&nodes[0].ledgers, Action::RemoveNode { node: leader }).await, Answer::Done);
    let at = nodes.iter().position(|node| node.id == leader).expect("it is one of ours");
    let gone = nodes.remove(at);
    forgotten(&nodes, leader).await;
    fill(&nodes, 10).await;
    whole(&nodes, 40).await;
    until("the one that left knows it", || gone.ledgers.dismissed().is_some()).await;
    let refused = gone.ledgers.propose(PartitionId(0), vec![accept(PartitionId(0), "user").1]).await;
    assert!(matches!(refused, Err(ProposeError::Refused(_))), "{refused:?}");
    stop_all(nodes).await;
    gone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_by_an_empty_one_and_disturbs_nobody_when_it_comes_back() {
    let mut nodes = cluster(3, PARTITIONS).await;
    fill(&nodes, 20).await;
    let at = nodes.iter().position(|node| !node.ledgers.leading().borrow().is_empty()).expect("a leader");
    let (id, dir) = nodes.remove(at).stop().await;
    fill(&nodes, 10).await;
    let fresh = Node::start(9).await;
    let action = Action::ReplaceNode { old: id, node: 9, info: fresh.info() };
    assert_eq!(ask(&nodes[0].ledgers, action).await, Answer::Done);
    nodes.push(fresh);
    forgotten(&nodes, id).await;
    whole(&nodes, 30).await;

    let back = Node::again(id, dir, &[]).await;
    until("it is told that it was removed", || back.ledgers.dismissed().is_some()).await;
    let again = back.ledgers.join(&[nodes[0].addr()], back.info()).await;
    assert!(matches!(again, Err(ProposeError::Refused(_))), "{again:?}");
    fill(&nodes, 5).await;
    for group in nodes.iter().flat_map(|node| node.ledgers.status()) {
        assert!(group.leader != Some(id) && !group.replicas.contains_key(&id), "nobody follows it: {group:?}");
    }
    let own: Vec<Role> = back.ledgers.status().iter().map(|group| group.role).collect();
    assert!(!own.contains(&Role::Leader), "and it leads nothing: {own:?}");
    let refused = ask(&nodes[0].ledgers, Action::PutNode { node: id, info: back.info() }).await;
    assert_eq!(refused, Answer::Refused(Refusal::Removed(id)));
    // It knows from its own disk from here on.
    let (id, dir) = back.stop().await;
    let alone = Node::again(id, dir, &[]).await;
    until("it knows at once", || alone.ledgers.dismissed().is_some()).await;
    alone.stop().await;
    whole(&nodes, 35).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_an_operator_prefers_is_made_leader_and_stays_it() {
    let nodes = cluster(3, PARTITIONS).await;
    let partition = PartitionId(2);
    let now = known("somebody leads", || nodes[0].ledgers.leader_of(partition)).await;
    let next = nodes.iter().map(|node| node.id).find(|id| *id != now).expect("another replica");
    assert_eq!(ask(&nodes[0].ledgers, Action::PreferLeader { partition, node: next }).await, Answer::Done);
    settled(&nodes).await;
    until("it leads", || nodes[0].ledgers.leader_of(partition) == Some(next)).await;
    let usage = nodes[0].ledgers.disk_use().expect("the disk says");
    assert!(usage.used_bytes > 0 && usage.free_bytes > 0, "{usage:?}");
    stop_all(nodes).await;
}
