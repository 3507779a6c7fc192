//! A supplier for tests that wants an access token, can take messages back and calls back, and a receiver of callbacks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_channels::Registry;
use tidings_config::Config;
use tidings_contract::{
    Blame, Call, Channel, Clock, FieldError, Outcome, Provider, ProviderInfo, Reason, Receipt, ReceiptMark, Secret,
    Sent, Setting, Settings, Time, Token, Unsupported,
};
use tidings_node::{found_dev, serve_with};

use crate::lone::{Lone, config};

/// What every access token of the double begins with.
pub(crate) const TOKEN: &str = "the-access-token-nobody-may-see";

static INFO: ProviderInfo = ProviderInfo {
    name: "double",
    channel: "*",
    doc: "Takes everything, for tests.",
    source: "none",
    settings: &[Setting { name: "password", required: true, secret: true, doc: "What its callbacks begin with." }],
    example: r#"{"password": "open sesame"}"#,
    max_recipients: 1,
    deadline: Duration::from_secs(5),
};

/// What the supplier saw, whatever account.
#[derive(Debug, Default)]
pub(crate) struct Double {
    pub(crate) fetches: AtomicU64,
    /// The supplier's ids that were to be taken back.
    pub(crate) recalled: Mutex<Vec<String>>,
    /// The tokens that came with sends and recalls.
    pub(crate) tokens: Mutex<Vec<Option<String>>>,
}

#[derive(Debug)]
struct Maker(Arc<Double>);

struct Account {
    double: Arc<Double>,
    password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account")
    }
}

impl Provider for Maker {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let password = settings.secret("password").map(|secret| secret.expose().to_owned());
        let password = password.ok_or_else(|| vec![FieldError::new("settings.password", "is missing")])?;
        Ok(Arc::new(Account { double: Arc::clone(&self.0), password }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        self.double.tokens.lock().push(call.token.as_ref().map(|token| token.expose().to_owned()));
        let taken = |to: &str| Outcome::Delivered { provider_id: Some(format!("double-{to}")) };
        call.targets.iter().map(|target| taken(&target.to)).collect()
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let number = self.double.fetches.fetch_add(1, Ordering::SeqCst);
        let secret = Secret::new(format!("{TOKEN}-{number}"));
        Some(Ok(Token { secret, expires_in: Duration::from_secs(7_200) }))
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        self.double.tokens.lock().push(token.map(|token| token.expose().to_owned()));
        self.double.recalled.lock().push(sent.provider_id.clone());
        Ok(if sent.to.ends_with('9') {
            Outcome::never(Blame::Content, "too_old", "after two minutes")
        } else {
            Outcome::Delivered { provider_id: None }
        })
    }

    fn callback_answer(&self) -> (&'static str, &'static str) {
        ("application/json", r#"{"code":0,"result":0}"#)
    }

    fn read_callback(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        let signed = headers.iter().any(|(name, value)| name == "x-password" && *value == self.password);
        let path = headers.iter().any(|(name, value)| name == ":path" && value.ends_with("?from=double"));
        let read: Option<Value> = serde_json::from_slice(body).ok();
        let Some(read) = read.filter(|_| signed && path) else {
            return Ok(Err(Reason::new("signature", format!("{} is the password", self.password))));
        };
        let mark = if read["ok"] == true { ReceiptMark::Received } else { ReceiptMark::Bounced };
        Ok(Ok(vec![Receipt {
            reason: Some(Reason::new("report", read["words"].as_str().unwrap_or_default())),
            at: Some(Time(1_800_000_000_000)),
            gone: read["gone"] == true,
            ..Receipt::new(read["id"].as_str().unwrap_or_default(), mark)
        }]))
    }
}

/// A clock that begins at a time of its own.
#[derive(Debug)]
struct Since(Time, Instant);

impl Clock for Since {
    fn now(&self) -> Time {
        self.0.after(self.1.elapsed())
    }
}

/// A node that takes messages, with an account `twin` of the double, and the template `hello` over it.
pub(crate) async fn node() -> (Lone, Arc<Double>) {
    node_with(|_| {}).await
}

/// The same with another configuration.
pub(crate) async fn node_with(change: impl FnOnce(&mut Config)) -> (Lone, Arc<Double>) {
    let double = Arc::new(Double::default());
    let dir = tempfile::tempdir().expect("a directory can be made");
    let mut config = config(1, dir.path().join("data"));
    change(&mut config);
    let clock = Since(Time(1_800_000_000_000), Instant::now());
    let registry = Registry::new().with(Arc::new(Maker(Arc::clone(&double))));
    let running = serve_with(config.clone(), Arc::new(clock), registry).await.expect("the node starts");
    let key = found_dev(&running).await.expect("it can be founded").expose().to_owned();
    let node = Lone::of(running, config, key, dir);
    node.ready().await;
    let account = json!({"provider": "double", "settings": {"password": "open sesame"}});
    node.put("/v1/accounts/twin", account).await.expect(200);
    node.template("hello", json!({"channel": "sms", "account": "twin", "content": {"text": "Hello {{ name }}"}})).await;
    (node, double)
}

/// A request that a receiver of callbacks got: headers and body.
pub(crate) type Got = (HeaderMap, Bytes);

async fn keep(State(got): State<Arc<Mutex<Vec<Got>>>>, headers: HeaderMap, body: Bytes) {
    got.lock().push((headers, body));
}

/// Listens for callbacks; gives where, and what came.
pub(crate) async fn receiver() -> (SocketAddr, Arc<Mutex<Vec<Got>>>) {
    let got: Arc<Mutex<Vec<Got>>> = Arc::default();
    let router = Router::new().route("/hook", post(keep)).with_state(Arc::clone(&got));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (addr, got)
}
