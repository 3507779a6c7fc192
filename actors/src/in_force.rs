//! The policies that the motion follows, as control has them now: read once per change.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidings_contract::MessageType;
use tidings_machine::control::{Control, PolicySpec, Selector};

use crate::policies::{LaneRule, LimitRule};

/// The policies of one revision.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// Grows with every change.
    pub(crate) revision: u64,
    /// Name, for whom, and the rule.
    limits: Vec<(String, Selector, LimitRule)>,
    lanes: Vec<(Selector, LaneRule)>,
    /// The versions of the policies that limit.
    versions: BTreeMap<String, u32>,
}

/// What was read last, and from which version of control.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    pub(crate) version: u64,
    pub(crate) in_force: Arc<InForce>,
}

impl InForce {
    /// Reads the policies of control, unless they are of the same revision.
    pub(crate) fn read(control: &Control, known: &Arc<Self>) -> Arc<Self> {
        let revision = control.policies.revision;
        if revision == known.revision {
            return Arc::clone(known);
        }
        let mut fresh = Self { revision, ..Self::default() };
        for (name, version) in control.policies.in_force() {
            fresh.add(name, &version.spec);
            if version.spec.kind == "limits" {
                fresh.versions.insert(name.to_owned(), version.version);
            }
        }
        Arc::new(fresh)
    }

    fn add(&mut self, name: &str, written: &PolicySpec) {
        let (selector, spec) = (&written.selector, &written.spec);
        let spec: Value = serde_json::from_str(spec).unwrap_or_default();
        let why = match written.kind.as_str() {
            "limits" => match LimitRule::read(&spec) {
                Ok(rule) => return self.limits.push((name.to_owned(), selector.clone(), rule)),
                Err(why) => why,
            },
            "lanes" => match LaneRule::read(&spec) {
                Ok(rule) => return self.lanes.push((selector.clone(), rule)),
                Err(why) => why,
            },
            _ => return,
        };
        // A newer program wrote it; whoever reads the log should know that it is not followed here.
        tracing::error!(policy = name, ?why, "a policy cannot be read and is not followed by this node");
    }

    /// The version of a policy that limits; 0 if there is none any more.
    pub(crate) fn version_of(&self, policy: &str) -> u32 {
        self.versions.get(policy).copied().unwrap_or(0)
    }

    /// The limits for a message, with the names of their policies.
    pub(crate) fn limits<'a>(
        &'a self,
        channel: &'a str,
        message_type: MessageType,
        template: &'a str,
        tags: &'a [String],
    ) -> impl Iterator<Item = (&'a str, &'a LimitRule)> {
        let selected =
            self.limits.iter().filter(move |(_, selector, _)| selector.selects(channel, message_type, template, tags));
        selected.map(|(name, _, rule)| (name.as_str(), rule))
    }

    /// The size of a pool: calls at once, and deliveries in motion; each as the first policy says that says something.
    pub(crate) fn bounds(&self, channel: &str, message_type: MessageType) -> (Option<usize>, Option<usize>) {
        let rules = || self.lanes.iter().filter(|(selector, _)| selector.selects(channel, message_type, "", &[]));
        let size = rules().find_map(|(_, rule)| rule.pool_size);
        (size, rules().find_map(|(_, rule)| rule.max_outstanding))
    }
}
