//! Sensitive words, as far as the state knows them: which dictionaries are to be looked through, and what was masked.
//!
//! Finding words needs the content, so the owner's actors do it; what they decided stands in the log.

use serde::{Deserialize, Serialize};

/// A dictionary that the content of a message is to be compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordRule {
    /// The policy that holds it.
    pub policy: String,
    /// The version that was in force when the message was accepted. The newest one is used where it is not kept any more.
    pub version: u32,
    /// Whether a message with such a word is not sent; else the words are masked.
    pub reject: bool,
}

/// What a dictionary changed in one content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Masked {
    /// The rule: `words/<policy>@<version>`.
    pub rule: String,
    /// How many places.
    pub places: u32,
}

impl WordRule {
    /// Most dictionaries of a message.
    pub const MOST: usize = 8;

    /// What events name, for the version that was used.
    pub fn title(policy: &str, version: u32) -> String {
        format!("words/{policy}@{version}")
    }
}
