//! Frequency caps and content dedup are the cluster's: a crowd at all nodes while leaders die never gets one too many
//! through; what failed gives its slot back, what is unknown does not.

mod crowd;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use self::crowd::{Crowd, Told, content};
use self::judge::{Figures, Listed, OFTEN, ONCE, judge};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::moody::Moody;
use crate::receiver::SECRET;
use crate::report::Report;
use crate::{Failure, Proof, When};

/// Callers at once.
const CALLERS: usize = 64;
/// The frequency cap: all windows hold at once.
const WINDOWS: [(Duration, usize); 2] = [(Duration::from_secs(2), 3), (Duration::from_secs(3_600), 50)];
/// How long the crowd goes on before and after each kill.
const CALM: Duration = Duration::from_secs(3);
/// Suppressed deliveries whose traces are read.
const READ: usize = 200;

/// Lets the crowd call while the leader of most partitions is killed `kills` times.
///
/// # Errors
/// When a recipient got one too many, a slot was not given back, or one was that should not have been.
pub async fn run(kills: u32) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, 4)).await?;
    let receiver = Arc::new(Moody::start().await?);
    teach(&cluster).await?;
    let crowd = Crowd::start(&cluster.admin, &cluster.urls(), &receiver, CALLERS);
    for _ in 0..kills {
        tokio::time::sleep(CALM).await;
        kill_a_leader(&mut cluster).await?;
    }
    tokio::time::sleep(CALM).await;
    let calls = crowd.calls();
    let (told, contents) = crowd.stop().await?;
    // Each content twice more, so that what failed is repeated, with an election between failure and repeat.
    for again in [true, false] {
        repeat_all(&cluster, &receiver, contents).await?;
        cluster.wait_drained().await?;
        if again {
            kill_a_leader(&mut cluster).await?;
        }
    }
    let listed = listed(&cluster).await?;
    let figures = match judge(&receiver.log(), &listed, &WINDOWS) {
        Ok(figures) => figures,
        Err(failure) => return Err(with_traces(&cluster, &listed, &failure).await),
    };
    let named = read_traces(&cluster, &listed).await?;
    report(calls, kills + 1, contents, &told, &figures, named)
}

