//! The lease of a partition's leader: one holder at a time, whatever becomes of leaders.
#![allow(clippy::expect_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Node, accept, cluster, keep, until};
use tidings_contract::PartitionId;
use tidings_raft::{GroupId, Ledgers, Tenure};

const P0: PartitionId = PartitionId(0);

/// The lease that a node holds now.
fn held(ledgers: &Ledgers) -> Option<Arc<Tenure>> {
    let status = ledgers.status();
    let group = status.iter().find(|status| status.group == GroupId::Partition(P0))?;
    ledgers.lease(P0, group.term).filter(|tenure| tenure.left().is_some())
}

/// Looks at all leases there ever were until it is told to end; gives how often two of them held at one moment, and in how
/// many terms there was one.
async fn watch(nodes: Vec<Ledgers>, end: Arc<AtomicBool>) -> (usize, usize) {
    let (mut seen, mut twice): (Vec<Arc<Tenure>>, usize) = (Vec::new(), 0);
    while !end.load(Ordering::SeqCst) {
        for tenure in nodes.iter().filter_map(held) {
            if !seen.iter().any(|other| Arc::ptr_eq(other, &tenure)) {
                seen.push(tenure);
            }
        }
        let holding: Vec<_> = seen.iter().filter(|tenure| tenure.left().is_some()).collect();
        // One that held at the first look and holds still held when the others were looked at.
        twice += usize::from(holding.len() > 1 && holding[..2].iter().all(|tenure| tenure.left().is_some()));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (twice, seen.len())
}

fn leader(nodes: &[Node]) -> Option<&Node> {
    nodes.iter().find(|node| node.ledgers.leading().borrow().contains_key(&P0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_handed_on_and_on_nobody_holds_it_beside_another() {
    let nodes = cluster(3, 1).await;
    let end = Arc::new(AtomicBool::new(false));
    let ledgers: Vec<_> = nodes.iter().map(|node| node.ledgers.clone()).collect();
    let watching = tokio::spawn(watch(ledgers, Arc::clone(&end)));
    for round in 0..6 {
        until("somebody leads", || leader(&nodes).is_some()).await;
        let from = leader(&nodes).expect("a leader");
        let to = nodes.iter().filter(|node| node.id != from.id).nth(round % 2).expect("a follower");
        // It may be refused while an election is under way, and control may have it handed back.
        let _ = from.ledgers.transfer(GroupId::Partition(P0), to.id).await;
        keep(&to.ledgers, P0, accept(P0, "user").1).await;
    }
    end.store(true, Ordering::SeqCst);
    let (twice, terms) = watching.await.expect("it watched");
    assert_eq!(twice, 0, "two nodes held the lease at one moment");
    assert!(terms > 2, "it was handed over: {terms} terms had a lease");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_alone_in_a_group_holds_it_and_who_lost_the_others_does_not() {
    let mut nodes = cluster(1, 1).await;
    assert!(held(&nodes[0].ledgers).is_some(), "nobody else votes");
    for id in [2, 3] {
        let node = Node::start(id).await;
        node.ledgers.join(&[nodes[0].addr()], node.info()).await.expect("it joins");
        nodes.push(node);
    }
    support::settled(&nodes).await;
    until("the leader holds the lease", || leader(&nodes).is_some_and(|node| held(&node.ledgers).is_some())).await;
    let at = nodes.iter().position(|node| held(&node.ledgers).is_some()).expect("a holder");
    let alone = nodes.remove(at);
    let term = *alone.ledgers.leading().borrow().get(&P0).expect("it leads");
    let tenure = alone.ledgers.lease(P0, term).expect("a tenure");
    for node in nodes {
        node.stop().await;
    }
    until("its lease is over", || tenure.left().is_none()).await;
    until("it says so", || alone.ledgers.leading().borrow().is_empty()).await;
    alone.stop().await;
}
