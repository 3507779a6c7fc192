//! Whether this process can go on: a database that failed, or a group whose storage failed, needs a new process.

use openraft::error::Fatal;

use crate::group::AnyGroup;
use crate::ledgers::Ledgers;

impl Ledgers {
    /// Why this process has to end and start again: the database reported an error, or a group stopped because of its
    /// storage. `None` in health, and also while the disk is merely full: that goes away by itself.
    pub fn failure(&self) -> Option<String> {
        self.disk_failure().or_else(|| self.inner.groups().iter().find_map(|group| failure_of(&**group)))
    }
}

fn failure_of(group: &dyn AnyGroup) -> Option<String> {
    let metrics = group.raft().metrics();
    let metrics = metrics.borrow();
    match metrics.running_state.as_ref().err()? {
        // It was closed on purpose.
        Fatal::Stopped => None,
        fatal => Some(format!("group {}: {fatal}", group.id())),
    }
}
