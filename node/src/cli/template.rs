//! `tidings template`: what is said.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::failure::Failure;
use super::kept::{Kept, Shown, Written};
use super::output::{Column, Out, rows};
use super::{Context, pairs, preview};

const KEPT: Kept = Kept {
    one: "template",
    many: "templates",
    columns: LIST,
    told: &["version", "variables", "created_at", "created_by"],
    gone: "is removed",
};

const LIST: &[Column] = &[
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("CHANNEL", "/channel"),
    ("ACCOUNT", "/account"),
    ("ROUTE", "/route"),
    ("TYPE", "/message_type"),
    ("VARIABLES", "/variables"),
    ("CREATED (UTC)", "/created_at"),
    ("BY", "/created_by"),
];

const HELD: &[Column] = &[("KEY", "/key"), ("VALUE", "/value"), ("FROM", "/from")];

const PUT_HELP: &str = "\
A file, in TOML or JSON:

  name = \"otp\"
  channel = \"sms\"
  account = \"sandbox\"
  message_type = \"auth_code\"
  [content]
  text = \"Your code is {{ code }}.\"";

/// The commands of `tidings template`.
#[derive(Subcommand)]
pub(super) enum Template {
    /// List the templates
    List,
    /// Show a template, in a form that `put` takes
    Get(Shown),
    /// Write a template from a file; each change is a new version
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put(Written),
    /// Remove a template; what was accepted goes on
    Delete {
        /// Its name
        name: String,
    },
    /// Show what a recipient would get, and with --to what the provider would send
    Preview {
        /// Its name
        name: String,
        /// The recipient
        #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
        to: Option<String>,
        /// A variable, as a text; give it again for more
        #[arg(long, value_name = "NAME=VALUE", value_parser = pairs::argument)]
        var: Vec<(String, String)>,
        /// Variables as a JSON object
        #[arg(long, value_name = "JSON")]
        vars: Option<String>,
        /// Print the requests as curl commands, secrets masked
        #[arg(long)]
        curl: bool,
    },
    /// Show how its messages would be delivered now, each value with the layer it comes from
    Effective {
        /// Its name
        name: String,
    },
    /// List the versions of a template
    Versions {
        /// Its name
        name: String,
    },
}

impl Template {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List => KEPT.list(context).await,
            Self::Versions { name } => KEPT.versions(context, &name).await,
            Self::Effective { name } => {
                let reply = context.api()?.ask(Ask::get(&["v1", "templates", &name, "effective"])).await?;
                context.out.answer(&reply, |value| effective(&context.out, value))
            }
            Self::Get(shown) => KEPT.get(context, shown).await,
            Self::Put(written) => KEPT.put(context, written).await,
            Self::Delete { name } => KEPT.delete(context, &name).await,
            Self::Preview { name, to, var, vars, curl } => {
                let mut body = Map::new();
                body.extend(to.map(|to| ("to".to_owned(), json!(to))));
                let variables = pairs::variables(vars.as_deref(), &var)?.unwrap_or_default();
                body.insert("variables".to_owned(), Value::Object(variables));
                let reply =
                    context.api()?.ask(Ask::post(&["v1", "templates", &name, "preview"], Value::Object(body))).await?;
                context.out.answer(&reply, |value| preview::shown(value, curl))
            }
        }
    }
}

/// How its messages would be delivered: a table for each leg, and one for each account of it.
fn effective(out: &Out, value: &Value) -> String {
    let legs = rows(value, "legs").iter().map(|leg| {
        let text = |field: &str| leg[field].as_str().unwrap_or_default().to_owned();
        let title = format!("{}@{} by {} {}", text("template"), leg["version"], text("channel"), text("route"));
        let held = out.table(rows(leg, "held"), HELD, "");
        let accounts = rows(leg, "accounts").iter().map(|one| {
            let calls = out.table(rows(one, "held"), HELD, "");
            let name = one["account"].as_str().unwrap_or_default();
            format!("account {name}: tier {}, weight {}\n{calls}", one["tier"], one["weight"])
        });
        std::iter::once(format!("{}\n{held}", title.trim())).chain(accounts).collect::<Vec<_>>().join("\n\n")
    });
    legs.collect::<Vec<_>>().join("\n\n")
}
