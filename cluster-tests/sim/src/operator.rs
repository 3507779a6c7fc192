//! The operator: founds and fills the cluster, and at the end waits until nothing is pending and reads everything.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::clock::elapsed;
use crate::host::{PARTITIONS, SECRET, name};
use crate::http::{Got, call};
use crate::invariants::frequency::{MOST, WINDOW_MS};
use crate::world::{Phase, Verdict, World};

const PAUSE: Duration = Duration::from_millis(200);
/// The deadline of a request and the grace of its parts, in simulated time.
const LATE: Duration = Duration::from_secs(6);

/// When the quiet hours of the policy `night` end, in simulated milliseconds: two minutes after noon, where time begins.
pub(crate) const QUIET_UNTIL: u64 = 120_000;

/// The whole of the operator's work.
pub(crate) async fn operate(world: World) -> turmoil::Result {
    found(&world).await?;
    fill(&world).await?;
    world.enter(Phase::Work, elapsed());
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

async fn fill(world: &World) -> Result<(), String> {
    let limit = json!([{"permits": 4, "window_ms": 1_500}, {"permits": 10, "window_ms": 6_000}]);
    let none = || Value::Null;
    // Short enough that what waits for an account that breaks all the time ends while somebody looks.
    let delivery = json!({"breaker": {"min_calls": 6, "open_ms": 200, "longest_open_ms": 500}});
    for (account, limit) in [("good", none()), ("shaky", none()), ("bad", none()), ("left", none()), ("capped", limit)]
    {
        let body = json!({"provider": "simulated", "limit": limit, "delivery": delivery});
        insist(world, "PUT", &format!("/v1/accounts/{account}"), Some(&body), 200).await?;
    }
    let route = json!({"channel": "sms", "accounts": [{"account": "left"}, {"account": "good"}]});
    insist(world, "PUT", "/v1/routes/both", Some(&route), 200).await?;
    let retry = json!({"max_attempts": 8, "first_ms": 200, "longest_ms": 1_000});
    let few = json!({"max_attempts": 2, "first_ms": 100, "longest_ms": 500});
    for (template, account, retry, more) in [
        ("plain", "good", &retry, json!({})),
        ("routed", "", &retry, json!({"route": "both"})),
        ("once", "shaky", &retry, json!({"on_unknown": "stop"})),
        ("unique", "good", &retry, json!({"dedup": {"window_ms": 3_600_000}})),
        ("capped", "capped", &retry, json!({})),
        ("bad", "bad", &few, json!({})),
        ("often", "good", &retry, json!({})),
        ("night", "good", &retry, json!({})),
    ] {
        let content = json!({"text": "number {{ n }}"});
        let mut body = json!({"channel": "sms", "account": account, "content": content, "retry": retry});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
            body.retain(|field, value| field != "account" || value != "");
        }
        insist(world, "PUT", &format!("/v1/templates/{template}"), Some(&body), 200).await?;
    }
    rule(world).await?;
    placed(world).await
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
            placed && (group["name"] == "control" || group["leader"] == group["wanted"][0])
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

/// The policies, each for one template.
async fn rule(world: &World) -> Result<(), String> {
    let often = json!({"windows": [{"window_ms": WINDOW_MS, "most": MOST}]});
    let windows = json!([{"from": "11:00", "to": "12:02"}]);
    let night = json!({"windows": windows, "time_zone": "UTC", "then": "defer"});
    for (name, kind, spec) in [("often", "frequency", often), ("night", "quiet_hours", night)] {
        let body = json!({"kind": kind, "spec": spec, "selector": {"templates": [name]}});
        insist(world, "PUT", &format!("/v1/policies/{name}"), Some(&body), 200).await?;
    }
    Ok(())
}

/// Waits until nothing is pending, then reads everything.
async fn settle(world: &World) -> Result<(), String> {
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
    for id in ids {
        if let Some(trace) = read(world, &id).await? {
            world.book.borrow_mut().traces.insert(id, trace);
        }
    }
    Ok(())
}

/// Waits until every node says the same counts, and that nothing is pending: a node may answer from a replica that has not
/// heard yet of what the leader did.
pub(crate) async fn ended(world: &World) -> Result<(), String> {
    // A request that ran into its deadline may still be kept so much later.
    sleep(LATE).await;
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
    let answers = book.sends.iter().filter_map(|send| match &send.verdict {
        Verdict::Accepted(answer) => answer["deliveries"].as_array(),
        _ => None,
    });
    let ids = answers.flatten().filter_map(|delivery| delivery["id"].as_str().map(str::to_owned));
    ids.chain(book.redrives.iter().map(|(_, new)| new.clone())).collect()
}
