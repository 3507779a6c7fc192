//! The state of control, and the questions that can be asked of it without changing it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{PartitionId, Time};

use super::{
    Account, Action, Answer, ApiKey, AuditEntry, Breakers, Cluster, Command, DeclaredProviders, Departures, Disks,
    Material, NodeInfo, Policies, Routes, Template, WordPart,
};
use crate::partition::CallbackSpec;
use crate::repair::Repaired;
use crate::{Machine, Output};

/// Everything operators decide.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Control {
    /// The newest time any command carried.
    pub now: Time,
    /// The cluster, once it is founded.
    pub cluster: Option<Cluster>,
    /// The nodes, by number.
    pub nodes: BTreeMap<u64, NodeInfo>,
    /// Which nodes hold which partition; the first is the preferred leader.
    pub placement: BTreeMap<PartitionId, Vec<u64>>,
    /// The templates, by name.
    pub templates: BTreeMap<String, Template>,
    /// The accounts, by name.
    pub accounts: BTreeMap<String, Arc<Account>>,
    /// The API keys, by id.
    pub keys: BTreeMap<String, ApiKey>,
    /// Which key has which hash; the revoked ones are not here.
    pub key_hashes: BTreeMap<[u8; 32], String>,
    /// The newest changes, oldest first.
    pub audit: VecDeque<AuditEntry>,
    /// How many changes there have been.
    pub audit_seq: u64,
    /// Nodes that leave and that left. States of disk version 1 end before it.
    #[serde(default, deserialize_with = "crate::absent::absent_is_empty")]
    pub departures: Departures,
    /// The policies.
    #[serde(default)]
    pub policies: Policies,
    /// The parts of word lists, by the hash of their text; see [`Control::words_of`].
    #[serde(default)]
    pub words: BTreeMap<u64, Arc<WordPart>>,
    /// The routes.
    #[serde(default)]
    pub routes: Routes,
    /// The breakers of accounts.
    #[serde(default)]
    pub breakers: Breakers,
    /// Who is told what becomes of the deliveries that a key submits, by the key's id.
    #[serde(default)]
    pub callbacks: BTreeMap<String, Arc<CallbackSpec>>,
    /// The materials, by id.
    #[serde(default)]
    pub materials: BTreeMap<String, Material>,
    /// The declared providers.
    #[serde(default)]
    pub declared: DeclaredProviders,
    /// How many materials were deleted.
    #[serde(default)]
    pub materials_deleted: u64,
    /// Which disk each node has.
    #[serde(default)]
    pub disks: Disks,
    /// The last repair of the cluster's time. States of programs before it end here.
    #[serde(default, deserialize_with = "crate::absent::absent_is_empty")]
    pub repaired: Option<Repaired>,
}

impl Control {
    /// The nodes that are to stay.
    pub fn staying(&self) -> impl Iterator<Item = u64> {
        self.nodes.keys().copied().filter(|node| !self.departures.draining.contains_key(node))
    }
}

impl Machine for Control {
    type Command = Command;
    type Answer = Answer;
    /// Control has no hints: whoever depends on it watches its version.
    type Hint = ();
    /// Control keeps everything in its state.
    type Record = ();

    fn now(&self) -> Time {
        self.now
    }

    fn sets_time_back(command: &Command) -> bool {
        matches!(command.action, Action::RepairTime { .. })
    }

    fn apply(&mut self, at: Time, command: Command, _out: &mut Output<(), ()>) -> Answer {
        self.now = self.now.max(at);
        self.dispatch(command)
    }
}
