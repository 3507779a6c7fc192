//! `tidings account`: with whom it is sent.

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use super::client::Ask;
use super::failure::Failure;
use super::kept::{Kept, Shown, Written, pretty};
use super::output::{Column, flat, rows};

const KEPT: Kept = Kept {
    one: "account",
    many: "accounts",
    columns: LIST,
    told: &["revision", "updated_at", "health"],
    gone: "is removed",
};

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

A secret that reads \"***\" keeps the one that is stored, unless a setting changed that decides where it goes.";

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
    Put(Written),
    /// Open an account as a sender would, and show how it stands; sends nothing; ends with 1 if it does not open
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
        match self {
            Self::List => KEPT.list(context).await,
            Self::Get { name } => KEPT.get(context, Shown { name, version: None }).await,
            Self::Put(written) => KEPT.put(context, written).await,
            Self::Check { name } => {
                let reply = context.api()?.ask(Ask::post(&["v1", "accounts", &name, "check"], Value::Null)).await?;
                context.out.answer(&reply, pretty)?;
                match reply.value["opens"] == true {
                    true => Ok(()),
                    false => {
                        Err(Failure::Failed(format!("account {name} does not open: {}", flat(&reply.value["why"]))))
                    }
                }
            }
            Self::Templates { name } => {
                let reply = context.api()?.ask(Ask::get(&["v1", "accounts", &name, "templates"])).await?;
                let none = "The supplier has approved no templates.";
                context.out.answer(&reply, |value| context.out.table(rows(value, "templates"), TEMPLATES, none))
            }
            Self::Delete { name } => KEPT.delete(context, &name).await,
        }
    }
}
