//! Many callers on all nodes use the same keys and send the same content while leaders die; what they were told must be
//! explained by some order of their calls, for every key and every content.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Lost};
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::history::{Claim, Claimed, IdempotencyKey, Model, Slot, SlotCall, Span, Taken, Verdict, check};
use crate::report::Report;
use crate::{Proof, When};

/// Callers at once.
const CALLERS: usize = 12;
/// Subjects in use at once, so that each is used by several callers at the same time.
const AT_ONCE: u64 = 8;
/// Calls until the oldest subject in use makes room for the next; a subject gets about so many calls of either kind.
const CALLS: u64 = 32;
/// Pause of a caller that could not reach its node.
const PAUSE: Duration = Duration::from_millis(20);

/// What one caller was told, by subject.
#[derive(Default)]
struct Told {
    keys: BTreeMap<u64, Vec<Span<Claim>>>,
    slots: BTreeMap<u64, Vec<Span<SlotCall>>>,
    outcomes: BTreeMap<&'static str, u64>,
}

/// Makes `calls` calls; the leader of most partitions is killed `kills` times meanwhile.
///
/// # Errors
/// When no order explains the answers, or a planted lie is not found.
pub async fn run(calls: u64, kills: u32) -> Proof<Report> {
    let mut cluster = Cluster::start(&Shape::full(3, 4)).await?;
    teach(&cluster).await?;
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = Caller { client: cluster.admin.clone(), nodes: cluster.urls(), node: number, began };
        callers.spawn(caller.run(Arc::clone(&next), calls));
    }
    for kill in 1..=kills {
        let due = calls * u64::from(kill) / u64::from(kills + 1);
        eventually("enough calls are made", PATIENCE, async || {
            let made = next.load(Ordering::Relaxed);
            ensure(made >= due, || format!("{made} of {due} are"))
        })
        .await?;
        let victim = cluster.leader_of_most().await?;
        cluster.nodes[victim].kill()?;
        // Long enough for the others to elect, and for callers to meet the gap.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.nodes[victim].restart()?;
        cluster.wait_ready().await?;
    }
    let mut told = Told::default();
    while let Some(one) = callers.join_next().await {
        told.merge(one.when("waiting for a caller")?);
    }
    cluster.wait_drained().await?;
    judge(&told, kills)
}

async fn teach(cluster: &Cluster) -> Proof {
    let account = json!({"provider": "sandbox", "settings": {}});
    let plain = json!({"channel": "sms", "account": "plain", "content": {"text": "Hello {{ n }}"}});
    cluster.teach("plain", &account, &plain).await?;
    let once =
        json!({"channel": "sms", "account": "once", "content": {"text": "Hello"}, "dedup": {"window_ms": 3_600_000}});
    cluster.teach("once", &account, &once).await
}

fn judge(told: &Told, kills: u32) -> Proof<Report> {
    let keys = judge_all::<IdempotencyKey>("key", &told.keys)?;
    let slots = judge_all::<Slot>("content", &told.slots)?;
    let mut planted = 0;
    for history in told.keys.values() {
        planted += u64::from(found::<IdempotencyKey>(history, lie_about_a_message)?);
    }
    for history in told.slots.values() {
        planted += u64::from(found::<Slot>(history, lie_about_the_slot)?);
    }
    ensure(planted > 0, || "no history was long enough to plant a lie in".to_owned())?;
    let mut report = Report::new(format!("histories of {CALLERS} callers on three nodes, {kills} leaders killed"));
    report.line("idempotency keys", format!("{} in {} calls, all linearizable", keys.0, keys.1));
    report.line("contents with dedup", format!("{} in {} calls, all linearizable", slots.0, slots.1));
    report.line("longest history of one subject", keys.2.max(slots.2));
    report.line("lies planted and found", planted);
    for (outcome, count) in &told.outcomes {
        report.line(format!("answers: {outcome}"), count);
    }
    Ok(report)
}

/// How many subjects and calls there were, and the longest history.
fn judge_all<M: Model>(what: &str, all: &BTreeMap<u64, Vec<Span<M::Call>>>) -> Proof<(usize, usize, usize)> {
    for (subject, history) in all {
        let verdict = check::<M>(history);
        ensure(verdict == Verdict::Linear, || format!("{what} {subject}: {verdict:?} in {history:#?}"))?;
    }
    let lengths = || all.values().map(Vec::len);
    Ok((all.len(), lengths().sum(), lengths().max().unwrap_or(0)))
}

/// Tells one lie in a good history and sees that it is found; whether there was a place for one.
fn found<M: Model>(history: &[Span<M::Call>], lie: impl Fn(&mut [Span<M::Call>]) -> bool) -> Proof<bool> {
    let mut history = history.to_vec();
    if !lie(&mut history) {
        return Ok(false);
    }
    let verdict = check::<M>(&history);
    ensure(matches!(verdict, Verdict::Impossible(_)), || format!("a lie was not found, {verdict:?}: {history:#?}"))?;
    Ok(true)
}

