//! `tidings cluster`: founding it, joining it, seeing how it stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tidings_config::Config;

use super::client::{Api, Ask};
use super::failure::Failure;
use super::output::{Column, Out, flat, rows};
use super::{Context, config, pairs};

const NODES: &[Column] =
    &[("NODE", "/id"), ("UP", "/up"), ("API", "/api_addr"), ("PEERS", "/peer_addr"), ("LABELS", "/labels")];
const GROUPS: &[Column] = &[
    ("GROUP", "/name"),
    ("LEADER", "/leader"),
    ("TERM", "/term"),
    ("REPLICAS", "/replicas"),
    ("WANTED", "/wanted"),
    ("LAST LOG", "/last_log"),
    ("APPLIED", "/applied"),
    ("BEHIND", "/lag"),
];

/// The commands of `tidings cluster`.
#[derive(Subcommand)]
pub(super) enum Cluster {
    /// Found a cluster, once, on one running node; prints the first admin key
    Init(Init),
    /// Let a node join; it must be running with the same secret
    Join(Join),
    /// Show the nodes and the groups
    Status,
}

/// The arguments of `tidings cluster init`.
#[derive(Args)]
pub(super) struct Init {
    /// The node's configuration: founding needs the cluster's secret, and the node's address unless --url is given
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Partitions, for the cluster's life [default: as the node is configured]
    #[arg(long)]
    partitions: Option<u16>,
    /// Replicas of each partition [default: as the node is configured]
    #[arg(long)]
    replication: Option<u16>,
}

/// The arguments of `tidings cluster join`.
#[derive(Args)]
#[command(after_help = "\
--url names a node that is in the cluster, the arguments the one that joins:
tidings cluster join --url http://10.0.0.1:7400 --config node2.toml")]
pub(super) struct Join {
    /// The number of the node that joins
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
    /// The configuration of the node that joins, to read all this from; arguments win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Cluster {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(context).await,
            Self::Join(join) => join.run(context).await,
            Self::Status => {
                let reply = context.api()?.ask(Ask::get(&["v1", "cluster"])).await?;
                context.out.answer(&reply, |value| status(&context.out, value))
            }
        }
    }
}

impl Init {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let config = config::load(&self.config)?;
        let url = context.url.clone().unwrap_or_else(|| format!("http://{}", api_of(&config)));
        let api = Api::new(&url, Some(config.cluster.secret.clone()))?;
        let mut body = Map::new();
        body.extend(self.partitions.map(|n| ("partitions".to_owned(), json!(n))));
        body.extend(self.replication.map(|n| ("replication".to_owned(), json!(n))));
        let reply = api.ask(Ask::post(&["v1", "cluster", "init"], Value::Object(body))).await?;
        context.out.answer(&reply, |value| {
            let (cluster, key) = (flat(&value["cluster"]), flat(&value["key"]));
            format!("cluster {cluster} is founded on {url}\nadmin key, shown this once:\n{key}")
        })
    }
}

impl Join {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let body = self.body()?;
        let id = body["id"].clone();
        let reply = context.api()?.ask(Ask::post(&["v1", "cluster", "nodes"], body)).await?;
        context.out.answer(&reply, |_| {
            format!("node {id} joins; see how it takes up its replicas with `tidings cluster status`")
        })
    }

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

fn api_of(config: &Config) -> String {
    config.node.advertised_api(config.node.api_listen)
}

fn status(out: &Out, value: &Value) -> String {
    let head = format!(
        "cluster {}: {} partitions, {} replicas of each; asked node {}",
        flat(&value["id"]),
        flat(&value["partitions"]),
        flat(&value["replication"]),
        flat(&value["node"])
    );
    let nodes = out.table(rows(value, "nodes"), NODES, "There are no nodes.");
    let groups = out.table(rows(value, "groups"), GROUPS, "There are no groups.");
    format!("{head}\n\n{nodes}\n\n{groups}")
}
