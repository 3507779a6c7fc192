//! Accounts: named settings and secrets for one provider.

use serde::{Deserialize, Serialize};
use tidings_contract::{AccountLimit, LimitUnit, Time};

use crate::partition::Wishes;

/// Secrets of an account, encrypted at the edge with the cluster's key. Opaque here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The provider: `email/smtp`, `dingtalk_robot` …
    pub provider: String,
    /// Settings that may be shown: a JSON object as text.
    pub settings: String,
    /// The names of the secret settings that are set, for showing them masked.
    pub secret_names: Vec<String>,
    /// The secret settings, sealed.
    pub sealed: Sealed,
    /// How many sends it allows in any window, over the whole cluster.
    pub limit: Option<AccountLimit>,
    /// Grows with every change, so that opened accounts can be kept until it does.
    pub revision: u64,
    /// When it was changed last.
    pub updated_at: Time,
    /// Further windows beside `limit`: all of them hold at once.
    #[serde(default)]
    pub further_limits: Vec<AccountLimit>,
    /// What takes a permit.
    #[serde(default)]
    pub limit_unit: LimitUnit,
    /// How it wants to be used, where it differs from what holds for all.
    #[serde(default)]
    pub wishes: Wishes,
}

impl Account {
    /// All the windows of its limit; none if it has no limit.
    pub fn windows(&self) -> Vec<AccountLimit> {
        self.limit.iter().chain(&self.further_limits).copied().collect()
    }
}
