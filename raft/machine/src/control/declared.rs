//! Declared providers: suppliers that operators describe by a document, under a name that accounts give.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

use super::apply::Change;
use super::{Answer, Control, Refusal};

/// What an operator writes; checked at the edge before it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSpec {
    /// The channel it serves; `*` for all.
    pub channel: String,
    /// The document: a JSON object as text.
    pub definition: String,
    /// What it is, for people.
    pub description: String,
}

/// One version of a declared provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderVersion {
    /// Counted from 1, also over a deletion.
    pub version: u32,
    /// What was written.
    pub spec: ProviderSpec,
    /// When.
    pub created_at: Time,
    /// By which API key.
    pub created_by: String,
}

/// A declared provider: its versions under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredProvider {
    /// The newest version.
    pub latest: u32,
    /// The versions kept: the newest ones, at most [`DeclaredProvider::VERSIONS_KEPT`].
    pub versions: BTreeMap<u32, Arc<ProviderVersion>>,
    /// A deleted one opens no account.
    pub deleted: bool,
}

impl DeclaredProvider {
    /// How many versions are kept.
    pub const VERSIONS_KEPT: usize = 20;

    /// The newest version, unless it was deleted.
    pub fn current(&self) -> Option<&Arc<ProviderVersion>> {
        if self.deleted { None } else { self.versions.get(&self.latest) }
    }
}

/// All declared providers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredProviders {
    /// By name, the deleted ones included.
    pub named: BTreeMap<String, DeclaredProvider>,
}

impl DeclaredProviders {
    /// Names that begin like this are never built in.
    pub const PREFIX: &'static str = "declared/";
    /// Most declared providers, the deleted ones included.
    pub const MOST: usize = 1_000;
    /// Most bytes of all versions that are kept: they are part of every snapshot of control.
    pub const MOST_BYTES: usize = 16 << 20;

    /// The newest version of the one of that name, unless it was deleted.
    pub fn current(&self, name: &str) -> Option<&Arc<ProviderVersion>> {
        self.named.get(name)?.current()
    }

    /// Those in use, in the order of their names.
    pub fn in_use(&self) -> impl Iterator<Item = (&String, &Arc<ProviderVersion>)> {
        self.named.iter().filter_map(|(name, provider)| Some((name, provider.current()?)))
    }

    /// The bytes of all versions that are kept.
    pub fn bytes(&self) -> usize {
        let versions = self.named.values().flat_map(|provider| provider.versions.values());
        versions.map(|version| version.spec.definition.len()).sum()
    }
}

impl Control {
    /// Writes a version. Its accounts get another revision, so that every node opens them again, and their breakers close:
    /// a change is a reason to use them again.
    pub(super) fn put_provider(&mut self, name: String, spec: ProviderSpec, by: &str) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::Invalid("a provider has a name".to_owned()));
        }
        let known = self.declared.named.get(&name);
        if known.is_none() && self.declared.named.len() >= DeclaredProviders::MOST {
            return Err(Refusal::TooMany(DeclaredProviders::MOST as u64));
        }
        let current = known.and_then(DeclaredProvider::current);
        if let Some(current) = current.filter(|current| current.spec == spec) {
            return Ok(Change::None(Answer::Version(current.version)));
        }
        // Templates and routes were checked against the channel that its accounts serve.
        let moved = current.is_some_and(|current| current.spec.channel != spec.channel) && spec.channel != "*";
        if let Some(user) = self.account_of(&name).filter(|_| moved) {
            return Err(Refusal::Field(
                "channel".to_owned(),
                format!("cannot change while the account {user} uses it"),
            ));
        }
        if self.declared.bytes() + spec.definition.len() > DeclaredProviders::MOST_BYTES {
            return Err(Refusal::TooMany(DeclaredProviders::MOST_BYTES as u64));
        }
        self.renew_accounts_of(&name);
        let nothing = || DeclaredProvider { latest: 0, versions: BTreeMap::new(), deleted: false };
        let provider = self.declared.named.entry(name).or_insert_with(nothing);
        let version = provider.latest + 1;
        let written = ProviderVersion { version, spec, created_at: self.now, created_by: by.to_owned() };
        provider.versions.insert(version, Arc::new(written));
        provider.latest = version;
        provider.deleted = false;
        if provider.versions.len() > DeclaredProvider::VERSIONS_KEPT {
            provider.versions.pop_first();
        }
        Ok(Change::Made(Answer::Version(version)))
    }

    pub(super) fn delete_provider(&mut self, name: &str) -> Result<Change, Refusal> {
        if self.declared.current(name).is_none() {
            return Err(Refusal::NotFound);
        }
        if let Some(user) = self.account_of(name) {
            return Err(Refusal::UsedBy(format!("the account {user}")));
        }
        if let Some(provider) = self.declared.named.get_mut(name) {
            provider.deleted = true;
        }
        Ok(Change::Made(Answer::Done))
    }

    /// Whether an account may name that provider. What is built in is the edge's to know.
    pub(super) fn check_provider(&self, name: &str) -> Result<(), Refusal> {
        if name.starts_with(DeclaredProviders::PREFIX) && self.declared.current(name).is_none() {
            return Err(Refusal::Field("provider".to_owned(), "names no declared provider".to_owned()));
        }
        Ok(())
    }

    /// An account that names the provider.
    fn account_of(&self, provider: &str) -> Option<&str> {
        let found = self.accounts.iter().find(|(_, account)| account.provider == provider);
        found.map(|(name, _)| name.as_str())
    }

    fn renew_accounts_of(&mut self, provider: &str) {
        let revision = self.audit_seq + 1;
        for (name, account) in self.accounts.iter_mut().filter(|(_, account)| account.provider == provider) {
            Arc::make_mut(account).revision = revision;
            self.breakers.forgive(name, self.now);
        }
    }
}
