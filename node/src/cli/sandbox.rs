//! `tidings sandbox`: what the sandbox was given to send.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Context;
use super::client::{Api, Ask};
use super::failure::Failure;
use super::output::{Out, flat, rows};
use super::times::absolute;

/// How often `--follow` asks.
const EVERY: Duration = Duration::from_millis(500);

/// The arguments of `tidings sandbox`.
#[derive(Args)]
pub(super) struct Sandbox {
    /// Of this account only
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// For this recipient only
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    to: Option<String>,
    /// Most lines, 1 to 500
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Go on showing what comes, until ctrl-c
    #[arg(short, long)]
    follow: bool,
}

impl Sandbox {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let api = context.api()?;
        let first = api.ask(self.ask().query("limit", Some(self.limit))).await?;
        let out = &context.out;
        if !self.follow {
            return out.answer(&first, |value| match rows(value, "messages") {
                [] => "The sandbox was given nothing yet.".to_owned(),
                all => all.iter().map(|message| line(out, message)).collect::<Vec<_>>().join("\n"),
            });
        }
        let mut seen = Seen::default();
        seen.print(out, rows(&first.value, "messages"))?;
        let nodes = nodes(&api).await?;
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            for &node in &nodes {
                // Every node counts its own messages, so every node is asked for what comes after its own last one.
                let after = seen.last(node);
                let ask = self.ask().query("node", Some(node)).query("after", Some(after)).query("limit", Some(500));
                seen.print(out, rows(&api.ask(ask).await?.value, "messages"))?;
            }
        }
    }

    fn ask(&self) -> Ask<'static> {
        Ask::get(&["v1", "sandbox"]).query("account", self.account.as_ref()).query("to", self.to.as_ref())
    }
}

/// The last number seen of each node.
#[derive(Default)]
struct Seen(BTreeMap<u64, u64>);

impl Seen {
    fn last(&self, node: u64) -> u64 {
        self.0.get(&node).copied().unwrap_or_default()
    }

    fn print(&mut self, out: &Out, messages: &[Value]) -> Result<(), Failure> {
        for message in messages {
            let node = message["node"].as_u64().unwrap_or_default();
            let seq = message["seq"].as_u64().unwrap_or_default();
            let last = self.0.entry(node).or_default();
            *last = seq.max(*last);
            if out.json {
                out.line(message.to_string())?;
            } else {
                out.line(line(out, message))?;
            }
        }
        Ok(())
    }
}

async fn nodes(api: &Api) -> Result<Vec<u64>, Failure> {
    let cluster = api.ask(Ask::get(&["v1", "cluster"])).await?;
    Ok(rows(&cluster.value, "nodes").iter().filter_map(|node| node["id"].as_u64()).collect())
}

fn line(out: &Out, message: &Value) -> String {
    let get = |name: &str| flat(&message[name]);
    format!(
        "{}  {} {}  {}  {}",
        out.dim(&absolute(&get("at"))),
        get("channel"),
        out.bold(&get("to")),
        message["content"],
        out.dim(&format!("{}, {}, attempt {}", get("account"), get("delivery"), get("attempt"))),
    )
}
