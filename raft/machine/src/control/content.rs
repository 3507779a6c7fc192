//! How templates and accounts are written and taken out of use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::apply::Change;
use super::{Account, Answer, Control, Refusal, Template, TemplateSpec, TemplateVersion};

/// Most templates, the deleted ones included: they keep their versions for messages that are still on their way.
const MOST_TEMPLATES: usize = 10_000;
/// Most accounts.
const MOST_ACCOUNTS: usize = 10_000;

impl Control {
    /// Writes a version. A deleted template comes back, always with a new version.
    pub(super) fn put_template(&mut self, name: String, spec: TemplateSpec, by: &str) -> Result<Change, Refusal> {
        if let Some(account) = spec.account.as_ref().filter(|account| !self.accounts.contains_key(*account)) {
            return Err(Refusal::Invalid(format!("there is no account `{account}`")));
        }
        if name.is_empty() {
            return Err(Refusal::Invalid("a template has a name".to_owned()));
        }
        self.check_ways(&name, &spec)?;
        if !self.templates.contains_key(&name) && self.templates.len() >= MOST_TEMPLATES {
            return Err(Refusal::TooMany(MOST_TEMPLATES as u64));
        }
        let nothing = || Template { latest: 0, versions: BTreeMap::new(), deleted: false };
        let template = self.templates.entry(name).or_insert_with(nothing);
        if let Some(current) = template.current().filter(|current| current.spec == spec) {
            return Ok(Change::None(Answer::Version(current.version)));
        }
        let version = template.latest + 1;
        let written = TemplateVersion { version, spec, created_at: self.now, created_by: by.to_owned() };
        template.versions.insert(version, Arc::new(written));
        template.latest = version;
        template.deleted = false;
        if template.versions.len() > Template::VERSIONS_KEPT {
            template.versions.pop_first();
        }
        Ok(Change::Made(Answer::Version(version)))
    }

    pub(super) fn delete_template(&mut self, name: &str) -> Result<Change, Refusal> {
        if self.templates.get(name).is_some_and(|template| !template.deleted)
            && let Some(user) = self.falling_to(name)
        {
            return Err(Refusal::UsedBy(format!("the template {user}")));
        }
        let template = self.templates.get_mut(name).filter(|template| !template.deleted).ok_or(Refusal::NotFound)?;
        template.deleted = true;
        Ok(Change::Made(Answer::Done))
    }

    /// Changing an account is a reason to use it again, so its breaker closes.
    pub(super) fn put_account(&mut self, name: String, account: Account) -> Result<Change, Refusal> {
        if name.is_empty() {
            return Err(Refusal::Invalid("an account has a name".to_owned()));
        }
        self.check_provider(&account.provider)?;
        if !self.accounts.contains_key(&name) && self.accounts.len() >= MOST_ACCOUNTS {
            return Err(Refusal::TooMany(MOST_ACCOUNTS as u64));
        }
        self.breakers.forgive(&name, self.now);
        self.accounts.insert(name, Arc::new(account));
        Ok(Change::Made(Answer::Done))
    }

    /// Only the newest versions of templates hold an account: those of messages on their way may lose it.
    pub(super) fn delete_account(&mut self, name: &str) -> Result<Change, Refusal> {
        if !self.accounts.contains_key(name) {
            return Err(Refusal::NotFound);
        }
        let user = self.templates.iter().find(|(_, template)| {
            template.current().is_some_and(|current| current.spec.account.as_deref() == Some(name))
        });
        if let Some((template, _)) = user {
            return Err(Refusal::InUse(template.clone()));
        }
        if let Some(route) = self.routes.using_account(name) {
            return Err(Refusal::UsedBy(format!("the route {route}")));
        }
        self.accounts.remove(name);
        self.breakers.forgive(name, self.now);
        Ok(Change::Made(Answer::Done))
    }
}
