//! A limit is the cluster's, exact in every window as the receiver sees it, while leaders of the account's home are killed.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tidings_contract::partition_of;

use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::receiver::{Manners, Receiver, SECRET, Seen};
use crate::report::Report;
use crate::steadiness::Steadiness;
use crate::{Proof, When};

/// The account's limit.
const PERMITS: usize = 20;
const WINDOW: Duration = Duration::from_secs(6);
const PARTITIONS: u16 = 8;
/// A machine on which no more than one nap in a hundred ends later than this is quiet.
const QUIET: Duration = Duration::from_millis(5);
/// The account and the template.
const NAME: &str = "capped";

/// Sends `messages` to one account with a limit, and kills the leader of the account's home `kills` times.
///
/// # Errors
/// When a window at the receiver holds more than the limit, or something accepted does not arrive.
pub async fn run(messages: u64, kills: u32) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, PARTITIONS)).await?;
    let receiver = Receiver::start(Manners { verify: true, ..Manners::default() })?;
    let limit = json!([{"permits": PERMITS, "window_ms": WINDOW.as_millis() as u64}, {"permits": 100_000, "window_ms": 86_400_000}]);
    let account = json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}, "limit": limit});
    let template = json!({"channel": "webhook", "account": NAME, "content": {"n": "{{ n }}"},
        "retry": {"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 3_600_000}});
    cluster.teach(NAME, &account, &template).await?;
    let steadiness = Steadiness::watch();
    send(&cluster, &receiver, messages).await?;
    let mut gone = Vec::new();
    for number in 1..=u64::from(kills) {
        arrived(&receiver, messages * number / u64::from(kills + 1), messages).await?;
        gone.push(kill_the_home(&mut cluster).await?);
    }
    arrived(&receiver, messages, messages).await?;
    cluster.wait_drained().await?;
    let seen = receiver.seen();
    let mut report = Report::new(format!("{PERMITS} in {WINDOW:?} on one account, {kills} kills of its home's leader"));
    judge(&seen, messages, (&gone, steadiness.one_in_a_hundred()?), &mut report)?;
    Ok(report)
}

/// Sends everything, a hundred recipients a message.
async fn send(cluster: &Cluster, receiver: &Receiver, messages: u64) -> Proof {
    let all: Vec<u64> = (0..messages).collect();
    for (turn, some) in all.chunks(100).enumerate() {
        let to: Vec<Value> =
            some.iter().map(|n| json!({"to": receiver.url(*n), "variables": {"n": n.to_string()}})).collect();
        let url = format!("{}/v1/messages", cluster.url(turn));
        let body = json!({"template": NAME, "to": to});
        let answer: Value = cluster.admin.send(Method::POST, &url, &body).await?.expect_status(202)?.json()?;
        let taken = answer["deliveries"].as_array().map_or(0, Vec::len);
        ensure(taken == some.len(), || format!("{taken} of {} were accepted: {answer}", some.len()))?;
    }
    Ok(())
}

/// Waits until so many different deliveries have arrived; all of them may take as long as the limit makes them take.
async fn arrived(receiver: &Receiver, count: u64, all: u64) -> Proof {
    let windows = u32::try_from(all / PERMITS as u64 + 1).unwrap_or(u32::MAX);
    eventually("enough has arrived", PATIENCE + WINDOW * windows * 2, async || {
        let distinct = receiver.counts().distinct;
        ensure(distinct >= count, || format!("{distinct} of {count} have"))
    })
    .await
}

/// Kills the leader of the account's home and starts it again once another leads; gives when, and how long nobody led.
async fn kill_the_home(cluster: &mut Cluster) -> Proof<(Instant, Duration)> {
    let home = partition_of(NAME, PARTITIONS).to_string();
    let status = cluster.status().await?;
    let leader = status.groups.iter().find(|group| group.name == home).and_then(|group| group.leader);
    let leader = leader.when(format!("finding the leader of {home}"))?;
    let index = cluster.nodes.iter().position(|node| node.id == leader).when("finding its process")?;
    let at = Instant::now();
    cluster.nodes[index].kill()?;
    eventually("the others lead every group", PATIENCE, async || {
        let status = cluster.status().await?;
        let orphans = status.groups.iter().filter(|group| group.leader.is_none_or(|now| now == leader)).count();
        ensure(orphans == 0, || format!("{orphans} groups have no leader"))
    })
    .await?;
    let without = at.elapsed();
    cluster.nodes[index].restart()?;
    cluster.wait_ready().await?;
    Ok((at, without))
}

/// Looks at every window of the receiver's own log.
fn judge(seen: &Seen, messages: u64, (gone, late): (&[(Instant, Duration)], Duration), report: &mut Report) -> Proof {
    ensure(seen.wrong.is_empty(), || format!("calls that should not have come: {:?}", seen.wrong.first()))?;
    let mut calls: Vec<Instant> = seen.arrivals.values().flat_map(|arrival| arrival.copies.clone()).collect();
    calls.sort_unstable();
    let (first, last) = (*calls.first().when("finding a call")?, *calls.last().when("finding a call")?);
    let span = last - first;
    let narrowest = calls.windows(PERMITS + 1).map(|calls| calls[PERMITS] - calls[0]).min().unwrap_or(WINDOW);
    let fullest = (0..calls.len())
        .map(|at| calls[at..].iter().take_while(|call| **call - calls[at] < WINDOW).count())
        .max()
        .unwrap_or(0);
    let (windows, took) = laps(&calls).when("finding more calls than a window holds")?;
    let used = share(windows, took);
    report.line("calls (copies)", format!("{} ({})", seen.calls, seen.duplicates()));
    report.line("different deliveries", seen.arrivals.len());
    report.line("from the first call to the last", format!("{:.1} s", span.as_secs_f64()));
    report.line("fullest window at the receiver", format!("{fullest} of {PERMITS}"));
    report.line("narrowest span of one call more", format!("{:.3} s", narrowest.as_secs_f64()));
    report.line("of the budget used, the kills included", format!("{:.1} %", used * 100.0));
    let calm = calm(&calls, gone);
    let shown = calm.map_or_else(|| "no stretch was long enough".to_owned(), |calm| format!("{:.1} %", calm * 100.0));
    report.line("of the budget used in windows without a kill", &shown);
    let quiet = late <= QUIET;
    let whether = if quiet { "a quiet machine" } else { "a busy machine: the budget is not judged at 95 %" };
    report.line("one nap in a hundred ended late by", format!("{:.1} ms, {whether}", late.as_secs_f64() * 1_000.0));
    ensure(fullest <= PERMITS, || format!("{fullest} calls in {WINDOW:?}\n{}", report.text()))?;
    ensure(seen.arrivals.len() as u64 == messages, || format!("{} of {messages} arrived", seen.arrivals.len()))?;
    // A busy machine uses less, and that says nothing about Tidings. Half means that something waits for nothing.
    let least = if quiet { 0.95 } else { 0.5 };
    ensure(calm.is_none_or(|calm| calm >= least), || format!("only {shown} of the budget was used\n{}", report.text()))
}

/// As many whole windows as there were budgets used up, and how long that took: from a call to the one that had its permit
/// again. However a burst is split, no part of a window is counted twice or cut.
fn laps(calls: &[Instant]) -> Option<(usize, Duration)> {
    let windows = calls.len().checked_sub(1)? / PERMITS;
    (windows > 0).then(|| (windows, calls[windows * PERMITS] - calls[0]))
}

/// The share of the budget of `took` that so many windows are.
fn share(windows: usize, took: Duration) -> f64 {
    WINDOW.as_secs_f64() * windows as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// How much of the budget was used in the stretches between the kills: from two windows after the cluster had all its leaders
/// again, because what was lent to the dead node lapses unused and counts for a window, to the next kill.
fn calm(calls: &[Instant], gone: &[(Instant, Duration)]) -> Option<f64> {
    let (first, last) = (calls.first()?, calls.last()?);
    let starts = std::iter::once(*first).chain(gone.iter().map(|(at, without)| *at + *without + WINDOW * 2));
    let ends = gone.iter().map(|(at, _)| *at).chain(std::iter::once(*last));
    let (mut windows, mut took) = (0, Duration::ZERO);
    for (start, end) in starts.zip(ends).filter(|(start, end)| *end > *start + WINDOW * 2) {
        let within: Vec<Instant> = calls.iter().filter(|call| (start..=end).contains(*call)).copied().collect();
        let Some(lap) = laps(&within) else { continue };
        windows += lap.0;
        took += lap.1;
    }
    (windows > 0).then(|| share(windows, took))
}
