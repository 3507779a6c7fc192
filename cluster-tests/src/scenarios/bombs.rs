//! Templates that want all the memory, all the time or all the stack, on one node and on three, and a node that dies while they
//! are due: no process ends but those in which they are filled, everybody else's messages arrive, and each node answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Proof, When};

/// Most memory of a node, in bytes: what it has idle, and room for what it answers.
const MEMORY: u64 = 400 * 1024 * 1024;
/// Longest time that a node may take to say that it lives.
const ALIVE: Duration = Duration::from_secs(1);
/// What a bomb has to be given before it goes off, so that nobody finds it before.
const FUSE: &str = "7";

/// Contents that cost more than any message may. What each wants is its name.
const BOMBS: &[(&str, &str)] = &[
    ("memory by a filter's size", "{{ [1]|tojson(indent=1000000000000) }}"),
    ("memory by a list that is printed", "{{ ['xxxxxxxxxxxxxxxx'] * 100000000 }}"),
    (
        "memory by a text that grows",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    ),
    (
        "memory by a list that doubles",
        "{% set ns = namespace(x=[1, 2]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    ),
    ("memory by a block that is kept", "{% set x %}{{ [1] * 100000000 }}{% endset %}{{ x|length }}"),
    ("memory by joining", "{{ ([1] * 100000000)|join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') }}"),
    ("memory by indenting", "{% filter indent(1000000000) %}a\nb{% endfilter %}"),
    ("memory by a width", "{{ '%1000000000d'|format(1) }}"),
    ("time by what is skipped", "{{ ([1] * 100000000)[99999999:]|list }}"),
    ("time by comparing", "{{ [[1] * 100000000] == [[1] * 100000000] }}"),
    ("time by loops", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    (
        "time by looking again and again",
        "{% for i in range(5000) %}{{ ([1] * 100000000)[99999999:]|list|length }}{% endfor %}",
    ),
    ("stack by calling itself", "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"),
    ("stack by a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
    (
        "stack by what is nested",
        "{% set ns = namespace(x=[]) %}{% for i in range(4000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    ),
];

/// Signs that make an expression deeper each time they stand in it.
const DEEPER: &[&str] =
    &["-", "not ", "(", "[", "1+", "1~", "1*", "1 if ", "1 and ", "1<", "a|e|", "a.b.", "a[0]", "a()"];

/// Runs it on one node and on three.
///
/// # Errors
/// When a process ends, a node does not answer, takes too much memory, or a message of somebody else does not arrive.
pub async fn run(short: bool) -> Proof<Report> {
    let mut report = Report::new("bombs: templates that want everything");
    for nodes in [1, 3] {
        let bombs = if short { &BOMBS[..6] } else { BOMBS };
        on(nodes, bombs, &mut report).await?;
    }
    Ok(report)
}

async fn on(nodes: usize, bombs: &[(&str, &str)], report: &mut Report) -> Proof {
    let mut cluster = Cluster::start(&Shape::full(nodes, 4)).await?;
    let receiver = Receiver::start(Manners::default())?;
    let hook = json!({"provider": "webhook", "settings": {"secret": SECRET, "allow_private": true}});
    let plain = json!({"channel": "webhook", "account": "hook", "content": {"n": "{{ n }}"}});
    cluster.teach_as("hook", &hook, "plain", &plain).await?;
    let watch = Watch::start(cluster.urls());
    too_deep(&cluster).await?;
    let mut stored = Vec::new();
    for (n, (what, bomb)) in bombs.iter().enumerate() {
        let name = format!("bomb-{n}");
        store(&cluster, &name, bomb).await.when(format!("storing what wants {what}"))?;
        preview(&cluster, &name).await.when(format!("previewing what wants {what}"))?;
        stored.push(name);
    }
    let mut sent = send(&cluster, &receiver, &stored).await?;
    // While they are due, the node dies that owns most of them: whoever comes after it must not.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let paused = watch.pause();
    cluster.nodes[0].kill()?;
    cluster.nodes[0].restart()?;
    cluster.wait_ready().await?;
    watch.go_on(paused);
    sent.extend(send(&cluster, &receiver, &stored).await?);
    let states = ended(&cluster, &sent).await?;
    let slowest = watch.stop().await?;
    for node in &mut cluster.nodes {
        ensure(node.runs(), || format!("node {} ended:\n{}", node.id, node.log_tail()))?;
        let rss = node.rss()?;
        ensure(rss < MEMORY, || format!("node {} has {} MiB", node.id, rss >> 20))?;
    }
    report
        .line(format!("{nodes} nodes, {} bombs, slowest /healthz", sent.len()), format!("{} ms", slowest.as_millis()));
    report.line(format!("{nodes} nodes, reasons"), format!("{states:?}"));
    Ok(())
}

/// What is too deep to be parsed is refused, and ends nobody.
async fn too_deep(cluster: &Cluster) -> Proof {
    for sign in DEEPER {
        let content = format!("{{{{ {}1 }}}}", sign.repeat(6_000));
        let status = put(cluster, "deep", &content).await?;
        ensure(status == 422, || format!("6,000 × {sign:?} is answered {status}"))?;
    }
    let elifs = format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(6_000));
    let status = put(cluster, "deep", &elifs).await?;
    ensure(status == 422, || format!("6,000 × elif is answered {status}"))
}

async fn put(cluster: &Cluster, name: &str, content: &str) -> Proof<u16> {
    let template = json!({"channel": "webhook", "account": "hook", "content": {"n": "{{ n }}", "more": content}});
    let url = format!("{}/v1/templates/{name}", cluster.url(0));
    Ok(cluster.admin.send(Method::PUT, &url, &template).await?.status)
}

/// Keeps a bomb behind a condition that is not met when it is looked at.
async fn store(cluster: &Cluster, name: &str, bomb: &str) -> Proof {
    let content = format!("{{% if fuse == '{FUSE}' %}}{bomb}{{% endif %}}");
    let status = put(cluster, name, &content).await?;
    ensure(status == 200, || format!("it is answered {status}"))?;
    for url in cluster.urls() {
        let url = format!("{url}/v1/templates/{name}");
        eventually("a node knows the template", PATIENCE, async || cluster.admin.get::<Value>(&url).await).await?;
    }
    Ok(())
}

async fn preview(cluster: &Cluster, name: &str) -> Proof {
    let url = format!("{}/v1/templates/{name}/preview", cluster.url(0));
    let body = json!({"variables": {"n": "1", "fuse": FUSE}});
    let answer = cluster.admin.send(Method::POST, &url, &body).await?;
    ensure([200, 422, 429].contains(&answer.status), || format!("it is answered {}", answer.status))
}

/// Sends every bomb twice, and as many messages that are none, which must arrive; gives the bombs.
async fn send(cluster: &Cluster, receiver: &Receiver, names: &[String]) -> Proof<Vec<String>> {
    let mut bombs = Vec::new();
    let mut good = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let to = [receiver.url(n as u64 * 2), receiver.url(n as u64 * 2 + 1)];
        let variables = json!({"n": "1", "fuse": FUSE});
        bombs.extend(accepted(cluster, n, &json!({"template": name, "to": to, "variables": variables})).await?);
        good.extend(accepted(cluster, n, &json!({"template": "plain", "to": to, "variables": variables})).await?);
    }
    for id in good {
        let url = format!("{}/v1/deliveries/{id}", cluster.url(0));
        eventually("a message that is no bomb is delivered", PATIENCE, async || {
            let delivery: Value = cluster.admin.get(&url).await?;
            ensure(delivery["state"] == "delivered", || format!("{id} is {}", delivery["state"]))
        })
        .await?;
    }
    Ok(bombs)
}

async fn accepted(cluster: &Cluster, turn: usize, body: &Value) -> Proof<Vec<String>> {
    let urls = cluster.urls();
    let url = format!("{}/v1/messages", urls[turn % urls.len()]);
    let answer: Value = cluster.admin.send(Method::POST, &url, body).await?.expect_status(202)?.json()?;
    let ids = answer["deliveries"].as_array().when("reading the deliveries")?;
    Ok(ids.iter().filter_map(|one| one["id"].as_str()).map(str::to_owned).collect())
}

/// Waits until all of them ended; they may do so in one way only. Gives how many ended for which reason.
async fn ended(cluster: &Cluster, ids: &[String]) -> Proof<BTreeMap<String, usize>> {
    let mut reasons = BTreeMap::new();
    for id in ids {
        let url = format!("{}/v1/deliveries/{id}", cluster.url(0));
        let patience = PATIENCE * 5;
        let delivery = eventually("a bomb ends", patience, async || {
            let delivery: Value = cluster.admin.get(&url).await?;
            ensure(delivery["state"] != "pending", || format!("{id} is pending")).map(|()| delivery)
        })
        .await?;
        let reason = delivery["reason"]["code"].as_str().unwrap_or_default().to_owned();
        let expected = delivery["state"] == "delivered"
            || delivery["state"] == "failed" && ["poisonous_content", "template_render"].contains(&reason.as_str());
        ensure(expected, || format!("{id} ended as {}: {}", delivery["state"], delivery["reason"]))?;
        *reasons.entry(reason).or_default() += 1;
    }
    Ok(reasons)
}

/// Asks every node all the time whether it lives.
struct Watch {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    slowest: Duration,
    silent: Option<String>,
}

/// Nobody asks while it is there.
struct Paused;

impl Watch {
    fn start(urls: Vec<String>) -> Self {
        let (stop, pause) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stopped, paused, sees) = (Arc::clone(&stop), Arc::clone(&pause), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let anyone = Client::new("");
            while !stopped.load(Ordering::SeqCst) {
                for url in &urls {
                    let began = Instant::now();
                    let answer = anyone.call(Method::GET, &format!("{url}/healthz"), &[], Default::default()).await;
                    let mut seen = sees.lock();
                    if paused.load(Ordering::SeqCst) {
                        continue;
                    }
                    seen.slowest = seen.slowest.max(began.elapsed());
                    if let Err(lost) = answer {
                        seen.silent = Some(format!("{url}: {lost}"));
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { stop, pause, seen, task }
    }

    fn pause(&self) -> Paused {
        self.pause.store(true, Ordering::SeqCst);
        Paused
    }

    fn go_on(&self, _: Paused) {
        self.pause.store(false, Ordering::SeqCst);
    }

    /// The longest time that an answer took.
    async fn stop(self) -> Proof<Duration> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.when("watching")?;
        let Seen { slowest, silent } = std::mem::take(&mut *self.seen.lock());
        ensure(silent.is_none(), || format!("a node did not answer: {}", silent.unwrap_or_default()))?;
        ensure(slowest <= ALIVE, || format!("/healthz took {slowest:?}"))?;
        Ok(slowest)
    }
}
