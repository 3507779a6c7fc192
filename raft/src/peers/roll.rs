//! Who is no member of the cluster any more, as control says, and what this node was told about itself.

use std::collections::BTreeSet;

use parking_lot::RwLock;

/// Kept beside the identity of a node. A removal is for ever, so nothing here is ever taken back.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    gone: RwLock<BTreeSet<u64>>,
    told: RwLock<Option<String>>,
}

impl Roll {
    /// The nodes that were removed, by the latest word of control.
    pub(crate) fn set_gone(&self, gone: BTreeSet<u64>) {
        if *self.gone.read() != gone {
            *self.gone.write() = gone;
        }
    }

    /// What `node` is told instead of any answer, if it was removed.
    pub(crate) fn dismissal(&self, node: u64) -> Option<String> {
        let gone = self.gone.read().contains(&node);
        gone.then(|| format!("node {node} was removed from the cluster"))
    }

    /// A member, control or the disk says that this node was removed.
    pub(crate) fn tell(&self, why: &str) {
        let mut told = self.told.write();
        if told.is_none() {
            tracing::error!(
                "{why}: nothing here counts any more. Stop this process; to come back, join with an empty data directory \
                 and a number that was never used"
            );
            *told = Some(why.to_owned());
        }
    }

    /// Why this node is no member any more, if it is none.
    pub(crate) fn told(&self) -> Option<String> {
        self.told.read().clone()
    }
}
