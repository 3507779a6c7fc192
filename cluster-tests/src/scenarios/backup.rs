//! A backup taken under load, with a leader killed meanwhile; all nodes destroyed; one node restored and two joined:
//! everything that was accepted before the backup began is there, and what was pending arrives.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use super::{Scale, plan};
use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::Load;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof, When, binary};

/// Deliveries whose account fails until after the restore: they are pending in the backup.
const WAITING: u64 = 40;

/// Runs it with three nodes.
///
/// # Errors
/// When something accepted before the backup is missing, or the cluster cannot be run.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let waiting = wait_for_better_days(&cluster).await?;
    let receiver = Receiver::start(Manners::default())?;
    let load = Load::start(&cluster.admin, plan(&cluster, &receiver, scale.connections, scale.messages * 8));
    reached(&load, scale.messages / 2).await?;
    let accepted_before = load.handle.accepted();
    let file = cluster.dir().join("under-load.backup");
    let began = Instant::now();
    let taking = start_backup(&cluster, &file)?;
    // A leader dies while its cluster is being read; its groups begin again at their next leaders.
    let victim = cluster.leader_of_most().await?;
    let asked = 0;
    if victim != asked {
        cluster.nodes[victim].kill()?;
    }
    let output = tokio::task::spawn_blocking(move || taking.wait_with_output()).await.when("waiting for the backup")?;
    let took = began.elapsed();
    let output = output.when("waiting for the backup")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), || format!("the backup failed: {words}"))?;
    reached(&load, accepted_before + scale.messages / 4).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    let known_before: HashSet<String> = first(&tally, accepted_before);
    let (key, killed) = (cluster.key.clone(), victim != asked);
    for node in &mut cluster.nodes {
        if node.runs() {
            node.kill()?;
        }
    }
    // Everything is lost but the file.
    for node in &cluster.nodes {
        std::fs::remove_dir_all(node.data_dir()).when("destroying a node's data")?;
    }
    let bytes = std::fs::metadata(&file).when("looking at the backup")?.len();
    let restored = Instant::now();
    restore(&cluster, &file).await?;
    cluster.nodes[0].restart()?;
    cluster.key = key;
    let rest: Vec<_> = cluster.nodes.drain(1..).collect();
    cluster.wait_ready().await?;
    let restored = restored.elapsed();
    cluster.nodes.extend(rest);
    grow(&mut cluster, scale.partitions).await?;
    let good = json!({"provider": "sandbox", "settings": {}});
    let url = format!("{}/v1/accounts/later", cluster.url(0));
    cluster.admin.send(Method::PUT, &url, &good).await?.expect_status(200)?;
    let stats = cluster.wait_drained().await?;
    let missing = missing(&cluster, known_before.iter().chain(&waiting)).await?;
    ensure(missing.is_empty(), || format!("{} are missing, like {:?}", missing.len(), missing.first()))?;
    let mut report = Report::new("backup under load, everything destroyed, restored into one node, grown to three");
    report.line("accepted before the backup began", known_before.len() + waiting.len());
    report.line("of them missing after the restore", missing.len());
    report.line("pending in the backup for certain, delivered after", waiting.len());
    report.line("in the restored cluster", stats.accepted);
    report.line("accepted in all before the end", tally.accepted.len() + waiting.len());
    report.line("leader killed during the backup", killed);
    report.line("size of the file", format!("{bytes} bytes"));
    report.line("taken and checked in", format!("{:.2} s", took.as_secs_f64()));
    report.line("restored and ready in", format!("{:.2} s", restored.as_secs_f64()));
    report.line("longest gap in accepts", format!("{:.2} s", tally.longest_gap().as_secs_f64()));
    Ok(report)
}

