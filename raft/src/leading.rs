//! Which partitions this node leads and can serve, as the rest of the program is told.
//!
//! This is a report, and late by nature: after a freeze it says what was true before. Whoever acts on it asks the lease itself
//! at the last moment ([`crate::Tenure`]).

use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_contract::PartitionId;
use tidings_machine::partition::Partition;
use tokio::time::Instant;

use crate::base::awake;
use crate::group::{AnyGroup, Group, leads};
use crate::ledgers::Inner;

/// How often a member that may still stand, because it was once asked to, is asked again while that costs the lease.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps `leading` true for one partition as long as its group lives.
///
/// openraft 0.9 lets a leader without a majority think that it leads. Here it stops leading when its lease is over: before
/// anybody else can be elected, so that two nodes never serve a partition at once.
pub(crate) async fn watch(inner: Weak<Inner>, group: Weak<Group<Partition>>, partition: PartitionId) {
    let Some(raft) = group.upgrade().map(|group| group.raft().clone()) else { return };
    let Some((me, timing)) = inner.upgrade().map(|inner| (inner.node(), inner.ground.options.timing)) else { return };
    let (mut server, mut data) = (raft.server_metrics(), raft.data_metrics());
    let mut asked = Instant::now();
    loop {
        let (elected, vote) = {
            let server = server.borrow_and_update();
            (server.state.is_leader(), server.vote)
        };
        data.borrow_and_update();
        let Some((node, group)) = inner.upgrade().zip(group.upgrade()) else { return };
        if elected {
            // Who is the only voter sends nothing that would begin its lease.
            group.lease().leads(&vote);
        }
        let holds = |term: &u64| group.lease().tenure(*term).is_some_and(|tenure| tenure.left().is_some());
        let term = leads(&raft).filter(holds);
        let changed = node.leading.send_if_modified(|leading| match term {
            Some(term) => leading.insert(partition, term) != Some(term),
            None => leading.remove(&partition).is_some(),
        });
        if changed {
            node.look.notify_one();
        }
        if elected && term.is_none() && asked.elapsed() >= ASK_AGAIN {
            asked = Instant::now();
            ask_again(&node, &group);
        }
        drop((node, group));
        let changed = if elected {
            tokio::select! {
                changed = server.changed() => changed,
                // Only a new leader's first applied entry is worth waking up for; later ones change nothing here.
                changed = data.changed(), if term.is_none() => changed,
                () = tokio::time::sleep(Duration::from_millis(timing.heartbeat_ms)) => Ok(()),
            }
        } else {
            server.changed().await
        };
        awake(me).await;
        if changed.is_err() {
            // The core ended: nobody else would take back what was said of it.
            if let Some(inner) = inner.upgrade() {
                inner.leading.send_if_modified(|leading| leading.remove(&partition).is_some());
            }
            return;
        }
    }
}

/// A hand-over that was broken off may have left a member that stands at any time, so that its answers do not count. Asked
/// again, it stands, and whoever is elected has a lease of its own, or it says that it has heard.
fn ask_again(inner: &Arc<Inner>, group: &Arc<Group<Partition>>) {
    let Some(target) = group.lease().may_stand() else { return };
    let (asking, group) = (Arc::clone(inner), Arc::clone(group));
    inner.spawn("asking a member again to stand", async move {
        if let Err(error) = asking.ask_to_stand(&*group, target).await {
            tracing::debug!(group = %group.id(), target, %error, "it could not be asked again to stand");
        }
    });
}
