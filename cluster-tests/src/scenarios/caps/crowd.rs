//! The crowd: callers at all nodes who send the same contents, and anything at all to the same few recipients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tidings_contract::Time;
use tokio::task::JoinSet;

use super::judge::{OFTEN, ONCE};
use crate::client::{Client, Lost};
use crate::moody::{Mood, Moody};
use crate::{Proof, When};

/// Recipients that are sent to often.
const RECIPIENTS: u64 = 8;
/// Contents in use at once.
const AT_ONCE: u64 = 8;
/// Calls until the oldest content in use makes room for the next.
const CALLS: u64 = 64;
/// Of what is sent often, one in so many is to leave later.
const LATER: u64 = 6;
/// Pause of a caller that could not reach its node.
const PAUSE: Duration = Duration::from_millis(20);

/// Whom content number `n` is for, and that content.
pub(super) fn content(receiver: &Moody, n: u64) -> Value {
    let mood = [Mood::RefusesFirst, Mood::BreaksOff, Mood::Takes][usize::try_from(n % 3).unwrap_or(0)];
    json!({"template": ONCE, "to": [receiver.url(mood, n)], "variables": {"n": n.to_string()}})
}

/// Running callers.
pub(super) struct Crowd {
    callers: JoinSet<Told>,
    shared: Arc<Shared>,
}

/// What one caller was told, by state or code.
pub(super) type Told = BTreeMap<String, u64>;

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicU64,
    stop: AtomicBool,
}

impl Crowd {
    pub(super) fn start(client: &Client, nodes: &[String], receiver: &Arc<Moody>, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let mut callers = JoinSet::new();
        for node in 0..count {
            let (client, nodes, receiver) = (client.clone(), nodes.to_vec(), Arc::clone(receiver));
            callers.spawn(call_on(client, nodes, node, receiver, Arc::clone(&shared)));
        }
        Self { callers, shared }
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// Lets the callers end; gives what they were told, and how many contents were in use.
    pub(super) async fn stop(mut self) -> Proof<(Told, u64)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut told = Told::new();
        while let Some(one) = self.callers.join_next().await {
            for (outcome, count) in one.when("waiting for a caller")? {
                *told.entry(outcome).or_default() += count;
            }
        }
        Ok((told, self.calls() / 2 / CALLS + AT_ONCE))
    }
}

async fn call_on(client: Client, nodes: Vec<String>, first: usize, receiver: Arc<Moody>, shared: Arc<Shared>) -> Told {
    let mut told = Told::new();
    for node in first.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let n = shared.calls.fetch_add(1, Ordering::Relaxed);
        let turn = n / 2;
        let body = if n.is_multiple_of(2) {
            content(&receiver, turn / CALLS + turn * 7_919 % AT_ONCE)
        } else {
            anything(&receiver, turn)
        };
        let url = format!("{}/v1/messages", nodes[node % nodes.len()]);
        let outcome = match client.call(Method::POST, &url, &[], Bytes::from(body.to_string())).await {
            Ok(answer) if answer.status == 202 => {
                let state = answer.json::<Value>().ok().map(|body| body["deliveries"][0]["state"].clone());
                state.as_ref().and_then(Value::as_str).unwrap_or("rejected").to_owned()
            }
            Ok(answer) => answer.code().unwrap_or_else(|| answer.status.to_string()),
            Err(Lost::Unknown(_)) => "no answer".to_owned(),
            Err(Lost::NotSent(_)) => {
                tokio::time::sleep(PAUSE).await;
                "not sent".to_owned()
            }
        };
        *told.entry(outcome).or_default() += 1;
    }
    told
}

/// Something new for one of the few recipients, now and then for later.
#[allow(clippy::disallowed_methods, reason = "a caller has a clock of its own")]
fn anything(receiver: &Moody, turn: u64) -> Value {
    let to = receiver.url(Mood::Takes, u64::MAX - turn % RECIPIENTS);
    let mut body = json!({"template": OFTEN, "to": [to], "variables": {"n": turn.to_string()}});
    if turn.is_multiple_of(LATER) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let then = Time(now.as_millis() as u64 + 500 + turn * 7_919 % 4_000);
        body["send_at"] = then.to_string().into();
    }
    body
}
