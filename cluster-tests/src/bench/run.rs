//! Runs the arrangements one after another, each part in a process of its own, so that all share the processor alike.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::table::{Loaded, Row};
use crate::client::Client;
use crate::cluster::{Cluster, Shape, eventually};
use crate::failure::ensure;
use crate::load::Plan;
use crate::process::{processor_time, resident};
use crate::receiver::{Counts, SECRET};
use crate::{Failure, Proof, When};

/// How long the last deliveries may take to arrive.
const DRAIN: Duration = Duration::from_secs(90);

/// How much is sent in an arrangement.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Callers at once.
    pub callers: usize,
    /// Recipients a request.
    pub batch: u64,
    /// Recipients sent before the measured ones.
    pub warm: u64,
    /// Recipients measured.
    pub measured: u64,
}

/// A part of the bench or of a proof in a process of its own. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Part {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this executable with `args`.
    pub(crate) fn start(args: &[&str]) -> Proof<Self> {
        let own = std::env::current_exe().when("finding the running executable")?;
        let mut child =
            Command::new(own).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().when("starting a part")?;
        let said = child.stdout.take().when("reading a part's output")?;
        Ok(Self { child, said: BufReader::new(said) })
    }

    /// The next line it prints; waits for it.
    pub(crate) async fn line(mut self) -> Proof<(Self, String)> {
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            self.said.read_line(&mut line).map(|_| (self, line.trim().to_owned()))
        });
        let (part, line) = read.await.when("reading a part's output")?.when("reading a part's output")?;
        if line.is_empty() { Err(Failure::new("a part ended early")) } else { Ok((part, line)) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What is measured: where requests go, with which key, and whose memory is looked at.
struct Target {
    what: String,
    nodes: Vec<String>,
    key: String,
    pids: Vec<u32>,
}

impl Target {
    fn processor_time(&self) -> Proof<Duration> {
        self.pids.iter().map(|pid| processor_time(*pid)).sum()
    }
}

/// Measures the bare relay.
///
/// # Errors
/// When a part fails or not everything arrives.
pub async fn relay(amount: Amount) -> Proof<Row> {
    let (relay, url) = Part::start(&["relay"])?.line().await?;
    let what = format!("bare relay, {}", per_request(amount));
    let target = Target { what, nodes: vec![url], key: "none".to_owned(), pids: vec![relay.child.id()] };
    measure(&target, amount).await
}

/// Measures a cluster of so many nodes.
///
/// # Errors
/// When a part fails or not everything arrives.
pub async fn nodes(count: usize, partitions: u16, amounts: &[Amount]) -> Proof<Vec<Row>> {
    let cluster = Cluster::start(&Shape::full(count, partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let mut rows = Vec::new();
    for amount in amounts {
        let name = if count == 1 { "one node".to_owned() } else { format!("{count} nodes") };
        let target = Target {
            what: format!("{name}, {}", per_request(*amount)),
            nodes: cluster.urls(),
            key: cluster.key.clone(),
            pids: cluster.nodes.iter().map(crate::process::Node::pid).collect::<Proof<_>>()?,
        };
        rows.push(measure(&target, *amount).await?);
        cluster.wait_drained().await?;
    }
    Ok(rows)
}

async fn measure(target: &Target, amount: Amount) -> Proof<Row> {
    let (_receiver, receiver) = Part::start(&["receiver"])?.line().await?;
    let warm = load(target, &receiver, amount, 0, amount.warm).await?;
    arrived(&receiver, warm.accepted).await?;
    let client = Client::new("");
    client
        .call(Method::DELETE, &receiver, &[], Bytes::new())
        .await
        .when("clearing the receiver")?
        .expect_status(204)?;
    let used = target.processor_time()?;
    let loaded = load(target, &receiver, amount, amount.warm, amount.measured).await?;
    let counts = arrived(&receiver, loaded.accepted).await?;
    let used = target.processor_time()?.saturating_sub(used);
    ensure(loaded.other == 0, || format!("{} of {} were not accepted", loaded.other, amount.measured))?;
    // Rates of counts far below 2^53.
    let rate = |count: u64, span_us: u64| count as f64 * 1e6 / span_us.max(1) as f64;
    Ok(Row {
        what: target.what.clone(),
        accepted: rate(loaded.accepted, loaded.span_us),
        delivered: rate(counts.distinct, counts.span_us),
        p50_ms: loaded.p50_ms,
        p99_ms: loaded.p99_ms,
        cpu_us: used.as_secs_f64() * 1e6 / counts.distinct.max(1) as f64,
        rss: target.pids.iter().map(|pid| resident(*pid)).collect::<Proof<_>>()?,
    })
}

async fn load(target: &Target, receiver: &str, amount: Amount, first: u64, most: u64) -> Proof<Loaded> {
    let plan = Plan {
        nodes: target.nodes.clone(),
        template: "hook".to_owned(),
        receiver: receiver.to_owned(),
        connections: amount.callers,
        batch: amount.batch,
        first,
        most,
        keyed: false,
    };
    let plan = serde_json::to_string(&plan).when("writing the plan")?;
    let (_load, said) = Part::start(&["load", &target.key, &plan])?.line().await?;
    serde_json::from_str(&said).when(format!("reading what the load said: {said}"))
}

/// Waits until so many different deliveries have arrived.
async fn arrived(receiver: &str, expected: u64) -> Proof<Counts> {
    let client = Client::new("");
    eventually("everything has arrived", DRAIN, async || {
        let counts: Counts = client.get(receiver).await?;
        ensure(counts.distinct >= expected, || format!("{} of {expected} have", counts.distinct))?;
        Ok(counts)
    })
    .await
}

fn per_request(amount: Amount) -> String {
    if amount.batch == 1 { "one recipient a request".to_owned() } else { format!("{} a request", amount.batch) }
}
