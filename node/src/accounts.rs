//! Opens accounts for the actors: unseals their secrets and hands their settings to the provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidings_actors::{Accounts, Opened};
use tidings_channels::{Registry, features, text_rules};
use tidings_contract::{FieldError, Materials, Reason, Secret, Settings, TextRule};
use tidings_machine::control::{Account, Sealed};
use tidings_machine::partition::CALLBACK_TEMPLATE;

use crate::ledger::NodeLedger;
use crate::materials::Shelf;
use crate::providers::named;
use crate::seal::Sealer;

/// Under which name a token stands in what is sealed.
const TOKEN: &str = "token";

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
        // Those of callbacks are sealed under one name: their accounts are made where they are used.
        let callback = name.strip_prefix(CALLBACK_TEMPLATE).is_some_and(|rest| rest.starts_with('/'));
        let secret = self
            .sealer
            .unseal(if callback { CALLBACK_TEMPLATE } else { name }, &account.sealed)
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
        let features = features(channel.as_ref());
        Ok(Opened { channel, info: provider.info(), features })
    }

    fn seal_token(&self, name: &str, token: &Secret) -> Result<Sealed, Reason> {
        let sealed = self.sealer.seal(&token_of(name), &BTreeMap::from([(TOKEN.to_owned(), token.clone())]));
        sealed.map_err(|error| Reason::new("token_sealed", error.to_string()))
    }

    fn unseal_token(&self, name: &str, sealed: &Sealed) -> Result<Secret, Reason> {
        let mut open = self
            .sealer
            .unseal(&token_of(name), sealed)
            .map_err(|error| Reason::new("token_sealed", format!("account {name}: {error}")))?;
        open.remove(TOKEN).ok_or_else(|| Reason::new("token_sealed", "there is no token in what was sealed"))
    }
}

/// What the token of an account is sealed under: no account has a name with a slash.
fn token_of(account: &str) -> String {
    format!("{TOKEN}/{account}")
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

    fn seal_token(&self, name: &str, token: &Secret) -> Result<Sealed, Reason> {
        self.accounts.seal_token(name, token)
    }

    fn unseal_token(&self, name: &str, sealed: &Sealed) -> Result<Secret, Reason> {
        self.accounts.unseal_token(name, sealed)
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
