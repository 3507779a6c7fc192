//! The operator: founds and fills the cluster, changes a list while callers call, and at the end waits until nothing is
//! pending and reads everything.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::clock::elapsed;
use crate::host::{PARTITIONS, SECRET, name};
use crate::http::{Got, call};
use crate::lists::{COMES, Edition, FREE, GOES, STAYS};
use crate::plan::stream;
use crate::world::{Letter, Phase, Send, Verdict, World};
use crate::{stock, trace};

const PAUSE: Duration = Duration::from_millis(200);
/// The deadline of a request and the grace of its parts, in simulated time.
const LATE: Duration = Duration::from_secs(6);
/// So long before that every node must know what the operator changed, whatever was broken.
const KNOWN: Duration = Duration::from_millis(700);
/// Most traces that are read at once.
const READS: usize = 8;

/// When the quiet hours of the policy `night` end, in simulated milliseconds: two minutes after noon, where time begins.
pub(crate) const QUIET_UNTIL: u64 = 120_000;

/// The whole of the operator's work.
pub(crate) async fn operate(world: World) -> turmoil::Result {
    found(&world).await?;
    stock::fill(&world).await?;
    placed(&world).await?;
    world.enter(Phase::Work, elapsed());
    change(&world).await?;
    world.reached(Phase::Settling).await;
    if let Err(why) = settle(&world).await {
        world.violated("every accepted delivery ends", why.to_string());
    }
    world.enter(Phase::Done, elapsed());
    Ok(())
}

/// Asks one node after the other until one gives `status`.
pub(crate) async fn insist(
    world: &World,
    method: &str,
    path: &str,
    body: Option<&Value>,
    status: u16,
) -> Result<Value, String> {
    let until = Instant::now() + world.plan.patience();
    let bearer = world.book.borrow().key.clone();
    let mut last = String::new();
    for turn in 0.. {
        match call(1 + turn % world.plan.nodes, &bearer, method, path, None, body).await {
            Got::Answer(got, body) if got == status && body.get("incomplete").is_none() => return Ok(body),
            got => last = format!("{got:?}"),
        }
        if Instant::now() >= until {
            break;
        }
        sleep(PAUSE).await;
    }
    Err(format!("{method} {path} never gave {status}: {last}"))
}

