//! `tidings cluster`: founding it, and seeing how it stands. What changes its nodes is in `members.rs`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tidings_config::Config;

use super::client::{Api, Ask};
use super::failure::Failure;
use super::force_disk::ForceDisk;
use super::members::{Join, Remove, Replace, Transfer};
use super::output::{Column, Out, flat, rows};
use super::settling::troubles;
use super::skip::Skip;
use super::{Context, config};

const NODES: &[Column] = &[
    ("NODE", "/id"),
    ("UP", "/up"),
    ("DRAINING", "/draining"),
    ("LEADS", "/leads"),
    ("HOLDS", "/holds"),
    ("CLOCK", "/told_clock"),
    ("DISK", "/disk"),
    ("FREE", "/free"),
    ("API", "/api_addr"),
    ("PEERS", "/peer_addr"),
    ("LABELS", "/labels"),
];
const GROUPS: &[Column] = &[
    ("GROUP", "/name"),
    ("LEADER", "/leader"),
    ("TERM", "/term"),
    ("REPLICAS", "/replicas"),
    ("VOTERS", "/voters"),
    ("WANTED", "/wanted"),
    ("LOG", "/log_length"),
    ("LAST LOG", "/last_log"),
    ("APPLIED", "/applied"),
    ("BEHIND", "/lag"),
];
/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// The commands of `tidings cluster`.
#[derive(Subcommand)]
pub(super) enum Cluster {
    /// Found a cluster, once, on one running node; prints the first admin key
    Init(Init),
    /// Let a node join, and wait until it has its replicas; it must be running with the same secret
    Join(Join),
    /// Have a node leave, alive or dead, and wait until what it held is elsewhere
    Remove(Remove),
    /// Have a new node take the place of another, alive or dead, and wait until it has
    Replace(Replace),
    /// Let a node count with another disk though no majority can agree: the last resort when disks are lost for good
    ForceDisk(ForceDisk),
    /// Pass over an entry of a group's log: the last way out when every replica dies of it
    Skip(Skip),
    /// Have another of its replicas lead a group
    Transfer(Transfer),
    /// Set the cluster's time, where it went wrong, to what the machines' clocks agree on
    RepairTime,
    /// Show the nodes and the groups
    Status(Status),
}

/// The arguments of `tidings cluster status`.
#[derive(Args)]
pub(super) struct Status {
    /// Show it again every second, until ctrl-c
    #[arg(long)]
    watch: bool,
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

impl Cluster {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(context).await,
            Self::Join(join) => join.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
            Self::Replace(replace) => replace.run(context).await,
            Self::ForceDisk(force) => force.run(context).await,
            Self::Skip(skip) => skip.run(context).await,
            Self::Transfer(transfer) => transfer.run(context).await,
            Self::RepairTime => repair_time(context).await,
            Self::Status(status) => status.run(context).await,
        }
    }
}

impl Status {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, out) = (context.api()?, &context.out);
        loop {
            let reply = api.ask(Ask::get(&["v1", "cluster"])).await?;
            if self.watch && !out.json && std::io::stdout().is_terminal() {
                out.line("\x1b[2J\x1b[H")?;
            }
            out.answer(&reply, |value| status(out, value))?;
            if !self.watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH).await;
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

/// Where a node of this configuration is reached.
pub(super) fn api_of(config: &Config) -> String {
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
    let sized = |node: &Value| {
        let mut node = node.clone();
        for (name, bytes) in [("disk", "disk_used_bytes"), ("free", "disk_free_bytes")] {
            node[name] = json!(node[bytes].as_u64().map(size));
        }
        node["told_clock"] = json!(clock(&node["clock"]));
        node
    };
    let nodes: Vec<Value> = rows(value, "nodes").iter().map(sized).collect();
    let nodes = out.table(&nodes, NODES, "There are no nodes.");
    let groups = out.table(rows(value, "groups"), GROUPS, "There are no groups.");
    let troubles: String = time_trouble(value).iter().chain(&troubles(value)).map(|line| format!("\n{line}")).collect();
    format!("{head}\n\n{nodes}{troubles}\n\n{groups}")
}

/// A node's clock for people: `agrees +3ms`.
fn clock(value: &Value) -> Option<String> {
    let stand = value["stand"].as_str().filter(|stand| !stand.is_empty())?;
    Some(match value["ahead_ms"].as_i64() {
        Some(ahead) => format!("{stand} {ahead:+}ms"),
        None => stand.to_owned(),
    })
}

/// What is wrong with the cluster's time, a line each.
fn time_trouble(value: &Value) -> Vec<String> {
    let clocks = || rows(value, "nodes").iter().map(|node| &node["clock"]);
    let repair = "`tidings cluster repair-time` sets it";
    let off = clocks().filter_map(|clock| clock["cluster_ahead_ms"].as_i64()).max_by_key(|ms| ms.abs());
    let off = off.filter(|ms| ms.abs() > 1_000);
    let off =
        off.map(|ms| format!("The cluster's time is {ms:+} ms from what the machines' clocks agree on; {repair}."));
    let ahead = clocks()
        .filter_map(|clock| clock["groups_ahead_ms"].as_object())
        .flat_map(|groups| groups.iter().filter_map(|(name, ms)| Some((ms.as_u64()?, name.clone()))));
    let ahead = ahead.max().map(|(ms, name)| format!("The time of {name} is {ms} ms in the future; {repair} back."));
    off.into_iter().chain(ahead).collect()
}

/// Sets the cluster's time to agreed time, and says what that changed.
async fn repair_time(context: &Context) -> Result<(), Failure> {
    let reply = context.api()?.ask(Ask::post(&["v1", "cluster", "repair-time"], json!({}))).await?;
    context.out.answer(&reply, |value| {
        let mut lines = vec![format!("the cluster's time is {}", flat(&value["now"]))];
        let groups = rows(value, "groups").iter().filter(|group| group["to"].is_string());
        lines.extend(groups.map(|group| {
            format!("{}: from {} back to {}", flat(&group["group"]), flat(&group["was"]), flat(&group["to"]))
        }));
        let left = value["left"].as_array().into_iter().flatten();
        lines.extend(left.map(|left| format!("not repaired: {}; do it again", flat(left))));
        lines.join("\n")
    })
}

/// Bytes for people: `12.3MiB`.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    // The figure is shown with one decimal; what a float rounds off does not matter.
    let mut left = bytes as f64;
    while left >= 1_024.0 && unit + 1 < units.len() {
        left /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{left:.1}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_largest_unit_that_fits() {
        let cases = [(0, "0B"), (1_023, "1023B"), (1_024, "1.0KiB"), (13_002_342, "12.4MiB"), (3 << 40, "3.0TiB")];
        for (bytes, told) in cases {
            assert_eq!(size(bytes), told);
        }
    }
}
