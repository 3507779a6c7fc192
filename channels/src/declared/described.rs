//! A provider that is nothing but a document: what operators declare without a release.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_contract::{Channel, FieldError, Provider, ProviderInfo, Setting, Settings};

use super::definition::{Definition, MOST};
use super::opening::{ENDPOINT, SECRET, USER, open};
use crate::sms;

static INFO: ProviderInfo = ProviderInfo {
    name: "declared",
    channel: "*",
    doc: "A supplier that operators of the cluster declared.",
    source: "the document that declares it",
    settings: &[USER, SECRET, ENDPOINT, sms::TIMEOUT],
    example: "{}",
    max_recipients: MOST,
    deadline: sms::DEADLINE,
};

/// A supplier that a document describes. What its `info` tells holds for all of them; the methods here tell more.
#[derive(Clone, Debug)]
pub struct Described {
    document: Value,
    asks_for: Vec<&'static str>,
    most: usize,
}

impl Described {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// Where something is wrong, as a path that begins with `definition`, and what.
    pub fn read(document: Value) -> Result<Self, FieldError> {
        let definition = Definition::read(&document, None).map_err(|wrong| wrong.of("definition"))?;
        let (asks_for, most) = (definition.asks_for(), definition.most);
        Ok(Self { document, asks_for, most })
    }

    /// The settings of its accounts. Those that the document asks for are required; the others may be there all the same,
    /// so that an account can be made ready for the next document.
    pub fn settings(&self) -> Vec<Setting> {
        let required = |name| self.asks_for.contains(&name);
        INFO.settings.iter().map(|one| Setting { required: required(one.name), ..*one }).collect()
    }

    /// Settings that an account accepts as they are.
    pub fn example(&self) -> Value {
        let value = |name: &&str| if *name == "endpoint" { "https://supplier.example" } else { *name }.to_owned();
        self.asks_for.iter().map(|name| ((*name).to_owned(), Value::from(value(name)))).collect::<Map<_, _>>().into()
    }

    /// Most recipients of one of its requests.
    pub fn max_recipients(&self) -> usize {
        self.most
    }
}

impl Provider for Described {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        open(settings, Some(&self.document))
    }
}
