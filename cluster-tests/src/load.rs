//! The load: closed-loop callers who keep, for every number they sent, what they were told about it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Lost};
use crate::{Proof, When};

/// Recipients are taken in turn from this many, so that all partitions get some.
const RECIPIENTS: u64 = 1_024;
/// How long a caller who may repeat goes on repeating.
const REPEAT_FOR: Duration = Duration::from_secs(60);
/// How long a caller waits after a refusal.
const PAUSE: Duration = Duration::from_millis(20);

/// What to send and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The nodes' URLs. A caller stays with one until it is refused there.
    pub nodes: Vec<String>,
    /// The template, whose content carries `n`.
    pub template: String,
    /// The receiver's URL; recipients are paths below it.
    pub receiver: String,
    /// Callers, each with one request at a time.
    pub connections: usize,
    /// Recipients a request.
    pub batch: u64,
    /// Numbers are sent from here …
    pub first: u64,
    /// … and at most so many.
    pub most: u64,
    /// Every second request has an `Idempotency-Key` and is repeated until it is accepted; the others are sent once.
    pub keyed: bool,
}

/// What the callers know afterwards.
#[derive(Debug, Default)]
pub struct Tally {
    /// Accepted: the number, and the delivery's id.
    pub accepted: HashMap<u64, String>,
    /// Sent, and nobody can tell whether it was kept.
    pub unknown: HashSet<u64>,
    /// Numbers that a cap may hold: they need not arrive if the cluster says so.
    pub may_be_held: HashSet<u64>,
    /// Requests or recipients that were refused; a repeated one counts each time.
    pub refused: u64,
    /// The codes of refusals, with how often each came.
    pub codes: HashMap<String, u64>,
    /// Answers that accepted, by how long they took, in microseconds.
    pub latencies_us: Vec<u32>,
    /// When each of those answers came, in order.
    pub accepted_at: Vec<Instant>,
}

/// What can be seen and done while the load runs.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    accepted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    rest: Arc<AtomicBool>,
}

/// The load at work.
#[derive(Debug)]
pub struct Load {
    /// Look and stop here.
    pub handle: Handle,
    callers: JoinSet<Tally>,
}

/// One request: the numbers in it, its body, its key.
struct Request {
    numbers: Vec<u64>,
    body: Bytes,
    key: Option<String>,
}

#[derive(Deserialize)]
struct Accepted {
    #[serde(default)]
    deliveries: Vec<Taken>,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
    index: usize,
}

#[derive(Deserialize)]
struct Rejected {
    index: usize,
    code: String,
}

/// What one answer says about a request as a whole.
enum Verdict {
    Accepted(Accepted),
    Refused(String),
    Unknown(String),
}

impl Handle {
    /// Deliveries accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Callers end after their present request.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Callers begin no request while they `rest`.
    pub fn rest(&self, rest: bool) {
        self.rest.store(rest, Ordering::Relaxed);
    }

    fn rests(&self) -> bool {
        self.rest.load(Ordering::Relaxed) && !self.stopped()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// The longest time in which nothing was accepted.
    pub fn longest_gap(&self) -> Duration {
        self.accepted_at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// The time in which `share` (0 to 1) of the accepting answers came, in milliseconds.
    pub fn latency_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        // A share of a count: the product is within the count.
        let at = (last as f64 * share) as usize;
        self.latencies_us.get(at).map_or(0.0, |us| f64::from(*us) / 1_000.0)
    }

    /// From the first acceptance to the last.
    pub fn span(&self) -> Duration {
        self.accepted_at.first().zip(self.accepted_at.last()).map(|(first, last)| *last - *first).unwrap_or_default()
    }

    /// Adds what the callers of another load know.
    pub fn merge(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.unknown.extend(other.unknown);
        self.may_be_held.extend(other.may_be_held);
        self.refused += other.refused;
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.latencies_us.extend(other.latencies_us);
        self.accepted_at.extend(other.accepted_at);
    }

    fn refuse(&mut self, code: String, count: u64) {
        self.refused += count;
        *self.codes.entry(code).or_default() += count;
    }
}

impl Load {
    /// Starts the callers.
    pub fn start(client: &Client, plan: Plan) -> Self {
        let handle = Handle::default();
        let plan = Arc::new(plan);
        let next = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for number in 0..plan.connections {
            let caller = Caller {
                client: client.clone(),
                plan: Arc::clone(&plan),
                next: Arc::clone(&next),
                handle: handle.clone(),
                node: number,
                tally: Tally::default(),
            };
            callers.spawn(caller.run());
        }
        Self { handle, callers }
    }