pub(crate) async fn found(world: &World) -> Result<(), String> {
    let until = Instant::now() + world.plan.patience();
    let shape = json!({"partitions": PARTITIONS, "replication": 3});
    loop {
        if let Got::Answer(201, founded) = call(1, SECRET, "POST", "/v1/cluster/init", None, Some(&shape)).await {
            world.book.borrow_mut().key = founded["key"].as_str().unwrap_or_default().to_owned();
            break;
        }
        if Instant::now() >= until {
            return Err("the cluster could not be founded".to_owned());
        }
        sleep(PAUSE).await;
    }
    for node in 2..=world.plan.nodes {
        let at = |port: u16| format!("{}:{port}", name(node));
        let body = json!({"id": node, "peer_addr": at(7_500), "api_addr": at(7_400)});
        // Only the founder knows the cluster by now.
        let until = Instant::now() + world.plan.patience();
        let bearer = world.book.borrow().key.clone();
        while !matches!(call(1, &bearer, "POST", "/v1/cluster/nodes", None, Some(&body)).await, Got::Answer(202, _)) {
            if Instant::now() >= until {
                return Err(format!("node {node} was not taken in"));
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Waits until every group has its replicas, and its leader where control wants it.
pub(crate) async fn placed(world: &World) -> Result<(), String> {
    let until = Instant::now() + world.plan.patience();
    loop {
        let cluster = insist(world, "GET", "/v1/cluster", None, 200).await?;
        let full = |group: &Value| {
            let count = |field: &str| group[field].as_array().map_or(0, Vec::len);
            let placed = count("replicas") >= 3 && count("replicas") == count("wanted") && group["leader"].is_u64();
            // Leaders are where control wants them, so that no hand-over of its own falls into the work.
            let aside = group["wanted"][0].as_u64().is_some_and(|first| world.plan.skew.is_wrong_at_first(first));
            placed && (group["name"] == "control" || aside || group["leader"] == group["wanted"][0])
        };
        let groups = cluster["groups"].as_array().cloned().unwrap_or_default();
        if groups.len() == 1 + usize::from(PARTITIONS) && groups.iter().all(full) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("the replicas were not placed: {cluster}"));
        }
        sleep(PAUSE).await;
    }
}

/// Puts the second edition of the discard list while callers call.
async fn change(world: &World) -> Result<(), String> {
    let wait = stream(world.plan.seed, "change").random_range(500..3_000);
    sleep(Duration::from_millis(wait)).await;
    let began = elapsed();
    world.book.borrow_mut().change = Some((began, None));
    stock::discard(world, Edition::Second).await?;
    world.book.borrow_mut().change = Some((began, Some(elapsed())));
    trace::note(elapsed(), "the second edition of the discard list is kept");
    Ok(())
}

/// When all is healed every node must know the newest lists: sends at each to who stands on them, stood on them and never did.
async fn last_words(world: &World) {
    let bearer = world.book.borrow().key.clone();
    for node in 1..=world.plan.nodes {
        let number = node as u64;
        let to: Vec<String> = [STAYS, GOES, COMES, FREE].iter().map(|start| format!("{start}{node:05}")).collect();
        let (letter, began) = (Letter::new("plain", number, to), elapsed());
        let verdict = Verdict::of_send(call(node, &bearer, "POST", "/v1/messages", None, Some(&letter.body)).await);
        trace::note(elapsed(), &format!("last words at n{node}: {verdict:?}"));
        let send = Send { began, ended: elapsed(), key: None, letter, verdict };
        world.book.borrow_mut().sends.push(send);
    }
}

/// Waits until nothing is pending, then reads everything.
async fn settle(world: &World) -> Result<(), String> {
    sleep(LATE - KNOWN).await;
    last_words(world).await;
    sleep(KNOWN).await;
    ended(world).await?;
    let mut cursor = String::new();
    loop {
        let page = insist(world, "GET", &format!("/v1/deliveries?limit=500{cursor}"), None, 200).await?;
        let ids = page["deliveries"].as_array().cloned().unwrap_or_default();
        let ids = ids.iter().filter_map(|delivery| delivery["id"].as_str().map(str::to_owned));
        world.book.borrow_mut().listed.extend(ids);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut ids = world.book.borrow().listed.clone();
    ids.extend(accepted(world));
    ids.sort_unstable();
    ids.dedup();
    // Several at once: every simulated second costs a real moment.
    let mut reading = JoinSet::new();
    let mut ids = ids.into_iter();
    loop {
        for id in ids.by_ref().take(READS - reading.len()) {
            let world = world.clone();
            reading.spawn_local(async move { read(&world, &id).await.map(|trace| (id, trace)) });
        }
        let Some(read) = reading.join_next().await else { break };
        if let (id, Some(trace)) = read.map_err(|error| error.to_string())?? {
            world.book.borrow_mut().traces.insert(id, trace);
        }
    }
    Ok(())
}

/// Waits until whatever was asked for is kept or never will be: a request that ran into its deadline may be kept so much later.
pub(crate) async fn late() {
    sleep(LATE).await;
}

/// Waits until every node says the same counts, and that nothing is pending: a node may answer from a replica that has not
/// heard yet of what the leader did.
pub(crate) async fn ended(world: &World) -> Result<(), String> {
    let until = Instant::now() + world.plan.patience();
    let bearer = world.book.borrow().key.clone();
    loop {
        let mut all = Vec::with_capacity(world.plan.nodes);
        for node in 1..=world.plan.nodes {
            if let Got::Answer(200, stats) = call(node, &bearer, "GET", "/v1/stats", None, None).await {
                all.push(stats);
            }
        }
        let settled = |stats: &Value| stats["pending"] == 0 && stats.get("incomplete").is_none();
        if all.len() == world.plan.nodes && all.iter().all(|stats| settled(stats) && *stats == all[0]) {
            world.book.borrow_mut().stats = all.remove(0);
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("still pending when everything was long healed: {all:?}"));
        }
        sleep(PAUSE).await;
    }
}

/// The trace of a delivery; `None` if every node says that there is no such thing.
async fn read(world: &World, id: &str) -> Result<Option<Value>, String> {
    let path = format!("/v1/deliveries/{id}");
    let bearer = world.book.borrow().key.clone();
    let mut unknown = 0;
    for node in 1..=world.plan.nodes {
        match call(node, &bearer, "GET", &path, None, None).await {
            Got::Answer(200, trace) => return Ok(Some(trace)),
            Got::Answer(404, _) => unknown += 1,
            _ => {}
        }
    }
    if unknown == world.plan.nodes { Ok(None) } else { insist(world, "GET", &path, None, 200).await.map(Some) }
}

/// The ids of all deliveries that a caller was told are kept.
pub(crate) fn accepted(world: &World) -> Vec<String> {
    let book = world.book.borrow();
    let ids = book.sends.iter().flat_map(Send::deliveries).map(|(id, _)| id.to_owned());
    ids.chain(book.redrives.iter().map(|(_, new)| new.clone())).collect()
}
