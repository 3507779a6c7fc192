//! The filters of delivery lists and dead letters, and the columns those lists have.

use clap::{Args, ValueEnum};

use super::client::Ask;
use super::output::Column;
use super::times;

/// What a list of deliveries shows.
pub(super) const DELIVERIES: &[Column] = &[
    ("DELIVERY", "/id"),
    ("TO", "/to"),
    ("TEMPLATE", "/template"),
    ("CHANNEL", "/channel"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("REASON", "/reason/code"),
    ("BIZ ID", "/biz_id"),
    ("ACCEPTED (UTC)", "/accepted_at"),
];

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    Pending,
    Delivered,
    Failed,
    Unknown,
    Suppressed,
    Cancelled,
    Recalled,
    Expired,
}

impl State {
    /// The name in the API.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Which deliveries.
#[derive(Args, Debug)]
#[group(id = "which", multiple = true)]
pub(super) struct Deliveries {
    /// To this recipient
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(super) recipient: Option<String>,
    /// Of this template
    #[arg(long, value_name = "NAME")]
    pub(super) template: Option<String>,
    /// Of this business case
    #[arg(long, value_name = "ID")]
    pub(super) biz_id: Option<String>,
    /// Of this message
    #[arg(long, value_name = "ID")]
    pub(super) message: Option<String>,
    /// In this state
    #[arg(long, value_enum)]
    pub(super) state: Option<State>,
    /// Accepted at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    pub(super) since: Option<String>,
    /// Accepted before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = times::argument)]
    pub(super) until: Option<String>,
}

impl Deliveries {
    /// Adds the filters to a question.
    pub(super) fn add<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        ask.query("recipient", self.recipient.as_ref())
            .query("template", self.template.as_ref())
            .query("biz_id", self.biz_id.as_ref())
            .query("message", self.message.as_ref())
            .query("state", self.state.map(State::name))
            .query("since", self.since.as_ref())
            .query("until", self.until.as_ref())
    }
}

/// How much of a list.
#[derive(Args, Debug)]
pub(super) struct Page {
    /// Most lines, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) limit: u16,
    /// Go on where an earlier list ended
    #[arg(long)]
    pub(super) cursor: Option<String>,
}

impl Page {
    /// Adds the page to a question.
    pub(super) fn add<'a>(&self, ask: Ask<'a>) -> Ask<'a> {
        ask.query("limit", Some(self.limit)).query("cursor", self.cursor.as_ref())
    }
}

/// What to type for the rest of a list; empty at its end.
pub(super) fn more(value: &serde_json::Value) -> String {
    value["next"].as_str().map(|next| format!("\nThere are more: add --cursor {next}")).unwrap_or_default()
}
