//! What is sent to whom: one account of every provider, and one content of every type of message.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Double, Role};
use crate::{Proof, When};

const TABLE: &str = include_str!("../../vendors/messages.json");

/// An account and the messages that are sent through it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The account's name, and the double's folder for it.
    pub name: String,
    /// The provider.
    pub provider: String,
    /// The channel, where the provider serves all.
    pub channel: Option<String>,
    /// The recipients of each message. Where there are none, the account is the recipient.
    #[serde(default)]
    pub to: Vec<String>,
    /// What differs from the provider's example; `null` takes a setting away.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// A content for each type of message; `{{ n }}` in it becomes the message's mark, `{{ file }}` the id of a material whose
    /// bytes hold the mark.
    pub messages: BTreeMap<String, Value>,
}

/// The whole table, with addresses at `double`, and the id of a material that contents may refer to.
///
/// # Errors
/// When it is not such a table.
pub fn entries(double: &Double, material: &str) -> Proof<Vec<Entry>> {
    parse(&double.base, double.mail_port, material)
}

pub(super) fn parse(base: &str, mail_port: u16, material: &str) -> Proof<Vec<Entry>> {
    let text = TABLE
        .replace("{double}", base)
        .replace("{material}", material)
        .replace("\"{mail_port}\"", &mail_port.to_string());
    serde_json::from_str(&text).when("reading vendors/messages.json")
}

impl Entry {
    /// The provider's `example` with what differs here, and its `endpoint` at the double if it has one (`known` are the
    /// names of its settings).
    pub fn role(&self, example: &Value, known: &[String], double: &Double) -> Role {
        let mut settings = example.as_object().cloned().unwrap_or_default();
        if known.iter().any(|name| name == "endpoint") {
            settings.insert("endpoint".to_owned(), format!("{}/{}", double.base, self.name).into());
        }
        settings.extend(self.settings.clone());
        settings.retain(|_, value| !value.is_null());
        Role { provider: self.provider.clone(), settings: settings.into() }
    }

    /// Whether a message of that type has a material of its own.
    pub fn has_file(&self, kind: &str) -> bool {
        self.messages.get(kind).is_some_and(|content| content.to_string().contains("{{ file }}"))
    }

    /// The recipients: the account itself where none are named.
    pub fn recipients(&self) -> &[String] {
        if self.to.is_empty() { std::slice::from_ref(&self.name) } else { &self.to }
    }

    /// The template's name for a type of message.
    pub fn template(&self, kind: &str) -> String {
        format!("{}-{}", self.name, kind.to_lowercase())
    }
}
