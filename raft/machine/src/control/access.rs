//! How API keys are added and revoked.

use std::sync::Arc;

use super::apply::Change;
use super::{Answer, ApiKey, Control, Refusal, Role};
use crate::partition::CallbackSpec;

/// Most API keys, the revoked ones included: the audit log names them.
const MOST_KEYS: usize = 10_000;

impl Control {
    /// Adding the same key again changes nothing; an id or a hash that is another key's is refused.
    pub(super) fn put_key(&mut self, id: String, name: String, role: Role, hash: [u8; 32]) -> Result<Change, Refusal> {
        if let Some(key) = self.keys.get(&id) {
            let same = key.hash == hash && key.role == role && key.name == name && key.revoked_at.is_none();
            let other = || Refusal::Invalid(format!("there is another key with the id `{id}`"));
            return if same { Ok(Change::None(Answer::Done)) } else { Err(other()) };
        }
        if self.keys.values().any(|key| key.hash == hash) {
            return Err(Refusal::Invalid("there is another key with that hash".to_owned()));
        }
        if self.keys.len() >= MOST_KEYS {
            return Err(Refusal::TooMany(MOST_KEYS as u64));
        }
        self.key_hashes.insert(hash, id.clone());
        self.keys.insert(id, ApiKey { name, role, hash, created_at: self.now, revoked_at: None });
        Ok(Change::Made(Answer::Done))
    }

    pub(super) fn revoke_key(&mut self, id: &str) -> Result<Change, Refusal> {
        let key = self.keys.get(id).ok_or(Refusal::NotFound)?;
        if key.revoked_at.is_some() {
            return Ok(Change::None(Answer::Done));
        }
        let admins = self.keys.values().filter(|key| key.role == Role::Admin && key.revoked_at.is_none());
        if key.role == Role::Admin && admins.count() == 1 {
            return Err(Refusal::LastAdmin);
        }
        if let Some(key) = self.keys.get_mut(id) {
            key.revoked_at = Some(self.now);
            self.key_hashes.remove(&key.hash);
        }
        self.callbacks.remove(id);
        Ok(Change::Made(Answer::Done))
    }

    /// A key that was revoked submits nothing any more, so it has no callback.
    pub(super) fn put_callback(&mut self, key: String, callback: Option<CallbackSpec>) -> Result<Change, Refusal> {
        self.keys.get(&key).filter(|key| key.revoked_at.is_none()).ok_or(Refusal::NotFound)?;
        let same = match (&callback, self.callbacks.get(&key)) {
            (None, None) => true,
            (Some(new), Some(old)) => *new == **old,
            _ => false,
        };
        if same {
            return Ok(Change::None(Answer::Done));
        }
        match callback {
            Some(callback) => drop(self.callbacks.insert(key, Arc::new(callback))),
            None => drop(self.callbacks.remove(&key)),
        }
        Ok(Change::Made(Answer::Done))
    }
}
