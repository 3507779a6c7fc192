//! `tidings route`: which of several accounts it is sent with.

use clap::Subcommand;

use super::Context;
use super::failure::Failure;
use super::kept::{Kept, Shown, Written};
use super::output::Column;

const KEPT: Kept = Kept {
    one: "route",
    many: "routes",
    columns: LIST,
    told: &["version", "created_at", "created_by"],
    gone: "is removed",
};

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
    Get(Shown),
    /// Write a route from a file; each change is a new version
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put(Written),
    /// Remove a route that no template and no other route uses
    Delete {
        /// Its name
        name: String,
    },
}

impl Route {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List => KEPT.list(context).await,
            Self::Get(shown) => KEPT.get(context, shown).await,
            Self::Put(written) => KEPT.put(context, written).await,
            Self::Delete { name } => KEPT.delete(context, &name).await,
        }
    }
}
