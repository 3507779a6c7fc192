//! Whether this process can go on: a database that failed, a group whose Raft core died, or a task that panicked needs a new
//! process. Only a new one reads from the disk what is true.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use openraft::error::Fatal;
use parking_lot::Mutex;

use crate::ledgers::Ledgers;

/// The first of this node's own tasks that panicked, in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deaths(Arc<Mutex<Option<String>>>);

impl Deaths {
    /// Runs `task`; if it panics, that is remembered.
    pub(crate) async fn watch(self, what: &'static str, task: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
            self.0.lock().get_or_insert_with(|| format!("{what} panicked: {}", words(&*panic)));
        }
    }

    fn first(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

impl Ledgers {
    /// Why this process has to end and start again: the database reported an error, a group stopped because of its storage or
    /// because its Raft core panicked, or a task of this node panicked. `None` in health, and also while the disk is merely
    /// full: that goes away by itself.
    pub fn failure(&self) -> Option<String> {
        let dead = || {
            let groups = self.inner.groups();
            groups.iter().find_map(|group| Some(format!("group {}: {}", group.id(), group.death()?)))
        };
        self.disk_failure().or_else(dead).or_else(|| self.inner.deaths.first())
    }
}

/// What a dead Raft core says of its end. openraft writes it down, unless the core panicked: then nobody did.
pub(crate) fn last_words(said: Result<(), Fatal<u64>>) -> String {
    match said {
        Ok(()) | Err(Fatal::Panicked) => "its Raft core panicked".to_owned(),
        Err(Fatal::Stopped) => "its Raft core stopped by itself".to_owned(),
        Err(fatal) => fatal.to_string(),
    }
}

/// What somebody said who panicked.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tidings_contract::{Clock, PartitionId, Secret, Time};
    use tidings_machine::control::Action::Found as Founded;
    use tidings_machine::control::{Answer, ApiKey, Command, NodeInfo, Role};

    use super::*;
    use crate::options::{Options, Timing};
    use crate::types::GroupId;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Time {
            Time(1_000_000)
        }
    }

    /// A node that is a cluster of its own and leads its one partition.
    async fn lone(dir: &std::path::Path) -> Ledgers {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let mut options = Options::new(1, dir, listen, Secret::new("s"));
        options.timing = Timing::brisk();
        options.disk_reserve_bytes = 0;
        let ledgers = Ledgers::open(options, Arc::new(Still)).await.expect("it opens");
        let (peer_addr, joined_at) = (ledgers.peer_addr().to_string(), Still.now());
        let info = NodeInfo { peer_addr, api_addr: "api".into(), labels: BTreeMap::new(), joined_at };
        let (name, created_at) = ("first".to_owned(), joined_at);
        let key = ApiKey { name, role: Role::Admin, hash: [7; 32], created_at, revoked_at: None };
        let cluster =
            Founded { cluster: "c".into(), partitions: 1, replication: 1, node: 1, info, key_id: "k".into(), key };
        assert_eq!(ledgers.found(Command { by: "cluster".into(), action: cluster }).await, Ok(Answer::Done));
        let mut leading = ledgers.leading();
        leading.wait_for(|leading| leading.contains_key(&PartitionId(0))).await.expect("it leads");
        ledgers
    }

    /// Has a group's core panic, as an impossible request would.
    fn break_core(ledgers: &Ledgers, id: GroupId) {
        let group = ledgers.inner.group(id).expect("a group");
        group.raft().external_request(|_| panic!("planted"));
    }

    async fn dead(ledgers: &Ledgers, id: GroupId) {
        let mut metrics = ledgers.inner.group(id).expect("a group").raft().metrics();
        while metrics.changed().await.is_ok() {}
    }

    #[tokio::test]
    async fn a_partition_whose_core_panicked_is_a_failure_and_nothing_is_shown_or_led_by_it_any_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledgers = lone(dir.path()).await;
        let (partition, id) = (PartitionId(0), GroupId::Partition(PartitionId(0)));
        assert_eq!(ledgers.failure(), None);
        break_core(&ledgers, id);
        dead(&ledgers, id).await;
        assert_eq!(ledgers.failure().as_deref(), Some("group p0: its Raft core panicked"));
        assert!(ledgers.read(partition, |_| ()).is_none(), "an old replica answers nothing");
        assert!(ledgers.archive(partition).is_none());
        ledgers.leading().wait_for(|leading| leading.is_empty()).await.expect("it leads nothing");
        let status = ledgers.status().into_iter().find(|status| status.group == id).expect("its status");
        assert_eq!((status.role, status.leader), (crate::status::Role::Stopped, None));
        assert_eq!(status.failure.as_deref(), Some("its Raft core panicked"));
        ledgers.shutdown().await;
    }

    #[tokio::test]
    async fn control_whose_core_panicked_is_a_failure_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledgers = lone(dir.path()).await;
        break_core(&ledgers, GroupId::Control);
        dead(&ledgers, GroupId::Control).await;
        assert_eq!(ledgers.failure().as_deref(), Some("group control: its Raft core panicked"));
        ledgers.shutdown().await;
    }

    #[tokio::test]
    async fn a_group_that_was_closed_on_purpose_is_no_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let ledgers = lone(dir.path()).await;
        ledgers.inner.group(GroupId::Partition(PartitionId(0))).expect("a group").shutdown().await;
        assert_eq!(ledgers.failure(), None);
        ledgers.shutdown().await;
    }

    #[tokio::test]
    async fn a_task_that_panicked_is_remembered_with_what_it_said() {
        let deaths = Deaths::default();
        deaths.clone().watch("the keeper", async {}).await;
        assert_eq!(deaths.first(), None);
        deaths.clone().watch("the keeper", async { panic!("at {}", 7) }).await;
        deaths.clone().watch("the server", async { panic!("later") }).await;
        assert_eq!(deaths.first().as_deref(), Some("the keeper panicked: at 7"));
    }

    #[test]
    fn a_core_says_why_it_ended() {
        assert_eq!(last_words(Err(Fatal::Panicked)), "its Raft core panicked");
        assert_eq!(last_words(Err(Fatal::Stopped)), "its Raft core stopped by itself");
    }
}
