//! `tidings policy`: what must not go out, what must wait, and how often.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::failure::Failure;
use super::kept::{Kept, Shown};
use super::output::{Column, rows};
use super::{Context, document};

const KEPT: Kept = Kept {
    one: "policy",
    many: "policies",
    columns: LIST,
    told: &["version", "created_at", "created_by"],
    gone: "is out of force",
};

const LIST: &[Column] = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("KIND", "/kind"),
    ("FOR", "/selector"),
    ("SPEC", "/spec"),
    ("CREATED (UTC)", "/created_at"),
    ("BY", "/created_by"),
];

const KINDS: &[Column] = &[("KIND", "/name"), ("WHAT IT DOES", "/doc"), ("EXAMPLE", "/example")];

const PUT_HELP: &str = "\
A file, in TOML or JSON; without a selector it is for every message:

  name = \"night\"
  kind = \"quiet_hours\"
  [selector]
  message_types = [\"marketing\"]
  [spec]
  windows = [{ from = \"21:00\", to = \"09:00\" }]
  time_zone = \"Asia/Shanghai\"
  then = \"defer\"";

/// The commands of `tidings policy`.
#[derive(Subcommand)]
pub(super) enum Policy {
    /// List the policies in force
    List,
    /// Show a policy, in a form that `put` takes
    Get(Shown),
    /// Write a policy from a file; each change is a new version, in force at once
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put {
        /// Its name [default: `name` in the file]
        name: Option<String>,
        /// A JSON or TOML file; - is standard input
        #[arg(short, long, value_name = "FILE", required_unless_present = "words")]
        file: Option<PathBuf>,
        /// A text file with one sensitive word a line, for a policy of the kind `words`
        #[arg(long, value_name = "FILE")]
        words: Option<PathBuf>,
        /// What becomes of the words: mask or reject [default: what the file says, else mask]
        #[arg(long, value_name = "MODE", requires = "words")]
        mode: Option<String>,
        /// Put it even if it would stop everything
        #[arg(long)]
        confirm: bool,
    },
    /// Take a policy out of force
    Delete {
        /// Its name
        name: String,
    },
    /// List the kinds of policies there are, each with an example
    Kinds,
    /// List the versions of a policy
    Versions {
        /// Its name
        name: String,
    },
}

impl Policy {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => KEPT.list(context).await,
            Self::Kinds => {
                let reply = api.ask(Ask::get(&["v1", "policy-kinds"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "kinds"), KINDS, "There are no kinds."))
            }
            Self::Versions { name } => KEPT.versions(context, &name).await,
            Self::Get(shown) => KEPT.get(context, shown).await,
            Self::Put { name, file, words, mode, confirm } => {
                let mut spec = file.map_or_else(|| Ok(Map::new()), |file| document::read(&file))?;
                if let Some(words) = words {
                    add_words(&mut spec, &document::text(&words)?, mode);
                }
                KEPT.put_spec(context, name, spec, confirm).await
            }
            Self::Delete { name } => KEPT.delete(context, &name).await,
        }
    }
}

/// Makes it a policy of the kind `words`, with one word a line; empty lines and lines that begin with `#` are passed over.
fn add_words(policy: &mut Map<String, Value>, text: &str, mode: Option<String>) {
    let words = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let words: Vec<&str> = words.filter(|word| !word.is_empty() && !word.starts_with('#')).collect();
    let written = policy.get("spec").and_then(|spec| spec.get("mode")).cloned();
    let mode = mode.map(Value::String).or(written).unwrap_or_else(|| json!("mask"));
    policy.entry("kind").or_insert_with(|| json!("words"));
    policy.insert("spec".to_owned(), json!({"mode": mode, "words": words}));
}