    /// Waits for the callers to end and puts together what they know.
    ///
    /// # Errors
    /// When a caller panicked.
    pub async fn finish(mut self) -> Proof<Tally> {
        let mut tally = Tally::default();
        while let Some(ended) = self.callers.join_next().await {
            tally.merge(ended.when("waiting for a caller")?);
        }
        tally.latencies_us.sort_unstable();
        tally.accepted_at.sort_unstable();
        Ok(tally)
    }
}

struct Caller {
    client: Client,
    plan: Arc<Plan>,
    next: Arc<AtomicU64>,
    handle: Handle,
    node: usize,
    tally: Tally,
}

impl Caller {
    async fn run(mut self) -> Tally {
        while !self.handle.stopped() {
            if self.handle.rests() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let start = self.next.fetch_add(self.plan.batch, Ordering::Relaxed);
            if start >= self.plan.most {
                break;
            }
            let request = self.request(start);
            self.one(&request).await;
        }
        self.tally
    }

    fn request(&self, start: u64) -> Request {
        let first = self.plan.first + start;
        let numbers: Vec<u64> = (first..first + self.plan.batch).collect();
        let mut body = format!("{{\"template\":\"{}\",\"to\":[", self.plan.template);
        for (at, n) in numbers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (receiver, recipient) = (&self.plan.receiver, n % RECIPIENTS);
            let _never = write!(body, "{comma}{{\"to\":\"{receiver}/r/{recipient}\",\"variables\":{{\"n\":\"{n}\"}}}}");
        }
        body.push_str("]}");
        let keyed = self.plan.keyed && (start / self.plan.batch).is_multiple_of(2);
        Request { body: body.into(), key: keyed.then(|| format!("load-{first}")), numbers }
    }

    /// Sends one request; one with a key again and again until nothing in it can be asked for once more.
    async fn one(&mut self, request: &Request) {
        let began = Instant::now();
        loop {
            let sent = Instant::now();
            let verdict = self.send(request).await;
            let settled = self.settle(request, verdict, sent);
            if settled {
                return;
            }
            self.node += 1;
            tokio::time::sleep(PAUSE).await;
            if request.key.is_none() || began.elapsed() > REPEAT_FOR {
                return;
            }
        }
    }

    async fn send(&self, request: &Request) -> Verdict {
        let url = format!("{}/v1/messages", self.plan.nodes[self.node % self.plan.nodes.len()]);
        let headers: Vec<_> = request.key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
        match self.client.call(Method::POST, &url, &headers, request.body.clone()).await {
            Ok(answer) => judge(&answer),
            Err(Lost::NotSent(_)) => Verdict::Refused("not_sent".to_owned()),
            Err(Lost::Unknown(_)) => Verdict::Unknown("no_answer".to_owned()),
        }
    }

    /// Books what the answer says; whether all of it was accepted.
    fn settle(&mut self, request: &Request, verdict: Verdict, sent: Instant) -> bool {
        match verdict {
            Verdict::Accepted(answer) => {
                let all = answer.rejected.is_empty() && answer.deliveries.len() == request.numbers.len();
                self.accept(request, answer, sent);
                all
            }
            Verdict::Refused(code) => {
                self.tally.refuse(code, request.numbers.len() as u64);
                false
            }
            Verdict::Unknown(code) => {
                *self.tally.codes.entry(code).or_default() += 1;
                self.doubt(&request.numbers);
                false
            }
        }
    }

    fn accept(&mut self, request: &Request, answer: Accepted, sent: Instant) {
        let now = Instant::now();
        self.tally.latencies_us.push(u32::try_from((now - sent).as_micros()).unwrap_or(u32::MAX));
        self.tally.accepted_at.push(now);
        let mut fresh = 0;
        for Taken { id, index } in answer.deliveries {
            let Some(n) = request.numbers.get(index) else { continue };
            self.tally.unknown.remove(n);
            fresh += u64::from(self.tally.accepted.insert(*n, id).is_none());
        }
        for Rejected { index, code } in answer.rejected {
            if code == "unknown" {
                self.doubt(&request.numbers[index..=index]);
            }
            self.tally.refuse(code, 1);
        }
        self.handle.accepted.fetch_add(fresh, Ordering::Relaxed);
    }

    fn doubt(&mut self, numbers: &[u64]) {
        for n in numbers {
            if !self.tally.accepted.contains_key(n) {
                self.tally.unknown.insert(*n);
            }
        }
    }
}

fn judge(answer: &Answer) -> Verdict {
    if answer.status == 202 {
        return match serde_json::from_slice(&answer.body) {
            Ok(accepted) => Verdict::Accepted(accepted),
            Err(_) => Verdict::Unknown("bad_answer".to_owned()),
        };
    }
    let code = answer.code().unwrap_or_else(|| format!("http_{}", answer.status));
    // Of all problems only these two may have been kept (API: "Problems").
    match code.as_str() {
        "timeout" | "internal" => Verdict::Unknown(code),
        _ => Verdict::Refused(code),
    }
}
