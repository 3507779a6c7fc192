//! What actors need of the outside world: accounts, opened.

use std::sync::Arc;

use tidings_contract::{Channel, Features, Materials, ProviderInfo, Reason, Secret, TextRule};
use tidings_machine::control::{Account, Sealed};

/// An account ready to send.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The supplier behind it.
    pub channel: Arc<dyn Channel>,
    /// What its provider tells about itself.
    pub info: &'static ProviderInfo,
    /// What it can do beside sending.
    pub features: Features,
}

/// Opens accounts: unseals their secrets and hands their settings to the provider.
pub trait Accounts: Send + Sync + 'static {
    /// Opens `account`.
    ///
    /// # Errors
    /// Why it cannot be opened, in words that may stand in a trace.
    fn open(&self, name: &str, account: &Account) -> Result<Opened, Reason>;

    /// Seals an access token of an account for the disks of the cluster.
    ///
    /// # Errors
    /// Why it cannot be sealed.
    fn seal_token(&self, name: &str, token: &Secret) -> Result<Sealed, Reason>;

    /// Opens what [`Accounts::seal_token`] sealed for the account.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn unseal_token(&self, name: &str, sealed: &Sealed) -> Result<Secret, Reason>;

    /// What suppliers read in the texts of a channel's content, and how long these may be. None by default.
    fn text_rules(&self, _channel: &str) -> &'static [TextRule] {
        &[]
    }

    /// Where the materials are that contents name. Nowhere by default.
    fn materials(&self) -> Option<Arc<dyn Materials>> {
        None
    }
}
