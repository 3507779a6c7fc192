//! A day under one limit: an account that takes 20 in 60 s, work for it all day, leaders that change, things that break.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tokio::time::sleep;

use crate::clock::elapsed;
use crate::host::PARTITIONS;
use crate::http::{Got, call};
use crate::operator::{ended, found, insist, late, placed};
use crate::plan::stream;
use crate::trace;
use crate::world::{Letter, Phase, Send, Verdict, World};

const PROMISE: &str = "a limit is the cluster's";
/// The account's limit.
const PERMITS: usize = 20;
const WINDOW_MS: u64 = 60_000;
/// The account and its template. The provider takes everything from it.
const NAME: &str = "capped";
/// There are always so many waiting, five minutes of work, sent so many at a time.
const WAITING: usize = 100;
const AT_ONCE: u64 = 50;
/// How often somebody looks whether more is to be sent.
const LOOK: Duration = Duration::from_secs(20);
/// From one hand-over that somebody asks for to the next, in seconds.
const HAND_OVERS: std::ops::Range<u64> = 600..2_400;

/// The operator: founds, fills, has leaders change, and waits until all has ended.
pub(crate) async fn operate(world: World) -> turmoil::Result {
    found(&world).await?;
    let limit = json!([{"permits": PERMITS, "window_ms": WINDOW_MS}]);
    let account = json!({"provider": "simulated", "limit": limit});
    insist(&world, "PUT", &format!("/v1/accounts/{NAME}"), Some(&account), 200).await?;
    let retry = json!({"max_attempts": 50, "first_ms": 1_000, "longest_ms": 60_000, "give_up_after_ms": 86_400_000});
    let content = json!({"text": "number {{ n }}"});
    let template = json!({"channel": "sms", "account": NAME, "content": content, "retry": retry});
    insist(&world, "PUT", &format!("/v1/templates/{NAME}"), Some(&template), 200).await?;
    placed(&world).await?;
    world.enter(Phase::Work, elapsed());
    hand_over(&world).await;
    world.reached(Phase::Settling).await;
    late().await;
    if let Err(why) = ended(&world).await {
        world.violated("every accepted delivery ends", why);
    }
    world.enter(Phase::Done, elapsed());
    Ok(())
}

/// Has now one, now another node lead a partition, until the work is over.
async fn hand_over(world: &World) {
    let mut chance = stream(world.plan.seed, "hand-overs");
    let bearer = world.book.borrow().key.clone();
    while world.phase() == Phase::Work {
        let until = elapsed() + chance.random_range(HAND_OVERS) * 1_000;
        while elapsed() < until && world.phase() == Phase::Work {
            sleep(LOOK).await;
        }
        let (asked, to) = (chance.random_range(1..=world.plan.nodes), chance.random_range(1..=world.plan.nodes));
        let group = format!("p{}", chance.random_range(0..PARTITIONS));
        let body = json!({"group": group, "to": to});
        let got = call(asked, &bearer, "POST", "/v1/cluster/transfer", None, Some(&body)).await;
        trace::note(elapsed(), &format!("hand-over of {group} to n{to}: {got:?}"));
        if matches!(got, Got::Answer(200..=299, _)) {
            world.book.borrow_mut().hand_overs += 1;
        }
    }
}

/// The caller: sees to it that there is always something to be sent.
pub(crate) async fn demand(world: World) -> turmoil::Result {
    let mut chance = stream(world.plan.seed, "demand");
    world.reached(Phase::Work).await;
    let end = elapsed() + world.plan.work_ms;
    let (mut number, mut kept) = (0, 0);
    while elapsed() < end {
        while kept < world.arrivals.lock().len() + WAITING {
            let to: Vec<String> = (number..number + AT_ONCE).map(|n| format!("+86138{n:08}")).collect();
            let body = json!({"template": NAME, "to": to, "variables": {"n": number.to_string()}});
            let node = chance.random_range(1..=world.plan.nodes);
            let verdict = send(&world, node, &body).await;
            let taken = match &verdict {
                Verdict::Accepted(answer) => answer["deliveries"].as_array().map_or(0, Vec::len),
                _ => 0,
            };
            let (began, ended) = (elapsed(), elapsed());
            let letter = Letter { template: NAME, number, to, body, ..Letter::default() };
            let send = Send { began, ended, key: None, letter, verdict };
            world.book.borrow_mut().sends.push(send);
            (number, kept) = (number + AT_ONCE, kept + taken);
            if taken == 0 {
                break;
            }
        }
        sleep(LOOK).await;
    }
    *world.callers_left.borrow_mut() -= 1;
    Ok(())
}

async fn send(world: &World, node: usize, body: &serde_json::Value) -> Verdict {
    let bearer = world.book.borrow().key.clone();
    match call(node, &bearer, "POST", "/v1/messages", None, Some(body)).await {
        Got::Answer(202, answer) => Verdict::Accepted(answer),
        Got::Answer(status, problem) => Verdict::Refused(status, problem["code"].as_str().unwrap_or("none").to_owned()),
        Got::NotSent => Verdict::Refused(0, "not_sent".to_owned()),
        Got::NoAnswer(why) => Verdict::Unknown(why),
    }
}

/// When the provider was called, in order.
fn calls(world: &World) -> Vec<u64> {
    let mut at: Vec<u64> = world.arrivals.lock().iter().map(|arrival| arrival.at).collect();
    at.sort_unstable();
    at
}

/// The most calls in any one sliding window.
fn fullest(at: &[u64]) -> usize {
    let within = |from: usize| at[from..].iter().take_while(|call| **call - at[from] < WINDOW_MS).count();
    (0..at.len()).map(within).max().unwrap_or(0)
}

/// No window holds more than the limit, and whatever was kept arrived and is counted as delivered.
pub(crate) fn judge(world: &World) {
    let at = calls(world);
    if let Some(window) = at.windows(PERMITS + 1).find(|window| window[PERMITS] - window[0] < WINDOW_MS) {
        world.violated(PROMISE, format!("{} calls within {WINDOW_MS} ms: {window:?}", PERMITS + 1));
    }
    let arrived: BTreeSet<String> = world.arrivals.lock().iter().map(|arrival| arrival.delivery.clone()).collect();
    let lost = crate::operator::accepted(world).into_iter().filter(|id| !arrived.contains(id)).count();
    if lost > 0 {
        world.violated("accepted means kept", format!("{lost} deliveries never arrived"));
    }
    let stats = world.book.borrow().stats.clone();
    let delivered = stats["ended"]["delivered"].as_u64().unwrap_or_default();
    if delivered != arrived.len() as u64 || stats["accepted"] != stats["ended"]["delivered"] {
        world.violated("counts add up", format!("{} arrived: {stats}", arrived.len()));
    }
}

/// What the day was like, in words.
pub(crate) fn figures(world: &World) -> String {
    let at = calls(world);
    let begun = at.first().copied().unwrap_or_default();
    let within = at.iter().take_while(|call| **call < begun + world.plan.work_ms).count();
    let budget = PERMITS as f64 * world.plan.work_ms as f64 / WINDOW_MS as f64;
    let (broke, deaths) = (world.damage.borrow().broke, world.damage.borrow().deaths.len());
    format!(
        "{within} calls in a day, fullest 60 s hold {} of {PERMITS}, {:.1} % of the budget used, {} hand-overs, {broke} things broke, {deaths} deaths",
        fullest(&at),
        100.0 * within as f64 / budget,
        world.book.borrow().hand_overs,
    )
}