async fn teach(cluster: &Cluster) -> Proof {
    let account = json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}});
    let retry = json!({"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000});
    for (name, on_unknown) in [(OFTEN, "retry"), (ONCE, "stop")] {
        let template = json!({"channel": "webhook", "account": name, "content": {"n": "{{ n }}"}, "retry": retry,
            "on_unknown": on_unknown});
        cluster.teach(name, &account, &template).await?;
    }
    let windows = WINDOWS.map(|(window, most)| json!({"window_ms": window.as_millis() as u64, "most": most}));
    let dedup = json!({"window_ms": 86_400_000, "most": 1});
    for (name, kind, spec) in [(OFTEN, "frequency", json!({"windows": windows})), (ONCE, "dedup", dedup)] {
        let policy = json!({"kind": kind, "selector": {"templates": [name]}, "spec": spec});
        let url = format!("{}/v1/policies/{name}", cluster.url(0));
        cluster.admin.send(Method::PUT, &url, &policy).await?.expect_status(200)?;
        for node in cluster.urls() {
            let url = format!("{node}/v1/policies/{name}");
            eventually("a node knows the policy", PATIENCE, async || cluster.admin.get::<Value>(&url).await).await?;
        }
    }
    Ok(())
}

/// Kills the leader of most partitions and starts it again once the others lead all.
async fn kill_a_leader(cluster: &mut Cluster) -> Proof {
    let victim = cluster.leader_of_most().await?;
    let dead = cluster.nodes[victim].id;
    cluster.nodes[victim].kill()?;
    eventually("the others lead every group", PATIENCE, async || {
        let status = cluster.status().await?;
        let orphans = status.groups.iter().filter(|group| group.leader.is_none_or(|now| now == dead)).count();
        ensure(orphans == 0, || format!("{orphans} groups have no leader"))
    })
    .await?;
    tokio::time::sleep(CALM).await;
    cluster.nodes[victim].restart()?;
    cluster.wait_ready().await
}

/// Sends every content once more.
async fn repeat_all(cluster: &Cluster, receiver: &Moody, contents: u64) -> Proof {
    for n in 0..contents {
        let (url, body) =
            (format!("{}/v1/messages", cluster.url(usize::try_from(n).unwrap_or(0))), content(receiver, n));
        eventually("a repeat is accepted", PATIENCE, async || {
            let answer: Value = cluster.admin.send(Method::POST, &url, &body).await?.expect_status(202)?.json()?;
            let kept = answer["deliveries"].as_array().map_or(0, Vec::len);
            ensure(kept == 1, || format!("it was not kept: {answer}"))
        })
        .await?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Page {
    deliveries: Vec<Listed>,
    next: Option<String>,
    #[serde(default)]
    incomplete: Vec<String>,
}

/// Every delivery of the cluster.
async fn listed(cluster: &Cluster) -> Proof<Vec<Listed>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: Page = cluster.ask(&format!("/v1/deliveries?limit=500{cursor}")).await?;
        ensure(page.incomplete.is_empty(), || format!("{:?} could not be asked", page.incomplete))?;
        all.extend(page.deliveries);
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// A failure with the traces of the deliveries that it names.
async fn with_traces(cluster: &Cluster, listed: &[Listed], failure: &Failure) -> Failure {
    let mut words = failure.to_string();
    for one in listed.iter().filter(|one| failure.to_string().contains(&one.id)) {
        if let Ok(trace) = cluster.ask::<Value>(&format!("/v1/deliveries/{}", one.id)).await {
            words.push_str(&format!("\n  {trace}"));
        }
    }
    Failure::new(words)
}

/// Reads traces of suppressed deliveries, spread over all of them: each must name the policy and its version.
async fn read_traces(cluster: &Cluster, listed: &[Listed]) -> Proof<usize> {
    let suppressed: Vec<&Listed> = listed.iter().filter(|one| one.state == "suppressed").collect();
    let apart = (suppressed.len() / READ).max(1);
    let mut named = 0;
    for one in suppressed.iter().step_by(apart) {
        let trace: Value = cluster.ask(&format!("/v1/deliveries/{}", one.id)).await?;
        let events = trace["events"].as_array().when("reading a trace")?;
        let rule = events.iter().find(|event| event["what"] == "suppressed").map(|event| event["rule"].to_string());
        let wanted = if one.template == OFTEN { "\"frequency/often@1\"" } else { "\"dedup/once@1\"" };
        ensure(rule.as_deref() == Some(wanted), || format!("{} does not name {wanted}: {trace}", one.id))?;
        named += 1;
    }
    Ok(named)
}

fn report(calls: u64, kills: u32, contents: u64, told: &Told, figures: &Figures, named: usize) -> Proof<Report> {
    let mut report =
        Report::new(format!("{CALLERS} callers under caps and dedup on three nodes, {kills} leaders killed"));
    report.line("calls", calls);
    for ((window, most), fullest) in WINDOWS.iter().zip(&figures.fullest) {
        report.line(format!("most that anybody got in {window:?}"), format!("{fullest} of {most}"));
    }
    for template in [OFTEN, ONCE] {
        let count = |of: &std::collections::BTreeMap<String, u64>| of.get(template).copied().unwrap_or_default();
        let (through, suppressed) = (count(&figures.through), count(&figures.suppressed));
        report.line(format!("{template}: let through, suppressed"), format!("{through}, {suppressed}"));
        ensure(through > 0 && suppressed > 0, || format!("nothing was decided\n{}", report.text()))?;
    }
    report.line("contents, each taken once at most", contents);
    report.line("let through again after a failure", figures.again_after_failure);
    report.line("suppressed because of an unknown outcome", figures.held_by_unknown);
    report.line("traces read, each names its rule", named);
    for (outcome, count) in told {
        report.line(format!("answers: {outcome}"), count);
    }
    let reached = figures.fullest.first().is_some_and(|fullest| *fullest == WINDOWS[0].1);
    let both = figures.again_after_failure > 0 && figures.held_by_unknown > 0;
    ensure(reached && both, || format!("the rules were hardly tried\n{}", report.text()))?;
    Ok(report)
}
