//! Opens accounts for the actors: unseals their secrets and hands their settings to the provider.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_actors::{Accounts, Opened};
use tidings_channels::Registry;
use tidings_contract::{FieldError, Provider, Reason, Settings};
use tidings_machine::control::Account;

use crate::seal::Sealer;

/// The accounts of the cluster, opened with this node's registry and sealer.
#[derive(Clone, Debug)]
pub(crate) struct SealedAccounts {
    pub registry: Registry,
    pub sealer: Sealer,
}

impl SealedAccounts {
    /// The provider and the settings of an account, secrets open.
    pub(crate) fn settings(&self, name: &str, account: &Account) -> Result<(&dyn Provider, Settings), Reason> {
        let wrong = |code: &str, words: String| Reason::new(code, words);
        let provider = self.registry.get(&account.provider).ok_or_else(|| {
            wrong(
                "unknown_provider",
                format!("account {name} names the provider {}, which is not built in", account.provider),
            )
        })?;
        let plain: BTreeMap<String, Value> = serde_json::from_str(&account.settings)
            .map_err(|_| wrong("account_settings", format!("the settings of account {name} cannot be read")))?;
        let secret = self
            .sealer
            .unseal(name, &account.sealed)
            .map_err(|error| wrong("account_sealed", format!("account {name}: {error}")))?;
        Ok((provider.as_ref(), Settings { plain, secret }))
    }
}

impl Accounts for SealedAccounts {
    fn open(&self, name: &str, account: &Account) -> Result<Opened, Reason> {
        let (provider, settings) = self.settings(name, account)?;
        let channel =
            provider.open(name, &settings).map_err(|errors| Reason::new("account_settings", words(&errors)))?;
        Ok(Opened { channel, info: provider.info() })
    }
}

fn words(errors: &[FieldError]) -> String {
    errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect::<Vec<_>>().join("; ")
}
