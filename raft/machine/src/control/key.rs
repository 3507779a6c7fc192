//! API keys, kept as hashes.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, send and cancel.
    Sender,
    /// Everything.
    Admin,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its name, for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the key. The key has 256 bits of chance, so a slow hash would protect nothing more.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Time,
    /// When it was revoked.
    pub revoked_at: Option<Time>,
}
