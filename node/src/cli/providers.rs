//! `tidings providers`: what is built in, with examples, and what operators declare.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Api, Ask};
use super::failure::Failure;
use super::kept::{Kept, Shown, pretty};
use super::output::{Column, Out, flat, rows};
use super::{Context, document};

const LIST: &[Column] =
    &[("PROVIDER", "/name"), ("CHANNEL", "/channel"), ("DECLARED", "/version"), ("WHAT IT IS", "/doc")];
const CHANNELS: &[Column] =
    &[("CHANNEL", "/name"), ("RECIPIENT", "/recipient"), ("WHAT IT IS", "/doc"), ("CONTENT", "/example")];
const SETTINGS: &[Column] =
    &[("SETTING", "/name"), ("REQUIRED", "/required"), ("SECRET", "/secret"), ("WHAT IT IS", "/doc")];

const PUT_HELP: &str = "\
A file, in TOML or JSON; the README of channels has every field of a definition:

  name = \"declared/acme\"
  channel = \"sms\"
  [definition]
  url = \"https://sms.acme.example/send\"
  headers = { \"X-Key\" = \"{{ secret }}\" }
  body = { phone = \"{{ to }}\", text = \"{{ content.text }}\" }
  answer = { code = \"/code\", success = [\"0\"], words = \"/message\", id = \"/id\" }

An account then names the provider and has the settings that the definition asks for.";

/// The arguments of `tidings providers`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Providers {
    /// One provider: its settings and an account that uses it
    name: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
}

/// The commands of `tidings providers`.
#[derive(Subcommand)]
enum Action {
    /// List the providers and channels, as `tidings providers` does, or show one provider
    List {
        /// One provider: its settings and an account that uses it
        name: Option<String>,
    },
    /// Show a declared provider, in a form that `put` takes
    Get(Shown),
    /// Declare a provider from a file: any supplier with an HTTP interface; each change is a new version
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put {
        /// Its name: declared/NAME or CHANNEL/NAME [default: `name` in the file]
        name: Option<String>,
        /// A JSON or TOML file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a declared provider that no account uses
    Delete {
        /// Its name
        name: String,
    },
}

/// What is told of a provider beside what `put` takes.
const TOLD: [&str; 9] =
    ["version", "created_at", "created_by", "doc", "source", "settings", "example", "max_recipients", "deadline_ms"];

const KEPT: Kept = Kept { one: "provider", many: "providers", columns: LIST, told: &TOLD, gone: "is removed" };

impl Providers {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self.action.unwrap_or(Action::List { name: self.name }) {
            Action::List { name } => list(&api, out, name).await,
            Action::Get(Shown { name, version }) => {
                let reply = api.ask(Ask::get(&["v1", "providers", &name]).query("version", version)).await?;
                let declared = reply.value["definition"].is_object();
                out.answer(&reply, |value| if declared { pretty(&without(value, &TOLD[3..])) } else { one(out, value) })
            }
            Action::Put { name, file } => KEPT.put_spec(context, name, document::read(&file)?, false).await,
            Action::Delete { name } => KEPT.delete(context, &name).await,
        }
    }
}

async fn list(api: &Api, out: &Out, name: Option<String>) -> Result<(), Failure> {
    let reply = api.ask(Ask::get(&["v1", "providers"])).await?;
    let Some(name) = name else {
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

/// The same without some of its fields.
fn without(provider: &Value, fields: &[&str]) -> Value {
    let mut provider = provider.clone();
    if let Some(provider) = provider.as_object_mut() {
        provider.retain(|field, _| !fields.contains(&field.as_str()));
    }
    provider
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
    let most = provider["max_recipients"].as_u64().unwrap_or(1);
    let deadline = Duration::from_millis(provider["deadline_ms"].as_u64().unwrap_or(0));
    format!(
        "{}: {}\nChannel {}. A call: at most {most} recipients, {deadline:?}. After: {}\n\n{settings}\n\n\
         An account, for `tidings account put -f FILE`:\n{}",
        out.bold(&flat(&provider["name"])),
        flat(&provider["doc"]),
        flat(&provider["channel"]),
        flat(&provider["source"]),
        pretty(&account)
    )
}
