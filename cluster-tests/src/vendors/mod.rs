//! A local double of all vendors, in a process of its own: it answers each vendor's calls in the vendor's own shape, gives
//! every recipient an id nobody had before, and tells what it gave to whom.

mod ask;
mod chat;
mod files;
mod mail;
mod push;
mod serve;
mod sms;
pub mod table;
#[cfg(test)]
mod tests;
mod wechat;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use serve::serve;

use crate::bench::run::Part;
use crate::client::Client;
use crate::{Proof, When};

/// The argument with which the proof's own executable becomes the double.
pub const ARGUMENT: &str = "vendors-double";

/// What every message holds somewhere: this and four digits, also where base64 is expected.
pub const MARK: &str = "MARK";

/// Whom the double plays for one account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// The provider's name.
    pub provider: String,
    /// The settings of the account, by which its calls are verified.
    pub settings: Value,
}

/// One recipient's message as the double took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The account.
    pub account: String,
    /// The recipient as the vendor is told; empty where the account itself is the recipient.
    pub to: String,
    /// The message's mark.
    pub mark: String,
    /// The vendor's id; `None` where the vendor gives none.
    pub id: Option<String>,
}

/// Everything the double has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Calls, by account.
    pub calls: BTreeMap<String, u64>,
    /// Access tokens given, by account.
    pub tokens: BTreeMap<String, u64>,
    /// Files taken, by account, kind and name.
    #[serde(default)]
    pub uploads: BTreeMap<String, u64>,
    /// Messages taken.
    pub given: Vec<Given>,
    /// Calls that no vendor would have taken, and why.
    pub wrong: Vec<String>,
}

/// The running double. It ends when this is dropped.
#[derive(Debug)]
pub struct Double {
    _part: Part,
    /// Where it listens: `http://host:port`. Each account has a folder of its own name below.
    pub base: String,
    /// The port of its mail server.
    pub mail_port: u16,
}

impl Double {
    /// Starts this executable as the double. `roles` are written to `dir`, from where it takes them at its first call.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(dir: &Path) -> Proof<Self> {
        let file = Self::roles_file(dir).display().to_string();
        let (part, line) = Part::start(&[ARGUMENT, &file])?.line().await?;
        let (base, port) = line.split_once(' ').when("reading where the double listens")?;
        let mail_port = port.parse().when("reading where the double takes mail")?;
        Ok(Self { _part: part, base: base.to_owned(), mail_port })
    }

    /// Tells it whom to play, by account. Must come before the first call.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn cast(dir: &Path, roles: &BTreeMap<String, Role>) -> Proof {
        let text = serde_json::to_vec(roles).when("writing the roles")?;
        fs::write(Self::roles_file(dir), text).when("writing the roles")
    }

    /// What it has seen so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn seen(&self) -> Proof<Seen> {
        Client::new("").get(&format!("{}/", self.base)).await
    }

    fn roles_file(dir: &Path) -> std::path::PathBuf {
        dir.join("roles.json")
    }
}
