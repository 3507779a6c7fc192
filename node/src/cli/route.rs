//! `tidings route`: which of several accounts it is sent with.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, rows};
use super::template::pretty;
use super::{Context, document};

const LIST: &[Column] = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("CHANNEL", "/channel"),
    ("ACCOUNTS", "/accounts"),
    ("FALLBACK", "/fallback"),
    ("CREATED (UTC)", "/created_at"),
    ("BY", "/created_by"),
];

const PUT_HELP: &str = "\
A file, in TOML or JSON:

  name = \"sms\"
  channel = \"sms\"
  [[accounts]]
  account = \"tencent\"
  weight = 70
  [[accounts]]
  account = \"yunpian\"
  weight = 30
  [[rules]]
  code = \"http_5*\"
  action = \"switch\"
  [delivery.breaker]
  min_calls = 10";

/// The commands of `tidings route`.
#[derive(Subcommand)]
pub(super) enum Route {
    /// List the routes
    List,
    /// Show a route, in a form that `put` takes
    Get {
        /// Its name
        name: String,
        /// An older version
        #[arg(long = "at", value_name = "VERSION")]
        version: Option<u32>,
    },
    /// Write a route from a file; each change is a new version
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put {
        /// Its name [default: `name` in the file]
        name: Option<String>,
        /// A JSON or TOML file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a route that no template and no other route uses
    Delete {
        /// Its name
        name: String,
    },
}

impl Route {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => {
                let reply = api.ask(Ask::get(&["v1", "routes"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "routes"), LIST, "There are no routes."))
            }
            Self::Get { name, version } => {
                let reply = api.ask(Ask::get(&["v1", "routes", &name]).query("version", version)).await?;
                out.answer(&reply, pretty)
            }
            Self::Put { name, file } => {
                let mut spec = document::read(&file)?;
                let name = document::name(name, &mut spec)?;
                // What `get` tells beside the route itself; a file may have been made from it.
                spec.retain(|field, _| !["version", "created_at", "created_by"].contains(&field.as_str()));
                let reply = api.ask(Ask::put(&["v1", "routes", &name], Value::Object(spec))).await?;
                out.answer(&reply, |value| format!("route {name} is at version {}", value["version"]))
            }
            Self::Delete { name } => {
                let reply = api.ask(Ask::delete(&["v1", "routes", &name])).await?;
                out.answer(&reply, |_| format!("route {name} is removed"))
            }
        }
    }
}
