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
                let channels: Vec<Value> = rows(value, "channels").iter().map(example_as_text).collect();
                let channels = out.table(&channels, CHANNELS, "There are no channels.");
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

/// The same with its example as JSON on one line, ready to be copied into a template.
fn example_as_text(channel: &Value) -> Value {
    let mut channel = channel.clone();
    channel["example"] = Value::String(channel["example"].to_string());
    channel
}

fn one(out: &Out, provider: &Value) -> String {
    let settings = out.table(rows(provider, "settings"), SETTINGS, "It has no settings.");
    let account = json!({"name": "my-account", "provider": provider["name"], "settings": provider["example"]});
    format!(
        "{}: {}\nChannel {}. After: {}\n\n{settings}\n\nAn account, for `tidings account put -f FILE`:\n{}",
        out.bold(&flat(&provider["name"])),
        flat(&provider["doc"]),
        flat(&provider["channel"]),
        flat(&provider["source"]),
        pretty(&account)
    )
}
