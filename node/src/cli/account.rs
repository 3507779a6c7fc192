//! `tidings account`: with whom it is sent.

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
    ("PROVIDER", "/provider"),
    ("LIMIT", "/limit"),
    ("BREAKER", "/health/breaker"),
    ("SETTINGS", "/settings"),
];

const PUT_HELP: &str = "\
A file, in TOML or JSON; `tidings providers NAME` shows the settings there are:

  name = \"mail\"
  provider = \"email/smtp\"
  [settings]
  host = \"smtp.example.com\"
  [limit]
  permits = 50
  window_ms = 1000

A secret that reads \"***\" keeps the one that is stored.";

const TEMPLATES: &[Column] = &[("ID", "/id"), ("TITLE", "/title"), ("CONTENT", "/content"), ("EXAMPLE", "/example")];

/// The commands of `tidings account`.
#[derive(Subcommand)]
pub(super) enum Account {
    /// List the accounts; secrets are masked
    List,
    /// Show an account, in a form that `put` takes; secrets are masked
    Get {
        /// Its name
        name: String,
    },
    /// Write an account from a file
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put {
        /// Its name [default: `name` in the file]
        name: Option<String>,
        /// A JSON or TOML file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Open an account as a sender would, and show how it stands; sends nothing
    Check {
        /// Its name
        name: String,
    },
    /// List the templates that the account's supplier has approved
    Templates {
        /// Its name
        name: String,
    },
    /// Remove an account that no template and no route uses
    Delete {
        /// Its name
        name: String,
    },
}

impl Account {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => {
                let reply = api.ask(Ask::get(&["v1", "accounts"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "accounts"), LIST, "There are no accounts."))
            }
            Self::Get { name } => {
                let reply = api.ask(Ask::get(&["v1", "accounts", &name])).await?;
                out.answer(&reply, pretty)
            }
            Self::Put { name, file } => {
                let mut spec = document::read(&file)?;
                let name = document::name(name, &mut spec)?;
                // What `get` tells beside the account itself; a file may have been made from it.
                spec.retain(|field, _| !["revision", "updated_at", "health"].contains(&field.as_str()));
                let reply = api.ask(Ask::put(&["v1", "accounts", &name], Value::Object(spec))).await?;
                out.answer(&reply, |_| format!("account {name} is written"))
            }
            Self::Check { name } => {
                let reply = api.ask(Ask::post(&["v1", "accounts", &name, "check"], Value::Null)).await?;
                out.answer(&reply, pretty)
            }
            Self::Templates { name } => {
                let reply = api.ask(Ask::get(&["v1", "accounts", &name, "templates"])).await?;
                let none = "The supplier has approved no templates.";
                out.answer(&reply, |value| out.table(rows(value, "templates"), TEMPLATES, none))
            }
            Self::Delete { name } => {
                let reply = api.ask(Ask::delete(&["v1", "accounts", &name])).await?;
                out.answer(&reply, |_| format!("account {name} is removed"))
            }
        }
    }
}
