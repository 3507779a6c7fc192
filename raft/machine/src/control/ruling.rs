//! How policies are written and taken out of force.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::Change;
use super::{Answer, Control, Policies, Policy, PolicySpec, PolicyVersion, Refusal};

impl Control {
    /// Writes a version. A deleted policy comes back, always with a new version; only then may its kind be another.
    pub(super) fn put_policy(&mut self, name: String, spec: PolicySpec, by: &str) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::Invalid("a policy has a name".to_owned()));
        }
        if !self.has_words(&spec.parts) {
            return Err(Refusal::Invalid("some of its words are not there any more; put it again".to_owned()));
        }
        let known = self.policies.named.get(&name);
        if known.is_none() && self.policies.named.len() >= Policies::MOST {
            return Err(Refusal::TooMany(Policies::MOST as u64));
        }
        if let Some(current) = known.and_then(Policy::current) {
            if current.spec == spec {
                return Ok(Change::None(Answer::Version(current.version)));
            }
            if current.spec.kind != spec.kind {
                let why = format!("the policy `{name}` is of the kind {}; delete it first", current.spec.kind);
                return Err(Refusal::Invalid(why));
            }
        }
        if self.policies.bytes() + spec.spec.len() > Policies::MOST_BYTES {
            return Err(Refusal::TooMany(Policies::MOST_BYTES as u64));
        }
        let nothing = || Policy { latest: 0, versions: BTreeMap::new(), deleted: false };
        let policy = self.policies.named.entry(name).or_insert_with(nothing);
        let version = policy.latest + 1;
        let written = PolicyVersion { version, spec, created_at: self.now, created_by: by.to_owned() };
        policy.versions.insert(version, Arc::new(written));
        policy.latest = version;
        policy.deleted = false;
        if policy.versions.len() > Policy::VERSIONS_KEPT {
            policy.versions.pop_first();
        }
        self.policies.revision += 1;
        Ok(Change::Made(Answer::Version(version)))
    }

    pub(super) fn delete_policy(&mut self, name: &str) -> Result<Change, Refusal> {
        let found = self.policies.named.get_mut(name);
        let policy = found.filter(|policy| !policy.deleted).ok_or(Refusal::NotFound)?;
        policy.deleted = true;
        self.policies.revision += 1;
        Ok(Change::Made(Answer::Done))
    }
}
