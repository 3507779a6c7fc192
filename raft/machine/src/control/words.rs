//! Word lists: the words of `words` policies, kept in parts beside the policies, because a long list fits no command.
//!
//! A part is named after the hash of its text, so that versions of a list share what they have in common. It is put before
//! the version that refers to it, and forgotten when no version does any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{Time, stable_hash};

use super::apply::Change;
use super::{Answer, Control, Policies, Refusal};

/// A part that no version refers to yet is kept so long, in milliseconds.
const WAIT_MS: u64 = 3_600_000;

/// Some words of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordPart {
    /// The words, one a line.
    pub words: String,
    /// When it was put.
    pub put_at: Time,
}

/// The words of a version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordList {
    /// The version; another than was asked for if that is not kept any more.
    pub version: u32,
    /// Its parts.
    pub parts: Vec<Arc<WordPart>>,
}

impl WordList {
    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.words.lines())
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.words.len()).sum()
    }
}

impl Control {
    /// The words that the policy `name` had in `version`; in its newest one if that is not kept any more. Deleting a policy
    /// does not forget them: messages that were accepted under it are still on their way.
    pub fn words_of(&self, name: &str, version: u32) -> Option<WordList> {
        let policy = self.policies.named.get(name)?;
        let asked = policy.versions.get(&version).filter(|version| version.spec.kind == "words");
        let newest = || policy.versions.values().rev().find(|version| version.spec.kind == "words");
        let found = asked.or_else(newest)?;
        let parts: Option<Vec<_>> = found.spec.parts.iter().map(|part| self.words.get(part).cloned()).collect();
        Some(WordList { version: found.version, parts: parts? })
    }

    /// Keeps a part; the same again changes nothing but that it waits from now on.
    pub(super) fn put_words(&mut self, words: String) -> Result<Change, Refusal> {
        self.forget_words();
        let part = stable_hash(words.as_bytes());
        let known = self.words.get(&part);
        if known.is_some_and(|known| known.words != words) {
            return Err(Refusal::Invalid("another part has the same hash".to_owned()));
        }
        let held: usize = self.words.values().map(|part| part.words.len()).sum();
        if known.is_none() && held + words.len() > Policies::MOST_BYTES {
            return Err(Refusal::TooMany(Policies::MOST_BYTES as u64));
        }
        self.words.insert(part, Arc::new(WordPart { words, put_at: self.now }));
        // Only the version that refers to it is worth a line in the audit log.
        Ok(Change::None(Answer::Done))
    }

    /// Whether every part that is referred to is there.
    pub(super) fn has_words(&self, parts: &[u64]) -> bool {
        parts.iter().all(|part| self.words.contains_key(part))
    }

    /// Forgets the parts that no version refers to and that have waited long enough.
    fn forget_words(&mut self) {
        let versions = self.policies.named.values().flat_map(|policy| policy.versions.values());
        let used: BTreeSet<u64> = versions.flat_map(|version| version.spec.parts.iter().copied()).collect();
        let now = self.now;
        self.words.retain(|part, held| used.contains(part) || held.put_at.after_ms(WAIT_MS) > now);
    }
}
