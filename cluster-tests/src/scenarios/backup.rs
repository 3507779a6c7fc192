//! A backup taken under load, with a leader killed meanwhile; all nodes destroyed; one node restored and two joined:
//! everything that was accepted before the backup began is there, and what was pending arrives.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Scale, plan};
use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Load, Plan};
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Failure, Proof, When, binary};

/// Deliveries whose account fails until after the restore: they are pending in the backup.
const WAITING: usize = 40;
/// Callers at once who ask for deliveries afterwards.
const ASKERS: usize = 16;

/// Runs it with three nodes.
///
/// # Errors
/// When something accepted before the backup is missing, or the cluster cannot be run.
pub async fn run(scale: Scale) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, scale.partitions)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners::default())?;
    let mut before = wait_for_better_days(&cluster).await?;
    let half = Plan { most: scale.messages / 2, ..plan(&cluster, &receiver, scale.connections, 0) };
    before.extend(Load::start(&cluster.admin, half.clone()).finish().await?.accepted.into_values());

    // From here on nobody knows whether what is accepted is in the backup.
    let load = Load::start(&cluster.admin, Plan { first: half.most, most: scale.messages * 8, ..half });
    reached(&load, scale.messages / 8).await?;
    let file = cluster.dir().join("under-load.backup");
    let killed = cluster.leader_of_most().await?.max(1);
    let began = Instant::now();
    let taking = start_backup(&cluster, &file)?;
    // A leader dies while its cluster is being read; its groups begin again at their next leaders.
    cluster.nodes[killed].kill()?;
    finished(taking).await?;
    let took = began.elapsed();
    reached(&load, load.handle.accepted() + scale.messages / 8).await?;
    load.handle.stop();
    let tally = load.finish().await?;
    destroy(&mut cluster)?;

    let began = Instant::now();
    restore(&cluster, &file).await?;
    cluster.nodes[0].restart()?;
    cluster.wait_ready().await?;
    let restored = began.elapsed();
    grow(&mut cluster, scale.partitions).await?;
    let good = json!({"provider": "sandbox", "settings": {}});
    let url = format!("{}/v1/accounts/later", cluster.url(0));
    cluster.admin.send(Method::PUT, &url, &good).await?.expect_status(200)?;
    let stats = cluster.wait_drained().await?;
    let missing = missing(&cluster, &before).await?;
    ensure(missing.is_empty(), || format!("{} are missing, like {:?}", missing.len(), missing.first()))?;
    let bytes = std::fs::metadata(&file).when("looking at the backup")?.len();
    let mut report = Report::new("backup under load, everything destroyed, restored into one node, grown to three");
    report.line("accepted before the backup began", before.len());
    report.line("of them missing after the restore", missing.len());
    report.line("of them pending for certain, delivered after", WAITING);
    report.line("in the restored cluster", stats.accepted);
    report.line("accepted in all before the end", before.len() + tally.accepted.len());
    report.line("size of the file", format!("{bytes} bytes"));
    report.line("taken and checked in", format!("{:.2} s", took.as_secs_f64()));
    report.line("restored and ready in", format!("{:.2} s", restored.as_secs_f64()));
    report.line("longest gap in accepts", format!("{:.2} s", tally.longest_gap().as_secs_f64()));
    Ok(report)
}

async fn finished(taking: Child) -> Proof {
    let output = tokio::task::spawn_blocking(move || taking.wait_with_output()).await.when("waiting for the backup")?;
    let output = output.when("waiting for the backup")?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.success(), || format!("the backup failed: {words}"))
}

/// Nothing is left of the cluster but the file.
fn destroy(cluster: &mut Cluster) -> Proof {
    for node in &mut cluster.nodes {
        if node.runs() {
            node.kill()?;
        }
        std::fs::remove_dir_all(node.data_dir()).when("destroying a node's data")?;
    }
    Ok(())
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

fn start_backup(cluster: &Cluster, file: &Path) -> Proof<Child> {
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

/// Those of `ids` that the cluster does not know, or has not delivered.
async fn missing(cluster: &Cluster, ids: &[String]) -> Proof<Vec<String>> {
    let mut askers = JoinSet::new();
    for (at, share) in ids.chunks(ids.len().div_ceil(ASKERS).max(1)).enumerate() {
        let (client, url, share) = (cluster.admin.clone(), cluster.url(at), share.to_vec());
        askers.spawn(async move {
            let mut missing = Vec::new();
            for id in share {
                let path = format!("{url}/v1/deliveries/{id}");
                let answer = client.call(Method::GET, &path, &[], Default::default()).await.when("asking")?;
                match answer.status {
                    200 if answer.json::<Value>()?["state"] == "delivered" => {}
                    200 | 404 => missing.push(id),
                    other => return Err(Failure::new(format!("asking for {id} was answered {other}"))),
                }
            }
            Ok(missing)
        });
    }
    let mut missing = Vec::new();
    while let Some(share) = askers.join_next().await {
        missing.extend(share.when("asking")??);
    }
    Ok(missing)
}
