//! `tidings providers`: what is built in, with examples.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, Out, flat, rows};
use super::template::pretty;

const LIST: &[Column] = &[("PROVIDER", "/name"), ("CHANNEL", "/channel"), ("WHAT IT IS", "/doc")];
const CHANNELS: &[Column] =
    &[("CHANNEL", "/name"), ("RECIPIENT", "/recipient"), ("WHAT IT IS", "/doc"), ("CONTENT", "/example")];
const SETTINGS: &[Column] =
    &[("SETTING", "/name"), ("REQUIRED", "/required"), ("SECRET", "/secret"), ("WHAT IT IS", "/doc")];

/// The arguments of `tidings providers`.
#[derive(Args)]
pub(super) struct Providers {
    /// One provider: its settings and an account that uses it
    name: Option<String>,
}

impl Providers {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reply = context.api()?.ask(Ask::get(&["v1", "providers"])).await?;
        let out = &context.out;
        let Some(name) = self.name else {
            return out.answer(&reply, |value| {
                let providers = out.table(rows(value, "providers"), LIST, "There are no providers.");
                let channels = out.table(rows(value, "channels"), CHANNELS, "There are no channels.");
                format!("{providers}\n\n{channels}")
            });
        };
        let found = rows(&reply.value, "providers").iter().find(|provider| provider["name"] == json!(name));
        match found {
            Some(provider) if out.json => out.line(provider.to_string()),
            Some(provider) => out.line(one(out, provider)),
            None => Err(Failure::Usage(format!("there is no provider {name}; see `tidings providers`"))),
        }
    }
}

fn one(out: &Out, provider: &Value) -> String {
    let settings = out.table(rows(provider, "settings"), SETTINGS, "It has no settings.");
    let example = match &provider["example"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    let account = json!({"name": "my-account", "provider": provider["name"], "settings": example});
    format!(
        "{}: {}\nChannel {}. After: {}\n\n{settings}\n\nAn account, for `tidings account put -f FILE`:\n{}",
        out.bold(&flat(&provider["name"])),
        flat(&provider["doc"]),
        flat(&provider["channel"]),
        flat(&provider["source"]),
        pretty(&account)
    )
}
