//! `webhook`: posts the content as JSON, signed the Standard Webhooks way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Setting, Settings, Target, Time,
};

use crate::SandboxInbox;
use crate::http::{Client, ClientOptions, HeaderMap, HeaderName, HeaderValue, Method, USER_AGENT, Url, each, header};
use crate::reading::Reading;
use crate::status::{outcome_of_status, without};

static INFO: ProviderInfo = ProviderInfo {
    name: "webhook",
    channel: "webhook",
    doc: "Posts the content as JSON to the recipient's URL, signed so that the receiver can tell who sent it.",
    source: "Standard Webhooks 1.0.0 (standardwebhooks.com); RFC 9110",
    settings: &[
        Setting {
            name: "secret",
            required: true,
            secret: true,
            doc: "whsec_ and 24 to 64 bytes in base64. While it is being changed: the new and the old one with a \
                  space between them; both then sign.",
        },
        Setting {
            name: "timeout_ms",
            required: false,
            secret: false,
            doc: "How long one call may take, in milliseconds, 100 to 20,000; default 10,000.",
        },
        Setting {
            name: "allow_private",
            required: false,
            secret: false,
            doc: "Whether hosts outside the public internet may be called, this machine included; default false.",
        },
    ],
    example: r#"{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "timeout_ms": 5000}"#,
    max_recipients: 1,
    deadline: Duration::from_secs(25),
};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Webhook)
}

#[derive(Debug)]
struct Webhook;

struct Account {
    client: Client,
    keys: Vec<Hmac<Sha256>>,
    /// The same as texts, which a receiver's answer must not carry into a reason.
    secrets: Vec<Secret>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Provider for Webhook {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let public_only = !reading.flag("allow_private", false);
        let secrets = reading.needed_secret("secret").map_or("", |secret| secret.expose());
        let keys = secrets.split_whitespace().map(key).collect::<Option<Vec<_>>>().filter(|keys| keys.len() <= 2);
        let keys = reading.known("secret", "must be whsec_ and 24 to 64 bytes in base64, or two of them", keys);
        let keys = reading.finish(keys)?;
        let client = Client::new(ClientOptions::provider(timeout, public_only))
            .map_err(|failure| vec![FieldError::new("settings", failure.to_string())])?;
        let secrets = secrets.split_whitespace().map(Secret::new).collect();
        Ok(Arc::new(Account { client, keys, secrets }))
    }
}

/// Reads one secret; the lengths are those of the specification's "Signature scheme".
fn key(secret: &str) -> Option<Hmac<Sha256>> {
    let bytes = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    if !(24..=64).contains(&bytes.len()) {
        return None;
    }
    Hmac::new_from_slice(&bytes).ok()
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.post(call.at, target)).await
    }

    fn calls_recipients(&self) -> bool {
        true
    }
}

impl Account {
    async fn post(&self, at: Time, target: &Target) -> Outcome {
        let Ok(url) = Url::parse(&target.to) else {
            return Outcome::never(Blame::Recipient, "url", "not a URL");
        };
        let body = match serde_json::to_vec(&*target.content) {
            Ok(body) => Bytes::from(body),
            Err(error) => return Outcome::never(Blame::Content, "json", error.to_string()),
        };
        let Some(headers) = self.headers(&target.repeat_id(), at.0 / 1_000, &body) else {
            return Outcome::never(Blame::Content, "header", "the delivery's id cannot stand in a header");
        };
        match self.client.call_for_head(Method::POST, url, headers, body).await {
            Ok(answer) => without(outcome_of_status(&answer, at), &self.secrets),
            Err(failure) => failure.into(),
        }
    }

