//! Opens accounts for the actors: unseals their secrets and hands their settings to the provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidings_actors::{Accounts, Opened};
use tidings_channels::{Registry, text_rules};
use tidings_contract::{FieldError, Materials, Provider, Reason, Settings, TextRule};
use tidings_machine::control::Account;

use crate::materials::Shelf;
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

/// What the actors of this node have of the outside world: the accounts, the channels' texts, the materials.
#[derive(Debug)]
pub(crate) struct NodeAccounts {
    pub accounts: SealedAccounts,
    pub shelf: Arc<Shelf>,
}

impl Accounts for NodeAccounts {
    fn open(&self, name: &str, account: &Account) -> Result<Opened, Reason> {
        self.accounts.open(name, account)
    }

    fn text_rules(&self, channel: &str) -> &'static [TextRule] {
        text_rules(channel)
    }

    fn materials(&self) -> Option<Arc<dyn Materials>> {
        Some(Arc::clone(&self.shelf) as Arc<dyn Materials>)
    }
}

fn words(errors: &[FieldError]) -> String {
    errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect::<Vec<_>>().join("; ")
}