/// One of two answers that named the message names another.
fn lie_about_a_message(history: &mut [Span<Claim>]) -> bool {
    let named = history.iter().filter(|span| matches!(span.call.came, Claimed::First(_) | Claimed::Again(_))).count();
    let again = history.iter_mut().rev().find_map(|span| match &mut span.call.came {
        Claimed::Again(message) => Some(message),
        _ => None,
    });
    match again.filter(|_| named > 1) {
        Some(message) => {
            *message = "msg_of_another_key".into();
            true
        }
        None => false,
    }
}

/// One that was suppressed claims to have been sent, beside the one that was.
fn lie_about_the_slot(history: &mut [Span<SlotCall>]) -> bool {
    let sent = history.iter().any(|span| span.call.came == Taken::Sent);
    let suppressed = history.iter_mut().rev().find(|span| span.call.came == Taken::Suppressed);
    match suppressed.filter(|_| sent) {
        Some(span) => {
            span.call.came = Taken::Sent;
            true
        }
        None => false,
    }
}

impl Told {
    fn merge(&mut self, other: Self) {
        for (subject, spans) in other.keys {
            self.keys.entry(subject).or_default().extend(spans);
        }
        for (subject, spans) in other.slots {
            self.slots.entry(subject).or_default().extend(spans);
        }
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

struct Caller {
    client: Client,
    nodes: Vec<String>,
    node: usize,
    began: Instant,
}

impl Caller {
    async fn run(mut self, next: Arc<AtomicU64>, calls: u64) -> Told {
        let mut told = Told::default();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= calls {
                return told;
            }
            // Two kinds of calls take turns; each kind has its own subjects.
            let turn = n / 2;
            let subject = turn / CALLS + turn * 7_919 % AT_ONCE;
            if n.is_multiple_of(2) {
                // Every fourth call under a key brings another body.
                self.claim(&mut told, subject, u8::from(turn % 4 == 3)).await;
            } else {
                self.send(&mut told, subject).await;
            }
        }
    }

    async fn claim(&mut self, told: &mut Told, subject: u64, body: u8) {
        let key = format!("history-{subject}");
        let to = format!("+86137{subject:08}");
        let sent = json!({"template": "plain", "to": [to], "variables": {"n": body.to_string()}});
        let Some((answer, begun, ended)) = self.call(&sent, Some(&key)).await else { return };
        let came = answer.as_ref().map_or(Claimed::Nothing, claimed);
        let outcome = match came {
            Claimed::First(_) => "key first",
            Claimed::Again(_) => "key again",
            Claimed::OtherBody => "key used with another body",
            Claimed::Nothing => "key, nobody can tell",
        };
        *told.outcomes.entry(outcome).or_default() += 1;
        let ended = Some(ended).filter(|_| came != Claimed::Nothing);
        told.keys.entry(subject).or_default().push(Span { call: Claim { body, came }, begun, ended });
    }

    async fn send(&mut self, told: &mut Told, subject: u64) {
        let sent = json!({"template": "once", "to": [format!("+86136{subject:08}")]});
        let Some((answer, begun, ended)) = self.call(&sent, None).await else { return };
        let came = answer.as_ref().map_or(Taken::Nothing, taken);
        let outcome = match came {
            Taken::Sent => "content sent",
            Taken::Suppressed => "content suppressed",
            Taken::Nothing => "content, nobody can tell",
        };
        *told.outcomes.entry(outcome).or_default() += 1;
        let ended = Some(ended).filter(|_| came != Taken::Nothing);
        told.slots.entry(subject).or_default().push(Span { call: SlotCall { came }, begun, ended });
    }

    /// Calls the next node; `None` if nothing was sent. The answer is none if none came.
    async fn call(&mut self, body: &Value, key: Option<&str>) -> Option<(Option<Answer>, u64, u64)> {
        self.node += 1;
        let url = format!("{}/v1/messages", self.nodes[self.node % self.nodes.len()]);
        let headers: Vec<_> = key.iter().map(|key| ("idempotency-key", *key)).collect();
        let begun = self.clock();
        let answer = self.client.call(Method::POST, &url, &headers, Bytes::from(body.to_string())).await;
        let ended = self.clock();
        match answer {
            Ok(answer) => Some((Some(answer), begun, ended)),
            Err(Lost::Unknown(_)) => Some((None, begun, ended)),
            Err(Lost::NotSent(_)) => {
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    fn clock(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What an answer says about the key. A refusal does not tell whether the key was claimed before it.
fn claimed(answer: &Answer) -> Claimed {
    if answer.status == 202
        && let Some(message) = answer.json::<Value>().ok().and_then(|body| Some(body["message_id"].as_str()?.into()))
    {
        let again = answer.headers.contains_key("idempotent-replayed");
        return if again { Claimed::Again(message) } else { Claimed::First(message) };
    }
    match answer.code().as_deref() {
        Some("idempotency_mismatch") => Claimed::OtherBody,
        _ => Claimed::Nothing,
    }
}

fn taken(answer: &Answer) -> Taken {
    let state = answer.json::<Value>().ok().map(|body| body["deliveries"][0]["state"].clone());
    match state.as_ref().and_then(Value::as_str) {
        Some("suppressed") => Taken::Suppressed,
        Some("pending" | "delivered") => Taken::Sent,
        _ => Taken::Nothing,
    }
}
