//! The providers that accounts may name: those that are built in, and those that operators declared.

use std::sync::Arc;

use tidings_channels::{Described, Registry};
use tidings_contract::{FieldError, Provider, Setting};
use tidings_machine::control::{Control, ProviderVersion};

use crate::ledger::NodeLedger;

/// A provider that an account may name.
#[derive(Debug)]
pub(crate) struct Named {
    pub provider: Arc<dyn Provider>,
    /// The settings of its accounts.
    pub settings: Vec<Setting>,
}

/// The provider of that name. A declared one comes before one that is built in: a newer program may bring one of the same
/// name, and that must not change what accounts do.
///
/// # Errors
/// When a declared one cannot be read, because a newer program wrote it.
pub(crate) fn named(ledger: &NodeLedger, registry: &Registry, name: &str) -> Option<Result<Named, FieldError>> {
    if let Some(version) = ledger.control(|c| c.declared.current(name).cloned()) {
        return Some(described(&version).map(|described| {
            let settings = described.settings();
            Named { provider: Arc::new(described), settings }
        }));
    }
    let provider = registry.get(name)?;
    Some(Ok(Named { provider: Arc::clone(provider), settings: provider.info().settings.to_vec() }))
}

/// Reads a version of a declared provider.
///
/// # Errors
/// See [`named`].
pub(crate) fn described(version: &ProviderVersion) -> Result<Described, FieldError> {
    let document = serde_json::from_str(&version.spec.definition);
    Described::read(document.map_err(|error| FieldError::new("definition", error.to_string()))?)
}

/// Whether there is a provider of that name, and it serves `channel`.
pub(crate) fn serves(control: &Control, registry: &Registry, provider: &str, channel: &str) -> bool {
    let declared = control.declared.current(provider).map(|version| version.spec.channel.as_str());
    let served = declared.or_else(|| registry.get(provider).map(|provider| provider.info().channel));
    served.is_some_and(|served| served == "*" || served == channel)
}

/// The names of all providers.
pub(crate) fn names(control: &Control, registry: &Registry) -> Vec<String> {
    let built_in = registry.providers().map(|provider| provider.info().name.to_owned());
    let mut names: Vec<String> = built_in.chain(control.declared.in_use().map(|(name, _)| name.clone())).collect();
    names.sort();
    names.dedup();
    names
}
