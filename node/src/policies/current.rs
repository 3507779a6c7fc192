//! The policies in force, read once per change of control and shared by all requests.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use tidings_contract::{MessageType, planted};
use tidings_machine::control::{PolicyVersion, Selector};

use super::{Rule, kind};
use crate::app::App;

/// A policy in force.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    /// What events name: `<kind>/<policy>@<version>`.
    pub title: String,
    /// The same without the version: what stays when the policy changes.
    pub lasting: String,
    /// Which messages it is for.
    pub selector: Selector,
    /// The rule.
    pub rule: Rule,
}

impl Active {
    /// The name of the policy and its version.
    pub(crate) fn edition(&self) -> Option<(&str, u32)> {
        let (_, rest) = self.title.split_once('/')?;
        let (name, version) = rest.rsplit_once('@')?;
        Some((name, version.parse().ok()?))
    }

    fn read(name: &str, version: &PolicyVersion) -> Result<Self, String> {
        let spec = &version.spec;
        let kind = kind(&spec.kind).ok_or_else(|| format!("the kind {} is not known to this program", spec.kind))?;
        let value: Value = serde_json::from_str(&spec.spec).map_err(|error| error.to_string())?;
        let rule = (kind.read)(&value).map_err(|errors| format!("{errors:?}"))?;
        let lasting = format!("{}/{name}", kind.name);
        Ok(Self { title: format!("{lasting}@{}", version.version), lasting, selector: spec.selector.clone(), rule })
    }
}

/// The policies in force, of one revision of control's.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    revision: u64,
    all: Vec<Active>,
}

impl InForce {
    /// Every one, in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Active> {
        self.all.iter()
    }

    /// These, for a test.
    #[cfg(test)]
    pub(super) fn of(all: Vec<Active>) -> Self {
        Self { revision: 0, all }
    }

    /// Those that are for a message, in the order of their names.
    pub(crate) fn select<'a>(
        &'a self,
        channel: &'a str,
        message_type: MessageType,
        template: &'a str,
        tags: &'a [String],
    ) -> impl Iterator<Item = &'a Active> {
        self.all.iter().filter(move |policy| policy.selector.selects(channel, message_type, template, tags))
    }
}

/// What was made of control's policies last.
#[derive(Default)]
pub(crate) struct Current(ArcSwapOption<InForce>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&self.0.load().as_ref().map(|in_force| in_force.revision)).finish()
    }
}

impl App {
    /// The policies in force, as this node's control has them at this moment.
    pub(crate) fn policies(&self) -> Arc<InForce> {
        let revision = self.ledger.control(|c| c.policies.revision);
        let serves = |known: &InForce| known.revision == revision || planted("old_policies") && !known.all.is_empty();
        if let Some(known) = self.policies.0.load_full().filter(|known| serves(known)) {
            return known;
        }
        let (revision, versions) = self.ledger.control(|c| {
            let versions = c.policies.in_force().map(|(name, version)| (name.clone(), Arc::clone(version)));
            (c.policies.revision, versions.collect::<Vec<_>>())
        });
        let mut all = Vec::with_capacity(versions.len());
        for (name, version) in versions {
            match Active::read(&name, &version) {
                Ok(policy) => all.push(policy),
                // A newer program wrote it; it decides nothing here, and whoever reads the log should know.
                Err(why) => tracing::error!(policy = name, why, "a policy cannot be read and is not in force here"),
            }
        }
        let fresh = Arc::new(InForce { revision, all });
        self.policies.0.store(Some(Arc::clone(&fresh)));
        fresh
    }
}
