//! `tidings trace`: the life of one delivery, or the deliveries that match.

use clap::Args;
use serde_json::Value;

use super::client::{Api, Ask};
use super::failure::Failure;
use super::filter::{DELIVERIES, Deliveries, Page, more};
use super::output::rows;
use super::{Context, life};

/// The arguments of `tidings trace`.
#[derive(Args)]
#[command(
    override_usage = "tidings trace <ID>\n       tidings trace [FILTERS]",
    after_help = "\
One match is drawn with everything that happened to it; several are listed, newest first. Times are UTC.
tidings trace dlv_…     tidings trace msg_…     tidings trace --recipient +8613800138000 --state failed"
)]
pub(super) struct Trace {
    /// The id of a delivery (dlv_…) or of a message (msg_…)
    #[arg(required_unless_present = "which", conflicts_with = "which")]
    id: Option<String>,
    #[command(flatten)]
    filter: Deliveries,
    #[command(flatten)]
    page: Page,
}

impl Trace {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let api = context.api()?;
        let list = match &self.id {
            Some(id) if !id.starts_with("msg_") => return one(context, &api, id).await,
            Some(id) => self.page.add(Ask::get(&["v1", "deliveries"]).query("message", Some(id))),
            None => self.page.add(self.filter.add(Ask::get(&["v1", "deliveries"]))),
        };
        let reply = api.ask(list).await?;
        // With --json the shape of the answer must not hang on how many there are.
        let whole = !context.out.json && self.page.cursor.is_none() && reply.value["next"].is_null();
        match rows(&reply.value, "deliveries") {
            [only] if whole => match only["id"].as_str() {
                Some(id) => one(context, &api, id).await,
                None => Ok(()),
            },
            _ => context.out.answer(&reply, |value| list_of(context, value)),
        }
    }
}

async fn one(context: &Context, api: &Api, id: &str) -> Result<(), Failure> {
    let reply = api.ask(Ask::get(&["v1", "deliveries", id])).await?;
    context.out.answer(&reply, |value| life::draw(&context.out, value))
}

fn list_of(context: &Context, value: &Value) -> String {
    context.out.table(rows(value, "deliveries"), DELIVERIES, "No delivery matches.") + &more(value)
}
