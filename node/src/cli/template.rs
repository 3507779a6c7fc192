//! `tidings template`: what is said.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, rows};
use super::{Context, document, pairs, preview};

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
    Get {
        /// Its name
        name: String,
        /// An older version
        #[arg(long = "at", value_name = "VERSION")]
        version: Option<u32>,
    },
    /// Write a template from a file; each change is a new version
    #[command(visible_alias = "apply", after_help = PUT_HELP)]
    Put {
        /// Its name [default: `name` in the file]
        name: Option<String>,
        /// A JSON or TOML file; - is standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
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
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::List => {
                let reply = api.ask(Ask::get(&["v1", "templates"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "templates"), LIST, "There are no templates."))
            }
            Self::Versions { name } => {
                let reply = api.ask(Ask::get(&["v1", "templates", &name, "versions"])).await?;
                out.answer(&reply, |value| out.table(rows(value, "templates"), LIST, "There are no versions."))
            }
            Self::Effective { name } => {
                let reply = api.ask(Ask::get(&["v1", "templates", &name, "effective"])).await?;
                out.answer(&reply, |value| {
                    let legs = rows(value, "legs").iter().map(|leg| {
                        let text = |field: &str| leg[field].as_str().unwrap_or_default().to_owned();
                        let title =
                            format!("{}@{} by {} {}", text("template"), leg["version"], text("channel"), text("route"));
                        let held = out.table(rows(leg, "held"), HELD, "");
                        let accounts = rows(leg, "accounts").iter().map(|one| {
                            let calls = out.table(rows(one, "held"), HELD, "");
                            let name = one["account"].as_str().unwrap_or_default();
                            format!("account {name}: tier {}, weight {}\n{calls}", one["tier"], one["weight"])
                        });
                        std::iter::once(format!("{}\n{held}", title.trim()))
                            .chain(accounts)
                            .collect::<Vec<_>>()
                            .join("\n\n")
                    });
                    legs.collect::<Vec<_>>().join("\n\n")
                })
            }
            Self::Get { name, version } => {
                let reply = api.ask(Ask::get(&["v1", "templates", &name]).query("version", version)).await?;
                out.answer(&reply, pretty)
            }
            Self::Put { name, file } => {
                let mut spec = document::read(&file)?;
                let name = document::name(name, &mut spec)?;
                // What `get` tells beside the template itself; a file may have been made from it.
                spec.retain(|field, _| !["version", "variables", "created_at", "created_by"].contains(&field.as_str()));
                let reply = api.ask(Ask::put(&["v1", "templates", &name], Value::Object(spec))).await?;
                out.answer(&reply, |value| format!("template {name} is at version {}", value["version"]))
            }
            Self::Delete { name } => {
                let reply = api.ask(Ask::delete(&["v1", "templates", &name])).await?;
                out.answer(&reply, |_| format!("template {name} is removed"))
            }
            Self::Preview { name, to, var, vars, curl } => {
                let mut body = Map::new();
                body.extend(to.map(|to| ("to".to_owned(), json!(to))));
                let variables = pairs::variables(vars.as_deref(), &var)?.unwrap_or_default();
                body.insert("variables".to_owned(), Value::Object(variables));
                let reply = api.ask(Ask::post(&["v1", "templates", &name, "preview"], Value::Object(body))).await?;
                out.answer(&reply, |value| preview::shown(value, curl))
            }
        }
    }
}

/// JSON over several lines, as it would be edited. JSON escapes control characters by itself.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