/// Sends deliveries whose account fails until it is mended.
async fn wait_for_better_days(cluster: &Cluster) -> Proof<Vec<String>> {
    let account = json!({"provider": "sandbox", "settings": {"fail": "later"}});
    let retry = json!({"max_attempts": 100, "first_ms": 500, "longest_ms": 5_000, "give_up_after_ms": 3_600_000});
    let template = json!({"channel": "sms", "account": "later", "content": {"text": "Later"}, "retry": retry});
    cluster.teach("later", &account, &template).await?;
    let to: Vec<_> = (0..WAITING).map(|n| format!("+86135{n:08}")).collect();
    let url = format!("{}/v1/messages", cluster.url(0));
    let answer = cluster.admin.send(Method::POST, &url, &json!({"template": "later", "to": to})).await?;
    let answer: Value = answer.expect_status(202)?.json()?;
    let deliveries = answer["deliveries"].as_array().when("reading deliveries")?;
    Ok(deliveries.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect())
}

async fn reached(load: &Load, count: u64) -> Proof {
    eventually("enough is accepted", PATIENCE, async || {
        let accepted = load.handle.accepted();
        ensure(accepted >= count, || format!("{accepted} of {count} are"))
    })
    .await
}

/// The deliveries whose acceptance the callers knew of first: numbers are taken in order, so that those of the lowest
/// numbers, less one for every caller's present request, were accepted before.
fn first(tally: &crate::load::Tally, count: u64) -> HashSet<String> {
    let mut numbers: Vec<_> = tally.accepted.iter().collect();
    numbers.sort_unstable();
    let sure = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(tally.unknown.len() + 256);
    numbers.into_iter().take(sure).map(|(_, id)| id.clone()).collect()
}

fn start_backup(cluster: &Cluster, file: &Path) -> Proof<std::process::Child> {
    Command::new(binary::tidings()?)
        .args(["backup", "--url", &cluster.url(0), "--to"])
        .arg(file)
        .env("TIDINGS_KEY", &cluster.key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .when("starting tidings backup")
}

async fn restore(cluster: &Cluster, file: &Path) -> Proof {
    let (config, file): (PathBuf, PathBuf) = (cluster.nodes[0].config_path(), file.to_owned());
    let mut command = Command::new(binary::tidings()?);
    command.args(["restore", "--config"]).arg(config).arg("--from").arg(file);
    let run = move || command.stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run).await.when("restoring")?.when("restoring")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), || format!("the restore failed: {words}"))
}

/// The other two join the restored node, empty.
async fn grow(cluster: &mut Cluster, partitions: u16) -> Proof {
    for at in 1..cluster.nodes.len() {
        cluster.nodes[at].restart()?;
        let node = &cluster.nodes[at];
        let url = format!("{}/healthz", node.url());
        eventually("a node answers", PATIENCE, async || {
            Client::new("").call(Method::GET, &url, &[], Default::default()).await.when("asking")?.expect_status(200)
        })
        .await?;
        let body = json!({"id": node.id, "peer_addr": node.peer_addr(), "api_addr": node.api_addr()});
        let url = format!("{}/v1/cluster/nodes", cluster.url(0));
        eventually("a node is taken in", PATIENCE, async || {
            cluster.admin.send(Method::POST, &url, &body).await?.expect_status(202)
        })
        .await?;
    }
    eventually("every group has three replicas and a leader", PATIENCE, async || {
        let status = cluster.status().await?;
        let whole = status.groups.iter().filter(|group| group.replicas.len() == 3 && group.leader.is_some()).count();
        ensure(whole == usize::from(partitions) + 1, || format!("{whole} groups have"))
    })
    .await?;
    cluster.wait_ready().await
}

/// Those of `ids` that the cluster does not know, or has not brought to an end.
async fn missing(cluster: &Cluster, ids: impl Iterator<Item = &String>) -> Proof<Vec<String>> {
    let mut missing = Vec::new();
    for (at, id) in ids.enumerate() {
        let url = format!("{}/v1/deliveries/{id}", cluster.url(at));
        let answer = cluster.admin.call(Method::GET, &url, &[], Default::default()).await.when("asking")?;
        match answer.status {
            200 if answer.json::<Value>()?["state"] == "delivered" => {}
            200 | 404 => missing.push(id.clone()),
            other => return Err(Failure::new(format!("asking for {id} was answered {other}"))),
        }
    }
    Ok(missing)
}
