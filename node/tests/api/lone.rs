//! A node of its own for one test: its directory, its key, and a client.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_channels::http::{Answer, Client, ClientOptions, HeaderMap, HeaderName, HeaderValue, Method, Url};
use tidings_config::Config;
use tidings_contract::Secret;
use tidings_node::{Running, found_dev, serve};
use tokio::time::Instant;

/// The secret of all clusters in these tests.
pub(crate) const CLUSTER_SECRET: &str = "a secret of at least sixteen bytes";
/// Longest wait for something that must come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node.
pub(crate) struct Lone {
    pub(crate) running: Running,
    pub(crate) config: Config,
    pub(crate) key: String,
    pub(crate) dir: TempDir,
    http: Client,
}

/// What a node answered.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) answer: Answer,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The body, if the status is the expected one.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The code of a problem, if the status is the expected one and the media type that of a problem.
    pub(crate) fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        assert_eq!(self.body["status"], status);
        self.body["code"].as_str().expect("a problem has a code")
    }
}

/// A configuration for a node in `dir`, with every port free to choose and short waits.
pub(crate) fn config(id: u64, dir: PathBuf) -> Config {
    let mut config = Config::default();
    config.node.id = id;
    config.node.data_dir = dir;
    config.node.api_listen = "127.0.0.1:0".parse().expect("an address");
    config.node.peer_listen = "127.0.0.1:0".parse().expect("an address");
    config.node.stop_deadline_ms = 10_000;
    config.cluster.secret = Secret::new(CLUSTER_SECRET);
    config.cluster.partitions = 2;
    config.cluster.replication = 1;
    config.raft.heartbeat_ms = 50;
    config.raft.election_min_ms = 150;
    config.raft.election_max_ms = 300;
    config.disk.cache_bytes = 16 << 20;
    config.intake.deadline_ms = 20_000;
    config
}

pub(crate) fn client() -> Client {
    let options =
        ClientOptions { timeout: Duration::from_secs(60), body_limit: 64 << 20, public_only: false, gzip: false };
    Client::new(options).expect("a client can be made")
}

impl Lone {
    /// A node that is not founded.
    pub(crate) async fn unfounded(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let mut config = config(1, dir.path().join("data"));
        change(&mut config);
        let running = serve(config.clone()).await.expect("the node starts");
        Self { running, config, key: String::new(), dir, http: client() }
    }

    /// A node that takes messages.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A node that takes messages, with another configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut node = Self::unfounded(change).await;
        let key = found_dev(&node.running).await.expect("it can be founded");
        node.key = key.expose().to_owned();
        node.ready().await;
        node
    }

    /// A node that takes messages, with a sandbox account and a template over it.
    pub(crate) async fn ready_to_send() -> Self {
        let node = Self::start().await;
        node.account("demo", json!({})).await;
        node.template("hello", json!({"channel": "sms", "account": "demo", "content": {"text": "Hello {{ name }}"}}))
            .await;
        node
    }

    /// A node that was started by other means.
    pub(crate) fn of(running: Running, config: Config, key: String, dir: TempDir) -> Self {
        Self { running, config, key, dir, http: client() }
    }

    pub(crate) async fn ready(&self) {
        self.until("it is ready", async || (self.get("/readyz").await.status == 200).then_some(())).await;
    }

    /// Stops the node and starts it again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, config, key, dir, http } = self;
        running.stop().await;
        let running = serve(config.clone()).await.expect("the node starts again");
        let node = Self { running, config, key, dir, http };
        node.ready().await;
        node
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.running.stop().await;
        self.dir
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.call("GET", path, Some(&self.key), &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Got {
        self.call("POST", path, Some(&self.key), &[], Some(body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Got {
        self.call("PUT", path, Some(&self.key), &[], Some(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Got {
        self.call("DELETE", path, Some(&self.key), &[], None).await
    }

    /// Sends under an idempotency key.
    pub(crate) async fn post_once(&self, key: &str, body: &Value) -> Got {
        self.call("POST", "/v1/messages", Some(&self.key), &[("idempotency-key", key)], Some(body.to_string())).await
    }

    /// One call, exactly as told. The media type is JSON unless the headers say otherwise.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Got {
        call(&self.http, self.running.api_addr, method, path, key, headers, body).await
    }

    pub(crate) async fn account(&self, name: &str, settings: Value) {
        let body = json!({"provider": "sandbox", "settings": settings});
        self.put(&format!("/v1/accounts/{name}"), body).await.expect(200);
    }

    pub(crate) async fn template(&self, name: &str, spec: Value) -> Value {
        self.put(&format!("/v1/templates/{name}"), spec).await.expect(200)
    }

    /// The figures, as text.
    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await.answer.text()
    }

    /// Sends, and gives the answer.
    pub(crate) async fn send(&self, body: Value) -> Value {
        self.post("/v1/messages", body).await.expect(202)
    }

    /// The trace of a delivery once it has ended.
    pub(crate) async fn ended(&self, delivery: &str) -> Value {
        self.until("the delivery ends", async || {
            let trace = self.get(&format!("/v1/deliveries/{delivery}")).await.expect(200);
            (trace["state"] != "pending").then_some(trace)
        })
        .await
    }

    /// How many deliveries were ever accepted.
    pub(crate) async fn accepted(&self) -> u64 {
        let stats = self.get("/v1/stats").await.expect(200);
        stats["accepted"].as_u64().expect("a number")
    }

    /// Looks again and again until `look` sees something.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        until(what, look).await
    }
}

/// Looks again and again until `look` sees something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn call(
    http: &Client,
    addr: std::net::SocketAddr,
    method: &str,
    path: &str,
    key: Option<&str>,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Got {
    let url: Url = format!("http://{addr}{path}").parse().expect("a URL");
    let mut map = HeaderMap::new();
    if body.is_some() {
        map.insert("content-type", HeaderValue::from_static("application/json"));
    }
    if let Some(key) = key {
        map.insert("authorization", format!("Bearer {key}").parse().expect("a header"));
    }
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a header");
        map.insert(name, value.parse().expect("a header"));
    }
    let method: Method = method.parse().expect("a method");
    let answer = http.call(method, url, map, Bytes::from(body.unwrap_or_default())).await.expect("the node answers");
    let body = answer.json().unwrap_or(Value::Null);
    Got { status: answer.status, body, answer }
}
