//! Policies: named, versioned rules of operators, each for the messages its selector selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{MessageType, Time};

/// Which messages a policy is for. An empty list selects all; of several lists all must select.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Channels.
    pub channels: Vec<String>,
    /// What the messages are for.
    pub message_types: Vec<MessageType>,
    /// Names of templates.
    pub templates: Vec<String>,
    /// Tags of the message; one of them is enough.
    pub tags: Vec<String>,
}

impl Selector {
    /// Whether it selects a message of that channel, type, template and those tags.
    pub fn selects(&self, channel: &str, message_type: MessageType, template: &str, tags: &[String]) -> bool {
        fn takes<T>(list: &[T], one: impl Fn(&T) -> bool) -> bool {
            list.is_empty() || list.iter().any(one)
        }
        takes(&self.channels, |name| name == channel)
            && takes(&self.message_types, |kind| *kind == message_type)
            && takes(&self.templates, |name| name == template)
            && takes(&self.tags, |tag| tags.contains(tag))
    }

    /// Whether it selects every message.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.message_types.is_empty() && self.templates.is_empty() && self.tags.is_empty()
    }
}

/// What an operator writes; checked at the edge before it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Which kind of rule: `discard`, `quiet_hours` … A text, so that a node of an older program can carry a kind it does
    /// not know.
    pub kind: String,
    /// Which messages it is for.
    pub selector: Selector,
    /// The rule: a JSON object as text.
    pub spec: String,
    /// What it is for, for people.
    pub description: String,
    /// Where its words are, if it has some: parts that were put before.
    #[serde(default)]
    pub parts: Vec<u64>,
}

/// One version of a policy. Never changed, so that an event can name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Counted from 1, also over a deletion.
    pub version: u32,
    /// What was written.
    pub spec: PolicySpec,
    /// When.
    pub created_at: Time,
    /// By which API key.
    pub created_by: String,
}

/// A policy: its versions under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The newest version.
    pub latest: u32,
    /// The versions kept: the newest ones, at most [`Policy::VERSIONS_KEPT`].
    pub versions: BTreeMap<u32, Arc<PolicyVersion>>,
    /// A deleted policy decides nothing; its versions stay, because events name them.
    pub deleted: bool,
}

impl Policy {
    /// How many versions are kept.
    pub const VERSIONS_KEPT: usize = 20;

    /// The newest version, unless the policy was deleted.
    pub fn current(&self) -> Option<&Arc<PolicyVersion>> {
        if self.deleted { None } else { self.versions.get(&self.latest) }
    }
}

/// All policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// Grows with every change, so that what was made of them can be kept until it does.
    pub revision: u64,
    /// The policies, by name, the deleted ones included.
    pub named: BTreeMap<String, Policy>,
}

impl Policies {
    /// Most policies, the deleted ones included.
    pub const MOST: usize = 1_000;
    /// Most bytes of all versions that are kept: they are part of every snapshot of control.
    pub const MOST_BYTES: usize = 32 << 20;

    /// The policies in force, in the order of their names.
    pub fn in_force(&self) -> impl Iterator<Item = (&String, &Arc<PolicyVersion>)> {
        self.named.iter().filter_map(|(name, policy)| Some((name, policy.current()?)))
    }

    /// The bytes of all versions that are kept.
    pub fn bytes(&self) -> usize {
        self.named.values().flat_map(|policy| policy.versions.values()).map(|version| version.spec.spec.len()).sum()
    }
}
