//! The audit log: who changed what, when.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counted from 1 since the cluster was founded.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// The API key that asked, or `cluster`.
    pub by: String,
    /// What: `put_template`, `revoke_key` …
    pub action: String,
    /// On what.
    pub subject: String,
}
