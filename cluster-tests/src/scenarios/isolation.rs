//! A provider that hangs costs only its own pool, and a hundred thousand waiting campaigns delay no codes.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Shape};
use crate::failure::ensure;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Proof, When};

/// Messages measured in each part, one after the other every so often.
const MEASURED: u64 = 400;
const EVERY: Duration = Duration::from_millis(25);
/// Recipients of one campaign message.
const CROWD: u64 = 10_000;
/// How often a p99 may be as long as when nothing else goes on, and what it may be anyway: noise of a shared machine.
pub(super) const TIMES: u32 = 3;
pub(super) const NOISE: Duration = Duration::from_millis(150);

/// A server that takes connections and never says a word.
pub(super) struct Silent {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Silent {
    /// Where a recipient of it receives.
    pub(super) fn url(&self, n: u64) -> String {
        format!("http://127.0.0.1:{}/in/{n}", self.port)
    }

    pub(super) fn start() -> Proof<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).when("binding the silent server")?;
        let port = listener.local_addr().when("binding the silent server")?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                held.push(stream);
            }
        });
        Ok(Self { port, stop })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One more connection wakes the thread.
        let _gone_already = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Runs it with three nodes and `campaign` waiting deliveries.
///
/// # Errors
/// When the p99 of a code or of another channel grows beyond noise.
pub async fn run(campaign: u64) -> Proof<Report> {
    let cluster = Cluster::start(&Shape::full(3, 8)).await?;
    let receiver = Receiver::start(Manners::default())?;
    let silent = Silent::start()?;
    teach(&cluster, &silent).await?;
    let alone = p99(&cluster, &receiver, "code", 0).await?;
    let mut report = Report::new("isolation: a hanging provider, and a campaign that waits");
    report.line("codes alone, p99", millis(alone));

    let to: Vec<Value> = (0..2_000).map(|n| json!(format!("customer-{n}@example.com"))).collect();
    post(&cluster, 0, &json!({"template": "mail", "to": to})).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let hung = p99(&cluster, &receiver, "code", 1).await?;
    report.line("codes while every mail hangs, p99", millis(hung));

    let mut first = 10_000_000;
    for turn in 0..campaign.div_ceil(CROWD) {
        let count = CROWD.min(campaign - turn * CROWD);
        let to: Vec<Value> = (first..first + count).map(|n| json!(receiver.url(n))).collect();
        let turn = usize::try_from(turn).unwrap_or(0);
        post(&cluster, turn, &json!({"template": "campaign", "to": to, "variables": {"n": "1"}})).await?;
        first += count;
    }
    let pending = cluster.stats().await?.pending;
    ensure(pending >= campaign * 9 / 10, || format!("only {pending} deliveries wait"))?;
    let beside = p99(&cluster, &receiver, "code", 2).await?;
    report.line(format!("codes while {pending} deliveries wait, p99"), millis(beside));
    for (name, p99) in [("a provider hangs", hung), ("a campaign waits", beside)] {
        let most = (alone * TIMES).max(alone + NOISE);
        ensure(p99 <= most, || format!("p99 while {name}: {p99:?}, alone {alone:?}\n{}", report.text()))?;
    }
    Ok(report)
}

async fn teach(cluster: &Cluster, silent: &Silent) -> Proof {
    let hook = |limit: Value| json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}, "limit": limit});
    let template = |account: &str, kind: &str| json!({"channel": "webhook", "account": account, "message_type": kind, "content": {"n": "{{ n }}"}});
    cluster.teach("code", &hook(Value::Null), &template("code", "auth_code")).await?;
    // The campaign waits because its account may send few.
    let few = json!({"permits": 50, "window_ms": 1_000});
    cluster.teach("campaign", &hook(few), &template("campaign", "marketing")).await?;
    let mail = json!({"provider": "email/smtp", "settings": {
        "host": "127.0.0.1", "port": silent.port, "tls": "none", "from": "Shop <no-reply@example.com>"}});
    let letter = json!({"channel": "email", "account": "mail", "content": {"subject": "Hi", "text": "Hi"}});
    cluster.teach("mail", &mail, &letter).await
}

pub(super) async fn post(cluster: &Cluster, node: usize, body: &Value) -> Proof {
    let url = format!("{}/v1/messages", cluster.url(node));
    cluster.admin.send(Method::POST, &url, body).await?.expect_status(202).map(drop)
}

/// Sends one message after the other and gives the 99th percentile from the request to the arrival.
pub(super) async fn p99(cluster: &Cluster, receiver: &Receiver, template: &str, part: u64) -> Proof<Duration> {
    let first = (part + 1) * 1_000_000;
    let mut sent = Vec::new();
    let mut every = tokio::time::interval(EVERY);
    for n in first..first + MEASURED {
        every.tick().await;
        sent.push((n, Instant::now()));
        let body = json!({"template": template, "to": [receiver.url(n)], "variables": {"n": n.to_string()}});
        let node = usize::try_from(n % 3).unwrap_or(0);
        post(cluster, node, &body).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = receiver.seen();
    let mut times = Vec::with_capacity(sent.len());
    for (n, at) in sent {
        let arrival = seen.arrivals.values().find(|arrival| arrival.n == n);
        let came = arrival.and_then(|arrival| arrival.copies.first()).when(format!("finding number {n}"))?;
        times.push(came.saturating_duration_since(at));
    }
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().when("finding the 99th percentile")
}

pub(super) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
