//! `tidings key`: who may ask.

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::Context;
use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, flat, rows};

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
    /// Revoke a key at once
    Revoke {
        /// Its id (key_…)
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    Viewer,
    Sender,
    Admin,
}

impl Key {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => {
                let reply = api.ask(Ask::get(&["v1", "keys"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "keys"), LIST, "There are no keys."))
            }
            Self::Create { name, role } => {
                let role = role.to_possible_value().map(|role| role.get_name().to_owned());
                let reply = api.ask(Ask::post(&["v1", "keys"], json!({"name": name, "role": role}))).await?;
                out.answer(&reply, |value| {
                    let (id, role, key) = (flat(&value["id"]), flat(&value["role"]), flat(&value["key"]));
                    format!("{key}\n{}", out.dim(&format!("{id}, {role}. It is not shown again; keep it now.")))
                })
            }
            Self::Revoke { id } => {
                let reply = api.ask(Ask::delete(&["v1", "keys", &id])).await?;
                out.answer(&reply, |_| format!("key {id} is revoked"))
            }
        }
    }
}
