//! `tidings recall`: takes back what was sent, and cancels what was not sent yet.

use clap::Args;
use serde_json::json;

use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, flat, rows};
use super::{Context, times};

/// What became of each delivery.
const COLUMNS: &[Column] = &[
    ("DELIVERY", "/id"),
    ("STATE", "/state"),
    ("RECALL", "/recall"),
    ("REASON", "/reason/code"),
    ("WORDS", "/reason/words"),
];

/// The arguments of `tidings recall`.
#[derive(Args)]
#[command(after_help = "\
tidings recall dlv_…
tidings recall --template news --since 2026-11-23T09:00:00Z")]
pub(super) struct Recall {
    /// The id of a delivery (dlv_…) or of a message (msg_…)
    #[arg(required_unless_present = "template", conflicts_with = "template")]
    id: Option<String>,
    /// All deliveries of this template, the newest 1,000
    #[arg(long, value_name = "NAME", requires = "since")]
    template: Option<String>,
    /// Those accepted at or after this time (RFC 3339), at most a week ago
    #[arg(long, value_name = "TIME", value_parser = times::argument, requires = "template")]
    since: Option<String>,
    /// Those accepted before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = times::argument, requires = "template")]
    until: Option<String>,
}

impl Recall {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (kind, name) = match (&self.id, &self.template) {
            (Some(id), _) if id.starts_with("dlv_") => ("deliveries", id.as_str()),
            (Some(id), _) => ("messages", id.as_str()),
            (None, template) => ("templates", template.as_deref().unwrap_or_default()),
        };
        let path = ["v1", kind, name, "recall"];
        let ask =
            Ask::post(&path, json!({})).query("since", self.since.as_deref()).query("until", self.until.as_deref());
        let reply = context.api()?.ask(ask).await?;
        context.out.answer(&reply, |value| {
            let count = |name: &str| flat(&value[name]);
            let line = format!(
                "{} recalled, {} cancelled, {} wanted, {} not recallable, {} unknown",
                count("recalled"),
                count("cancelled"),
                count("wanted"),
                count("not_recallable"),
                count("unknown")
            );
            let more = if value["more"] == true { "\nThere are more; ask again with an earlier --until." } else { "" };
            match rows(value, "deliveries") {
                [] => line + more,
                all => line + more + "\n" + &context.out.table(all, COLUMNS, ""),
            }
        })
    }
}
