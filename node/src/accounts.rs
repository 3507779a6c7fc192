//! Opens accounts for the actors: unseals their secrets and hands their settings to the provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidings_actors::{Accounts, Opened};
use tidings_channels::Registry;
use tidings_contract::{FieldError, Reason, Settings};
use tidings_machine::control::Account;

use crate::ledger::NodeLedger;
use crate::providers::named;
use crate::seal::Sealer;

/// The accounts of the cluster, opened with this node's registry and sealer and with what operators declared.
#[derive(Clone, Debug)]
pub(crate) struct SealedAccounts {
    pub ledger: Arc<NodeLedger>,
    pub registry: Registry,
    pub sealer: Sealer,
}

impl SealedAccounts {
    /// The settings of an account, secrets open.
    pub(crate) fn settings(&self, name: &str, account: &Account) -> Result<Settings, Reason> {
        let plain: BTreeMap<String, Value> = serde_json::from_str(&account.settings)
            .map_err(|_| Reason::new("account_settings", format!("the settings of account {name} cannot be read")))?;
        let secret = self
            .sealer
            .unseal(name, &account.sealed)
            .map_err(|error| Reason::new("account_sealed", format!("account {name}: {error}")))?;
        Ok(Settings { plain, secret })
    }
}

impl Accounts for SealedAccounts {
    /// The newest definition of a declared provider is taken. It is never older than `account`: whoever writes one gives
    /// its accounts another revision in the same command.
    fn open(&self, name: &str, account: &Account) -> Result<Opened, Reason> {
        let found = named(&self.ledger, &self.registry, &account.provider).ok_or_else(|| {
            let words = format!("account {name} names the provider {}, which there is not", account.provider);
            Reason::new("unknown_provider", words)
        })?;
        let wrong = |errors: &[FieldError]| Reason::new("account_settings", words(errors));
        let provider = found.map_err(|error| wrong(&[error]))?.provider;
        let settings = self.settings(name, account)?;
        let channel = provider.open(name, &settings).map_err(|errors| wrong(&errors))?;
        Ok(Opened { channel, info: provider.info() })
    }
}

fn words(errors: &[FieldError]) -> String {
    errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect::<Vec<_>>().join("; ")
}
