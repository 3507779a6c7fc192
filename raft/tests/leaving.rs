//! A node that leaves gives away what it leads first: nothing is refused, nothing comes back to it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidings_contract::PartitionId;
use tidings_raft::{GroupId, Ledgers};

use support::{accept, cluster, until};

/// More than two leases of these tests.
const WITHIN: Duration = Duration::from_secs(10);

/// Proposes to `partition` through `ledgers` until told to stop; gives how many were kept and the longest wait.
async fn press(ledgers: Ledgers, partition: PartitionId, stop: Instant) -> (u64, Duration) {
    let (mut kept, mut longest) = (0, Duration::ZERO);
    while Instant::now() < stop {
        let asked = Instant::now();
        let answered = ledgers.propose(partition, vec![accept(partition, "user").1]).await;
        assert!(answered.is_ok(), "{partition}: {answered:?}");
        kept += 1;
        longest = longest.max(asked.elapsed());
    }
    (kept, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_led_is_handed_over_at_once_and_nothing_is_refused() {
    let nodes = cluster(3, 6).await;
    let leaving = nodes.iter().find(|node| node.ledgers.control_leader() == Some(node.id)).expect("control is led");
    let led: Vec<_> = leaving.ledgers.leading().borrow().keys().copied().collect();
    assert_eq!(led.len(), 2, "leaders are spread");
    let stop = Instant::now() + Duration::from_secs(3);
    let asking = nodes.iter().flat_map(|node| (0..6).map(move |p| (node.ledgers.clone(), PartitionId(p))));
    let askers: Vec<_> = asking.map(|(ledgers, p)| tokio::spawn(press(ledgers, p, stop))).collect();
    let began = Instant::now();
    let stayed = leaving.ledgers.leave(WITHIN).await;
    assert_eq!(stayed, Vec::<GroupId>::new());
    println!("{} groups were handed over in {:?}", led.len() + 1, began.elapsed());
    for asker in askers {
        let (kept, longest) = asker.await.expect("nothing was refused");
        assert!(kept > 0);
        println!("kept {kept}, longest wait {longest:?}");
    }
    // By then the keepers of the others have looked several times, and would have handed back.
    assert!(leaving.ledgers.leading().borrow().is_empty());
    assert_ne!(nodes.iter().find(|n| n.id != leaving.id).and_then(|n| n.ledgers.control_leader()), Some(leaving.id));
    for partition in led {
        until("another one leads", || {
            nodes.iter().any(|node| node.id != leaving.id && node.ledgers.leading().borrow().contains_key(&partition))
        })
        .await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_made_quiet_before_it_is_handed_over_and_stays_where_it_does_not_become_so() {
    let nodes = cluster(3, 1).await;
    let p0 = PartitionId(0);
    let from = nodes.iter().find(|node| node.ledgers.leading().borrow().contains_key(&p0)).expect("a leader");
    let to = nodes.iter().find(|node| node.id != from.id).expect("a follower").id;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    from.ledgers.before_hand_over(Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { (Box::new(()) as Box<dyn std::any::Any + Send>, false) })
    }));
    let refused = from.ledgers.transfer(GroupId::Partition(p0), to).await;
    assert!(refused.is_err_and(|why| why.contains("do not end")));
    assert!(from.ledgers.leading().borrow().contains_key(&p0));
    assert_eq!(from.ledgers.leave(WITHIN).await, Vec::<GroupId>::new(), "a node that leaves goes in any case");
    assert!(asked.load(Ordering::SeqCst) >= 2);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_lone_node_has_nobody_to_hand_over_to_and_does_not_wait() {
    let nodes = cluster(1, 2).await;
    let began = Instant::now();
    assert_eq!(nodes[0].ledgers.leave(WITHIN).await, Vec::<GroupId>::new());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(nodes[0].ledgers.leading().borrow().len(), 2, "it goes on serving until it closes");
    assert_eq!(nodes[0].ledgers.failure(), None);
    for node in nodes {
        node.stop().await;
    }
}
