//! `tidings cluster join`, `remove`, `replace`, `transfer`: which nodes there are, and who leads what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Api, Ask, Reply};
use super::cluster::api_of;
use super::failure::Failure;
use super::output::flat;
use super::settling::{Change, until_settled};
use super::{Context, config, pairs};

/// The node that comes.
#[derive(Args)]
struct Newcomer {
    /// The number of the node that comes; one that was never used before
    #[arg(long, value_name = "ID", required_unless_present = "config")]
    node: Option<u64>,
    /// Where other nodes reach it
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "config")]
    peer_addr: Option<String>,
    /// Where its API is reached
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "config")]
    api_addr: Option<String>,
    /// What placement should know, like zone=a; give it again for more
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pairs::argument)]
    labels: Vec<(String, String)>,
    /// The configuration of that node, to read all this from; arguments win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Whether to wait for the end.
#[derive(Args)]
struct Waiting {
    /// Do not wait until everything is in its place
    #[arg(long)]
    no_wait: bool,
    /// How long to wait at most, in seconds; what was begun goes on all the same
    #[arg(long, value_name = "SECONDS", default_value_t = 600, conflicts_with = "no_wait")]
    wait_for: u64,
}

/// The arguments of `tidings cluster join`.
#[derive(Args)]
#[command(after_help = "\
--url names a node that is in the cluster, the arguments the one that joins:
tidings cluster join --url http://10.0.0.1:7400 --config node2.toml")]
pub(super) struct Join {
    #[command(flatten)]
    newcomer: Newcomer,
    #[command(flatten)]
    waiting: Waiting,
}

/// The arguments of `tidings cluster remove`.
#[derive(Args)]
#[command(after_help = "\
The node may be dead. Its number can never be used again; a node that comes back joins as a new one, with an empty data
directory. Ask any other node than the one that leaves: --url http://10.0.0.1:7400")]
pub(super) struct Remove {
    /// The number of the node that leaves
    #[arg(value_name = "ID")]
    node: u64,
    #[command(flatten)]
    waiting: Waiting,
}

/// The arguments of `tidings cluster replace`.
#[derive(Args)]
#[command(after_help = "\
The old node may be dead, its disk lost. The new one, running with the same secret and an empty data directory, takes over
exactly what the old one held:
tidings cluster replace 3 --url http://10.0.0.1:7400 --config node4.toml
A node that lost its disk needs no command: started with an empty data directory, it is taken in again. Only if it
comes back at another address, say so with its own number:
tidings cluster replace 3 --url http://10.0.0.1:7400 --config node3.toml")]
pub(super) struct Replace {
    /// The number of the node that leaves
    #[arg(value_name = "ID")]
    old: u64,
    #[command(flatten)]
    newcomer: Newcomer,
    #[command(flatten)]
    waiting: Waiting,
}

/// The arguments of `tidings cluster transfer`.
#[derive(Args)]
pub(super) struct Transfer {
    /// The group: control, p0, p1 …
    #[arg(value_name = "GROUP")]
    group: String,
    /// The node that is to lead it; one of its replicas
    #[arg(value_name = "ID")]
    to: u64,
}

impl Join {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = self.newcomer.body()?;
        let came = body["id"].as_u64();
        let api = context.api()?;
        let reply = api.ask(Ask::post(&["v1", "cluster", "nodes"], body)).await?;
        let begun = format!("node {} joins {}", came.unwrap_or_default(), asked(&reply.value));
        self.waiting.end(context, &api, reply, Change { came, left: None }, &begun).await
    }
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let api = context.api()?;
        let id = self.node.to_string();
        let reply = api.ask(Ask::delete(&["v1", "cluster", "nodes", &id])).await?;
        let begun = with_warning(format!("node {id} leaves {}", asked(&reply.value)), &reply.value);
        self.waiting.end(context, &api, reply, Change { came: None, left: Some(self.node) }, &begun).await
    }
}

impl Replace {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = self.newcomer.body()?;
        let (came, old) = (body["id"].as_u64(), self.old.to_string());
        let api = context.api()?;
        let reply = api.ask(Ask::post(&["v1", "cluster", "nodes", &old, "replace"], body)).await?;
        let left = (came != Some(self.old)).then_some(self.old);
        let begun = match left {
            Some(_) => {
                format!("node {} takes the place of node {old} in {}", came.unwrap_or_default(), asked(&reply.value))
            }
            None => format!("node {old} comes back to {} with a new disk", asked(&reply.value)),
        };
        let begun = with_warning(begun, &reply.value);
        self.waiting.end(context, &api, reply, Change { came, left }, &begun).await
    }
}

impl Transfer {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = json!({"group": self.group, "to": self.to});
        let reply = context.api()?.ask(Ask::post(&["v1", "cluster", "transfer"], body)).await?;
        context.out.answer(&reply, |value| format!("node {} leads {}", flat(&value["leader"]), flat(&value["group"])))
    }
}

impl Waiting {
    /// Says what was begun, waits for its end unless told not to, and says that.
    async fn end(self, context: &Context, api: &Api, reply: Reply, change: Change, begun: &str) -> Result<(), Failure> {
        let watch = "see how far it is with `tidings cluster status --watch`";
        if self.no_wait {
            return context.out.answer(&reply, |_| format!("{begun}; {watch}"));
        }
        if !context.out.json {
            context.out.line(begun)?;
        }
        until_settled(api, change, Duration::from_secs(self.wait_for)).await?;
        context.out.answer(&reply, |_| "done: every partition has its replicas and its leader".to_owned())
    }
}

/// Which cluster it is about, and who was asked.
fn asked(reply: &Value) -> String {
    format!("cluster {}, as node {} was asked", flat(&reply["cluster"]), flat(&reply["asked"]))
}

fn with_warning(text: String, reply: &Value) -> String {
    match reply["warning"].as_str() {
        Some(warning) => format!("{text}\nwarning: {warning}"),
        None => text,
    }
}

impl Newcomer {
    fn body(self) -> Result<Value, Failure> {
        let from = self.config.as_deref().map(config::load).transpose()?;
        let mut labels: BTreeMap<String, String> = from.as_ref().map(|c| c.node.labels.clone()).unwrap_or_default();
        labels.extend(self.labels);
        let from = from.as_ref();
        let mut body = json!({
            "id": self.node.or(from.map(|c| c.node.id)),
            "peer_addr": self.peer_addr.or(from.map(|c| c.node.advertised_peer(c.node.peer_listen))),
            "api_addr": self.api_addr.or(from.map(api_of)),
        });
        if !labels.is_empty() {
            body["labels"] = json!(labels);
        }
        Ok(body)
    }
}
