//! The registry: every provider by name, every channel, and the inbox that the sandbox fills.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_contract::{ChannelInfo, Provider};

use crate::{CHANNELS, SandboxInbox, providers};

/// Everything that is built in. Made once per process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    providers: Arc<BTreeMap<&'static str, Arc<dyn Provider>>>,
    inbox: Arc<SandboxInbox>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// All providers, with a fresh and empty sandbox inbox.
    pub fn new() -> Self {
        let inbox = Arc::new(SandboxInbox::new());
        let providers = providers::all(&inbox).into_iter().map(|provider| (provider.info().name, provider)).collect();
        Self { providers: Arc::new(providers), inbox }
    }

    /// The same with one provider more, which wins over one of the same name.
    #[must_use]
    pub fn with(&self, provider: Arc<dyn Provider>) -> Self {
        let mut providers = BTreeMap::clone(&self.providers);
        providers.insert(provider.info().name, provider);
        Self { providers: Arc::new(providers), inbox: Arc::clone(&self.inbox) }
    }

    /// Every provider, by name.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.values()
    }

    /// The provider of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.get(name)
    }

    /// Every provider that serves `channel`, the ones that serve all channels included.
    pub fn serving<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a Arc<dyn Provider>> {
        self.providers()
            .filter(move |provider| matches!(provider.info().channel, "*") || provider.info().channel == channel)
    }

    /// Every channel.
    pub fn channels(&self) -> &'static [ChannelInfo] {
        CHANNELS
    }

    /// The channel of that name.
    pub fn channel(&self, name: &str) -> Option<&'static ChannelInfo> {
        CHANNELS.iter().find(|channel| channel.name == name)
    }

    /// What the sandbox provider was given to send.
    pub fn inbox(&self) -> &Arc<SandboxInbox> {
        &self.inbox
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use tidings_contract::Settings;

    use super::*;
    use crate::check_content;

    #[test]
    fn every_file_of_the_providers_folder_is_registered_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/providers");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder is part of the crate")
            .map(|entry| entry.expect("it is readable").path().file_stem().expect("a name").display().to_string())
            .filter(|name| name != "mod")
            .collect();
        let listed: Vec<_> = providers::FILES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len(), "a file is listed twice: {listed:?}");
        assert_eq!(files, listed.into_iter().collect(), "files in src/providers and lines in src/providers/mod.rs");
        assert_eq!(Registry::new().providers().count(), providers::FILES.len(), "two providers share one name");
    }

    #[test]
    fn every_provider_serves_a_known_channel_and_opens_its_own_example() {
        let registry = Registry::new();
        for provider in registry.providers() {
            let info = provider.info();
            assert!(info.channel == "*" || registry.channel(info.channel).is_some(), "{}", info.name);
            assert!(info.max_recipients >= 1 && !info.deadline.is_zero(), "{}", info.name);
            let example = serde_json::from_str(info.example).expect("the example is JSON");
            let settings = Settings::sort(info.settings, example).expect("the example has known settings only");
            provider.open("example", &settings).unwrap_or_else(|errors| panic!("{}: {errors:?}", info.name));
        }
    }

    #[test]
    fn every_channel_accepts_its_own_example_and_has_a_provider() {
        let registry = Registry::new();
        for channel in registry.channels() {
            let example = serde_json::from_str(channel.example).expect("the example is JSON");
            assert_eq!(check_content(channel, &example), [], "{}", channel.name);
            assert!(registry.serving(channel.name).next().is_some(), "{}", channel.name);
        }
    }
}
