//! `tidings key`: who may ask.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tidings_contract::Secret;

use super::client::{Api, Ask};
use super::cluster::api_of;
use super::failure::Failure;
use super::output::{Column, Out, flat, rows};
use super::{Context, DEFAULT_URL, config};

const LIST: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("CREATED (UTC)", "/created_at"),
    ("REVOKED (UTC)", "/revoked_at"),
];

/// The commands of `tidings key`.
#[derive(Subcommand)]
pub(super) enum Key {
    /// List the keys; the keys themselves are never shown again
    List,
    /// Make a key and print it, this once
    Create {
        /// Who or what uses it
        name: String,
        /// viewer looks, sender also sends and cancels, admin also changes
        #[arg(long, value_enum, default_value = "sender")]
        role: Role,
    },
    /// Make an admin key where all were lost, with the cluster's secret; prints it, this once
    Recover(Recover),
    /// Revoke a key at once
    Revoke {
        /// Its id (key_…)
        id: String,
    },
}

/// The arguments of `tidings key recover`.
#[derive(Args)]
#[command(after_help = "\
Needs a running node and the cluster's secret; the audit log keeps that it was done. Keys that were lost work until they are
revoked: see `tidings key list`.")]
pub(super) struct Recover {
    /// The node's configuration: the cluster's secret, and the node's address unless --url is given
    #[arg(long, value_name = "FILE", required_unless_present = "secret_file")]
    config: Option<PathBuf>,
    /// A file with the cluster's secret, instead of a configuration; `tidings dev` has one in its data directory
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    secret_file: Option<PathBuf>,
}

impl Recover {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = self.config.as_deref().map(config::load).transpose()?;
        let secret = match (&config, &self.secret_file) {
            (Some(config), _) => config.cluster.secret.clone(),
            (None, Some(file)) => read_secret(file)?,
            (None, None) => return Err(Failure::Usage("give --config or --secret-file".to_owned())),
        };
        let own = config.as_ref().map_or_else(|| DEFAULT_URL.to_owned(), |c| format!("http://{}", api_of(c)));
        let api = Api::new(context.url.as_deref().unwrap_or(&own), Some(secret))?;
        let reply = api.ask(Ask::post(&["v1", "keys", "recover"], Value::Null)).await?;
        context.out.answer(&reply, |value| made(&context.out, value))
    }
}

fn read_secret(file: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(Secret::new(text.trim()))
}

/// A key that was made, shown this once.
fn made(out: &Out, value: &Value) -> String {
    let (id, role, key) = (flat(&value["id"]), flat(&value["role"]), flat(&value["key"]));
    format!("{key}\n{}", out.dim(&format!("{id}, {role}. It is not shown again; keep it now.")))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    Viewer,
    Sender,
    Admin,
}

impl Key {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let out = &context.out;
        match self {
            Self::Recover(recover) => recover.run(context).await,
            Self::List => {
                let reply = context.api()?.ask(Ask::get(&["v1", "keys"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "keys"), LIST, "There are no keys."))
            }
            Self::Create { name, role } => {
                let role = role.to_possible_value().map(|role| role.get_name().to_owned());
                let reply = context.api()?.ask(Ask::post(&["v1", "keys"], json!({"name": name, "role": role}))).await?;
                out.answer(&reply, |value| made(out, value))
            }
            Self::Revoke { id } => {
                let reply = context.api()?.ask(Ask::delete(&["v1", "keys", &id])).await?;
                out.answer(&reply, |_| format!("key {id} is revoked"))
            }
        }
    }
}
