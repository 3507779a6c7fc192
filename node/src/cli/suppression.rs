//! `tidings suppression`: addresses that nothing is sent to any more.

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::Ask;
use super::failure::Failure;
use super::output::{Column, flat, rows};
use super::{Context, times};

const LIST: &[Column] = &[
    ("ADDRESS", "/address"),
    ("CHANNEL", "/channel"),
    ("REASON", "/reason"),
    ("UNTIL (UTC)", "/until"),
    ("CREATED (UTC)", "/created_at"),
    ("BY", "/created_by"),
    ("SHOWN BY", "/delivery"),
];

/// The commands of `tidings suppression`.
#[derive(Subcommand)]
pub(super) enum Suppression {
    /// Put an address on the list: nothing is sent to it any more
    Add {
        /// The address
        #[arg(allow_hyphen_values = true)]
        address: String,
        /// The channel; * is every channel
        #[arg(long, default_value = "*")]
        channel: String,
        /// Why
        #[arg(long, value_enum, default_value = "manual")]
        reason: Reason,
        /// Until this time (RFC 3339) [default: for ever]
        #[arg(long, value_name = "TIME", value_parser = times::argument)]
        until: Option<String>,
    },
    /// List the addresses, or those of one address or channel
    List {
        /// Only this address
        #[arg(long, allow_hyphen_values = true)]
        address: Option<String>,
        /// Only this channel
        #[arg(long)]
        channel: Option<String>,
        /// Most entries of a page
        #[arg(long)]
        limit: Option<usize>,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Take an address off the list
    Remove {
        /// The address
        #[arg(allow_hyphen_values = true)]
        address: String,
        /// The channel; * is the entry of every channel
        #[arg(long, default_value = "*")]
        channel: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Reason {
    Unsubscribed,
    Bounced,
    Manual,
}

impl Suppression {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        match self {
            Self::Add { address, channel, reason, until } => {
                let mut body = Map::new();
                let reason = reason.to_possible_value().map(|reason| reason.get_name().to_owned());
                body.insert("channel".to_owned(), json!(channel));
                body.insert("address".to_owned(), json!(address));
                body.insert("reason".to_owned(), json!(reason));
                body.extend(until.map(|until| ("until".to_owned(), json!(until))));
                let reply = api.ask(Ask::post(&["v1", "suppressions"], Value::Object(body))).await?;
                out.answer(&reply, |value| format!("nothing is sent to {} any more", flat(&value["address"])))
            }
            Self::List { address, channel, limit, cursor } => {
                let ask = Ask::get(&["v1", "suppressions"]).query("address", address).query("channel", channel);
                let reply = api.ask(ask.query("limit", limit).query("cursor", cursor)).await?;
                out.answer(&reply, |value| {
                    let table = out.table(rows(value, "suppressions"), LIST, "There are no suppressions.");
                    match value["next"].as_str() {
                        Some(next) => format!("{table}\nThere are more: --cursor {next}"),
                        None => table,
                    }
                })
            }
            Self::Remove { address, channel } => {
                let ask = Ask::delete(&["v1", "suppressions"]).query("channel", Some(&channel));
                let reply = api.ask(ask.query("address", Some(&address))).await?;
                out.answer(&reply, |_| format!("{address} may be sent to again"))
            }
        }
    }
}