    /// The id stays the same over all attempts, so that the receiver can drop repeats by it.
    fn headers(&self, id: &str, seconds: u64, body: &[u8]) -> Option<HeaderMap> {
        let seconds = seconds.to_string();
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::USER_AGENT, USER_AGENT);
        let signatures = self.sign(id, &seconds, body);
        headers.insert(SIGNATURE, HeaderValue::from_maybe_shared(Bytes::from(signatures)).ok()?);
        headers.insert(ID, HeaderValue::from_str(id).ok()?);
        headers.insert(TIMESTAMP, HeaderValue::from_maybe_shared(Bytes::from(seconds)).ok()?);
        Some(headers)
    }

    fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> String {
        let mut signatures = String::with_capacity(self.keys.len() * 48);
        for key in &self.keys {
            let mut mac = key.clone();
            for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
                mac.update(part);
            }
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str("v1,");
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::Registry;
    use crate::conformance::{Golden, Subject};
    use crate::testing::{HttpReply, HttpServer, call, open};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |_| json!({"secret": SECRET, "allow_private": true, "timeout_ms": 3_000}),
            content: || json!({"type": "test", "text": "hi"}),
            taken: || HttpReply::status(200),
            // A receiver may say what it likes: its yes is the status.
            gibberish: "delivered",
            golden: || {
                vec![Golden {
                    name: "open",
                    page: "Standard Webhooks 1.0.0: Webhook headers, Signature scheme",
                    to: &[],
                    content: json!({"type": "invoice.paid", "data": {"id": "错"}}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn account(secrets: &str) -> Account {
        let client = Client::new(ClientOptions::provider(Duration::from_secs(5), false)).expect("TLS is there");
        let keys = secrets.split(' ').map(|secret| key(secret).expect("a secret")).collect();
        Account { client, keys, secrets: Vec::new() }
    }

    #[test]
    fn the_published_example_has_the_published_signature() {
        // The example of the specification's reference libraries.
        let signature = account(SECRET).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_changed_both_sign_in_the_order_given() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = account(&format!("{other} {SECRET}")).sign("id", "1", b"{}");
        let [first, second] = [&other, SECRET].map(|secret| account(secret).sign("id", "1", b"{}"));
        assert_eq!(both, format!("{first} {second}"));
    }

    #[tokio::test]
    async fn the_receiver_can_verify_what_it_got_with_an_independent_library() {
        let server = HttpServer::start(HttpReply::status(204)).await.expect("a free port");
        let settings = json!({"secret": SECRET, "allow_private": true});
        let account = open(&Registry::new(), "webhook", settings).expect("the settings are right");
        let mut call = call(&[&server.url("/in?a=b")], json!({"type": "invoice.paid", "data": {"id": "错"}}));
        for attempt in 1..=2 {
            call.targets[0].attempt = attempt;
            assert_eq!(account.send(&call).await, [Outcome::Delivered { provider_id: None }]);
        }
        let requests = server.requests();
        let [first, second] = requests.as_slice() else { panic!("two requests were made") };
        assert_eq!((first.method.as_str(), first.target.as_str()), ("POST", "/in?a=b"));
        assert_eq!(first.json(), *call.targets[0].content);
        assert_eq!(first.header("webhook-id"), Some(call.targets[0].delivery.to_string().as_str()));
        assert_eq!(first.header("webhook-id"), second.header("webhook-id"), "the id is stable over attempts");
        assert_eq!(first.header("content-type"), Some("application/json"));

        let at = call.at.0 / 1_000;
        assert_eq!(first.header("webhook-timestamp"), Some(at.to_string().as_str()));
        let expected = standardwebhooks::Webhook::new(SECRET)
            .expect("a secret")
            .sign(&call.targets[0].delivery.to_string(), i64::try_from(at).expect("small"), &first.body)
            .expect("it signs");
        assert_eq!(first.header("webhook-signature"), Some(expected.as_str()));
    }

    #[tokio::test]
    async fn private_hosts_are_not_called_unless_the_account_allows_it() {
        let server = HttpServer::start(HttpReply::status(204)).await.expect("a free port");
        let port = server.addr().port();
        let account = open(&Registry::new(), "webhook", json!({"secret": SECRET})).expect("the secret is enough");
        for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:7f00:1]", "169.254.169.254"] {
            let outcome = &account.send(&call(&[&format!("http://{host}:{port}/")], json!({}))).await[0];
            let Outcome::Never { reason, blame: Blame::Recipient } = outcome else { panic!("{host}: {outcome:?}") };
            assert_eq!(reason.code, "address_forbidden", "{host}");
        }
        assert_eq!(server.requests(), [], "nothing reached the server");
    }

    #[test]
    fn a_secret_of_the_wrong_form_is_refused_and_not_repeated() {
        let short = STANDARD.encode([1; 23]);
        let three = [SECRET; 3].join(" ");
        for bad in ["hunter2", "whsec_hunter2", &format!("whsec_{short}"), &three, " "] {
            let errors = open(&Registry::new(), "webhook", json!({ "secret": bad })).expect_err("it is wrong");
            assert_eq!(errors[0].field, "settings.secret");
            assert!(bad == " " || !format!("{errors:?}").contains(bad), "{errors:?}");
        }
    }
}
