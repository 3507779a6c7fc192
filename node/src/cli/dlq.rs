//! `tidings dlq`: what did not get through, and sending it again.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::failure::Failure;
use super::filter::{DELIVERIES, Page, more};
use super::output::{Column, flat, rows};
use super::{Context, pairs};

const GROUPS: &[Column] = &[
    ("COUNT", "/count"),
    ("CODE", "/code"),
    ("STATE", "/state"),
    ("TEMPLATE", "/template"),
    ("CHANNEL", "/channel"),
    ("ACCOUNT", "/account"),
    ("LAST (UTC)", "/last_at"),
    ("SAMPLE", "/sample"),
    ("WORDS", "/words"),
];

/// The commands of `tidings dlq`.
#[derive(Subcommand)]
pub(super) enum Dlq {
    /// Count the dead letters by reason
    Groups {
        #[command(flatten)]
        filter: Filter,
    },
    /// List the dead letters
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        page: Page,
    },
    /// Send dead letters again, as new deliveries
    Redrive(Redrive),
}

/// Which dead letters.
#[derive(Args)]
#[group(id = "dead", multiple = true)]
pub(super) struct Filter {
    /// Of this template
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Of this channel
    #[arg(long)]
    channel: Option<String>,
    /// That ended with this code
    #[arg(long)]
    code: Option<String>,
    /// failed: certainly not taken; unknown: may have been taken
    #[arg(long, value_enum)]
    state: Option<Dead>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dead {
    Failed,
    Unknown,
}

impl Filter {
    fn parts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let state = self.state.and_then(|s| s.to_possible_value()).map(|s| s.get_name().to_owned());
        let parts = [
            ("template", self.template.clone()),
            ("channel", self.channel.clone()),
            ("code", self.code.clone()),
            ("state", state),
        ];
        parts.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    fn add<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        self.parts().fold(ask, |ask, (name, value)| ask.query(name, Some(value)))
    }
}

/// The arguments of `tidings dlq redrive`.
#[derive(Args)]
#[command(after_help = "\
tidings dlq redrive --code http_503
tidings dlq redrive --template welcome --account mail-2 --latest
Redriving `unknown` ones may send a second copy: look at them first.")]
pub(super) struct Redrive {
    #[command(flatten)]
    filter: Filter,
    /// This dead letter; give it again for more
    #[arg(long = "id", value_name = "DELIVERY")]
    ids: Vec<String>,
    /// All dead letters
    #[arg(long, required_unless_present_any = ["dead", "ids"], conflicts_with_all = ["dead", "ids"])]
    all: bool,
    /// Most to redrive, 1 to 10,000
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Change a variable for all of them; give it again for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = pairs::argument)]
    var: Vec<(String, String)>,
    /// Change variables for all of them, as a JSON object
    #[arg(long, value_name = "JSON")]
    vars: Option<String>,
    /// Send with this account instead
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Use the template's latest version instead of the one they were accepted with
    #[arg(long)]
    latest: bool,
}

impl Redrive {
    fn body(&self) -> Result<Value, Failure> {
        let mut filter: Map<String, Value> =
            self.filter.parts().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        if !self.ids.is_empty() {
            filter.insert("ids".to_owned(), json!(self.ids));
        }
        let mut edit = Map::new();
        edit.extend(
            pairs::variables(self.vars.as_deref(), &self.var)?.map(|v| ("variables".to_owned(), Value::Object(v))),
        );
        edit.extend(self.account.as_ref().map(|account| ("account".to_owned(), json!(account))));
        edit.extend(self.latest.then(|| ("template_version".to_owned(), json!("latest"))));
        let mut body = json!({"filter": filter, "limit": self.limit});
        if !edit.is_empty() {
            body["edit"] = Value::Object(edit);
        }
        Ok(body)
    }
}

impl Dlq {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::Groups { filter } => {
                let reply = api.ask(filter.add(Ask::get(&["v1", "dead-letters"]))).await?;
                out.answer(&reply, |value| {
                    let table = out.table(rows(value, "groups"), GROUPS, "There are no dead letters.");
                    if rows(value, "groups").is_empty() {
                        table
                    } else {
                        format!("{table}\n{} in all", flat(&value["total"]))
                    }
                })
            }
            Self::List { filter, page } => {
                let reply = api.ask(page.add(filter.add(Ask::get(&["v1", "dead-letters", "list"])))).await?;
                out.answer(&reply, |value| {
                    out.table(rows(value, "deliveries"), DELIVERIES, "There are no dead letters.") + &more(value)
                })
            }
            Self::Redrive(redrive) => {
                let reply = api.ask(Ask::post(&["v1", "dead-letters", "redrive"], redrive.body()?)).await?;
                out.answer(&reply, |value| {
                    let line = format!("{} redriven, {} skipped", flat(&value["redriven"]), flat(&value["skipped"]));
                    match rows(value, "deliveries") {
                        [] => line,
                        all => line + "\n" + &out.table(all, &[("DEAD LETTER", "/from"), ("SENT AGAIN AS", "/id")], ""),
                    }
                })
            }
        }
    }
}
