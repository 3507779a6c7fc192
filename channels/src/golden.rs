//! Golden requests: sends one content through an account and shows what went over the wire, with secrets masked.

use serde_json::{Map, Value, json};
use tidings_contract::{Blame, Outcome, Secret, Time};

use crate::Registry;
use crate::testing::{HttpReply, HttpRequest, HttpServer, call, open};

/// The moment at which everything here is sent: 2023-11-14T22:13:20.123Z.
pub(crate) const AT: Time = Time(1_700_000_000_123);

/// Headers that a supplier looks at; all others are the transport's matter.
const TELLING: [&str; 9] = [
    "authorization",
    "content-type",
    "token",
    "apns-id",
    "apns-topic",
    "apns-push-type",
    "apns-priority",
    "apns-expiration",
    "apns-collapse-id",
];

/// An account to be tried.
#[derive(Clone)]
pub(crate) struct Trial {
    /// Its provider.
    pub(crate) provider: &'static str,
    /// Its settings without `endpoint`.
    pub(crate) settings: Value,
    /// The path of the endpoint.
    pub(crate) path: &'static str,
    /// The token that the host gives.
    pub(crate) token: Option<&'static str>,
    /// What must be masked.
    pub(crate) secrets: &'static [&'static str],
}

impl Trial {
    /// Opens the account against `server`.
    pub(crate) fn account(&self, server: &HttpServer) -> std::sync::Arc<dyn tidings_contract::Channel> {
        let mut settings = self.settings.clone();
        let url = server.url(self.path);
        settings["endpoint"] = json!(url.trim_end_matches('/'));
        open(&Registry::new(), self.provider, settings).expect("the settings are right")
    }

    /// Sends `content` to all of `to`, is answered with `replies` in turn, and gives outcomes and requests.
    pub(crate) async fn send(
        &self,
        to: &[&str],
        content: &Value,
        replies: impl IntoIterator<Item = HttpReply>,
    ) -> (Vec<Outcome>, Vec<Value>) {
        let server = HttpServer::start(HttpReply::status(500)).await.expect("a free port");
        server.then(replies);
        let mut call = call(to, content.clone());
        call.at = AT;
        call.token = self.token.map(Secret::new);
        let outcomes = self.account(&server).send(&call).await;
        (outcomes, self.requests(&server))
    }

    /// What the server was sent.
    pub(crate) fn requests(&self, server: &HttpServer) -> Vec<Value> {
        server.requests().iter().map(|request| self.shown(request)).collect()
    }

    fn shown(&self, request: &HttpRequest) -> Value {
        let telling = request.headers.iter().filter(|(name, _)| TELLING.contains(&name.as_str()));
        let headers: Map<String, Value> =
            telling.map(|(name, value)| (name.clone(), Value::from(self.masked(value)))).collect();
        let text = self.masked(&String::from_utf8_lossy(&request.body));
        let body = serde_json::from_str(&text).unwrap_or(Value::from(text));
        json!({
            "request": format!("{} {}", request.method, self.masked(&request.target)),
            "headers": headers,
            "body": body,
        })
    }

    fn masked(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// Checks that each content makes its golden body, at `request` with `headers`.
    pub(crate) async fn goldens(
        &self,
        to: &str,
        taken: &HttpReply,
        request: &str,
        headers: &Value,
        cases: impl IntoIterator<Item = (Value, Value)>,
    ) {
        for (content, body) in cases {
            let (outcomes, requests) = self.send(&[to], &content, [taken.clone()]).await;
            assert_eq!(requests, [json!({"request": request, "headers": headers, "body": body})], "{content}");
            assert_eq!(outcomes[0].class(), "delivered", "{content}: {outcomes:?}");
        }
    }

    /// Checks that each answer comes to the outcome that is told in brief.
    pub(crate) async fn classes(&self, to: &str, content: &Value, cases: impl IntoIterator<Item = (HttpReply, &str)>) {
        for (reply, expected) in cases {
            let (outcomes, _) = self.send(&[to], content, [reply.clone()]).await;
            assert_eq!(brief(&outcomes[0]), expected, "{reply:?}: {outcomes:?}");
        }
    }
}

/// Answers of `status` with a code and its expected outcome, for tables.
pub(crate) fn coded(
    status: u16,
    field: &'static str,
    words: &'static str,
    cases: &[(i64, &'static str)],
) -> Vec<(HttpReply, &'static str)> {
    let reply = |code: &i64| HttpReply::json(status, &json!({field: code, words: "the words"}));
    cases.iter().map(|(code, expected)| (reply(code), *expected)).collect()
}

/// An outcome in a few words: `delivered id`, `later code 7000`, `never code Recipient`, `unknown code`.
pub(crate) fn brief(outcome: &Outcome) -> String {
    let code = outcome.reason().map_or("", |reason| reason.code.as_str());
    match outcome {
        Outcome::Delivered { provider_id: Some(id) } => format!("delivered {id}"),
        Outcome::Later { after_ms: Some(ms), .. } => format!("later {code} {ms}"),
        Outcome::Never { blame: Blame::Account, .. } => format!("never {code} Account"),
        Outcome::Never { blame: Blame::Content, .. } => format!("never {code} Content"),
        Outcome::Never { blame: Blame::Recipient, .. } => format!("never {code} Recipient"),
        Outcome::Never { blame: Blame::Gone, .. } => format!("never {code} Gone"),
        other => format!("{} {code}", other.class()).trim_end().to_owned(),
    }
}
