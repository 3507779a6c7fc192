//! An account that answers 500 to everything is left, nothing is lost or late, and it gets its share again when it heals.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_contract::Time;

use super::weights::{plan, share, teach};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::two_accounts::TwoAccounts;
use crate::{Proof, When};

/// Partitions; each counts for itself.
const PARTITIONS: u16 = 8;
/// Calls in a window before their share of failures says something.
const MIN_CALLS: u64 = 10;
/// Calls that may be under way when a breaker opens.
const UNDER_WAY: u64 = 100;
/// From one look at a breaker that is to close to the next.
const PROBED: Duration = Duration::from_millis(200);
/// How long it may take until every node has heard of it.
const HEARD: Duration = Duration::from_millis(100);
/// Added delay of the slowest of a hundred after the breaker opened.
const MOST_DELAY: Duration = Duration::from_secs(1);

/// Sends `messages` while the first account is broken, and as many again when it has healed.
///
/// # Errors
/// When something is lost, the breaker opens late or not at all, deliveries after it are late, or the traffic does not return.
pub async fn run(messages: u64) -> Proof<Report> {
    let provider = TwoAccounts::start().await?;
    let cluster = Cluster::start(&Shape::full(3, PARTITIONS)).await?;
    let breaker = json!({"breaker": {"min_calls": MIN_CALLS, "open_ms": 1_000, "longest_open_ms": 4_000}});
    teach(&cluster, &provider, &breaker).await?;
    provider.refuse(true);
    let load = Load::start(&cluster.admin, plan(&cluster, &provider, messages));
    let opened = eventually("the breaker opens", PATIENCE, async || {
        let account = health(&cluster).await?;
        ensure(account["breaker"] == "open", || account.to_string())?;
        Time::parse(account["since"].as_str().unwrap_or_default()).when("reading when it opened")
    })
    .await?;
    let mut tally = load.finish().await?;
    cluster.wait_drained().await?;
    let (refused, account) = (provider.seen().refused, health(&cluster).await?);
    ensure(account["breaker"] != "closed", || format!("the breaker is closed: {account}"))?;
    // Each partition may need its own calls to see it; each probe is one more.
    let probes = 1 + account["trips"].as_u64().unwrap_or_default();
    let most = u64::from(PARTITIONS) * MIN_CALLS + UNDER_WAY + probes;
    ensure(refused <= most, || format!("{refused} calls of a broken account, {most} at most"))?;
    let delay = delay_after(&cluster, opened.after(HEARD)).await?;
    ensure(delay < MOST_DELAY, || format!("the slowest of a hundred took {delay:?} after the breaker had opened"))?;
    provider.refuse(false);
    let next = |first: u64, most: u64| Plan { first, most, ..plan(&cluster, &provider, most) };
    let mut first = messages;
    let since = Instant::now();
    loop {
        // A breaker is probed by deliveries only.
        tally.merge(Load::start(&cluster.admin, next(first, 50)).finish().await?);
        first += 50;
        let account = health(&cluster).await?;
        if account["breaker"] == "closed" {
            break;
        }
        ensure(since.elapsed() < PATIENCE, || format!("the breaker does not close: {account}"))?;
        tokio::time::sleep(PROBED).await;
    }
    cluster.wait_drained().await?;
    let before = provider.seen().taken;
    tally.merge(Load::start(&cluster.admin, next(first, messages)).finish().await?);
    cluster.wait_drained().await?;
    let seen = provider.seen();
    let lost = tally.accepted.values().filter(|id| !seen.distinct.contains(*id)).count();
    ensure(lost == 0, || format!("{lost} of {} were lost", tally.accepted.len()))?;
    let share = share([seen.taken[0] - before[0], seen.taken[1] - before[1]]);
    ensure((66.0..=74.0).contains(&share), || format!("the healed account gets {share:.1} %"))?;
    let mut report = Report::new("failover from an account that answers 500, three nodes");
    report.line("accepted and delivered", tally.accepted.len());
    report.line("calls of the broken account", format!("{refused} ({most} at most)"));
    report.line("slowest of a hundred after opening", format!("{} ms", delay.as_millis()));
    report.line("share of the healed account", format!("{share:.1} % of 70"));
    Ok(report)
}

/// How the first account stands.
async fn health(cluster: &Cluster) -> Proof<Value> {
    let account: Value = cluster.ask("/v1/accounts/a").await?;
    Ok(account["health"].clone())
}

/// How long the slowest of a hundred took, of those accepted after `opened`.
async fn delay_after(cluster: &Cluster, opened: Time) -> Proof<Duration> {
    let mut delays: Vec<Duration> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: Value = cluster.ask(&format!("/v1/deliveries?template=hook&limit=500{cursor}")).await?;
        for one in page["deliveries"].as_array().when("reading deliveries")? {
            let time =
                |field: &str| Time::parse(one[field].as_str().unwrap_or_default()).when(format!("reading {field}"));
            let accepted = time("accepted_at")?;
            if accepted > opened {
                delays.push(time("ended_at")?.since(accepted));
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    delays.sort_unstable();
    delays.get(delays.len() * 99 / 100).copied().when("finding a delivery accepted after the breaker opened")
}
