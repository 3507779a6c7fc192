//! `dingtalk_robot`: posts to a custom robot of a DingTalk group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Setting, Settings, Target, Time,
};

use crate::SandboxInbox;
use crate::http::{Answer, Client, ClientOptions, HeaderMap, HeaderValue, Method, USER_AGENT, Url, each, header};
use crate::reading::Reading;
use crate::status::{outcome_of_status, without, words};

const DEFAULT_URL: &str = "https://oapi.dingtalk.com/robot/send";
/// A robot that sends more than 20 messages in a minute is shut out for ten (vendor's page on custom robots).
const SHUT_OUT_MS: u64 = 600_000;

static INFO: ProviderInfo = ProviderInfo {
    name: "dingtalk_robot",
    channel: "dingtalk_robot",
    doc: "Posts to a custom robot of a DingTalk group. Vendor's limit: 20 messages a minute for each robot.",
    source: "DingTalk open platform: Custom robot access; Security settings of custom robots",
    settings: &[
        Setting {
            name: "access_token",
            required: true,
            secret: true,
            doc: "The access_token in the robot's webhook address, without the rest of the address.",
        },
        Setting {
            name: "secret",
            required: false,
            secret: true,
            doc: "The robot's signing secret (SEC…); not needed when the robot is guarded by keywords or addresses.",
        },
        Setting {
            name: "url",
            required: false,
            secret: false,
            doc: "The address without its query; default https://oapi.dingtalk.com/robot/send. Must be https unless \
                  it is on this machine.",
        },
        Setting {
            name: "timeout_ms",
            required: false,
            secret: false,
            doc: "How long one call may take, in milliseconds, 100 to 20,000; default 10,000.",
        },
    ],
    example: r#"{"access_token": "0123456789abcdef", "secret": "SEC0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: Duration::from_secs(25),
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(DingtalkRobot)
}

#[derive(Debug)]
struct DingtalkRobot;

struct Account {
    client: Client,
    url: Url,
    access_token: Secret,
    secret: Option<Secret>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Provider for DingtalkRobot {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let access_token = reading.needed_secret("access_token");
        if access_token.is_some_and(|token| token.expose().contains([':', '/', '=', '&'])) {
            reading.wrong("access_token", "must be what stands after access_token= and nothing else");
        }
        let secret = reading.secret("secret").cloned();
        let url = Url::parse(reading.text("url").unwrap_or(DEFAULT_URL)).ok().filter(is_safe);
        let url = reading.known("url", "must be an https URL without a query", url);
        let (access_token, url) = reading.finish(access_token.cloned().zip(url))?;
        let client = Client::new(ClientOptions::provider(timeout, false))
            .map_err(|failure| vec![FieldError::new("settings", failure.to_string())])?;
        Ok(Arc::new(Account { client, url, access_token, secret }))
    }
}

/// The token stands in the query, so it must not travel in the clear, except to this machine.
fn is_safe(url: &Url) -> bool {
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    url.query().is_none() && (url.scheme() == "https" || (url.scheme() == "http" && local))
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.post(call.at, target)).await
    }
}

impl Account {
    async fn post(&self, at: Time, target: &Target) -> Outcome {
        let body = match body(&target.content) {
            Ok(body) => Bytes::from(body.to_string()),
            Err(detail) => return Outcome::never(Blame::Content, "content", detail),
        };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        match self.client.call(Method::POST, self.signed(at), headers, body).await {
            // Should the vendor ever repeat our own secrets, they go no further.
            Ok(answer) => without(judge(&answer, at), std::iter::once(&self.access_token).chain(&self.secret)),
            Err(failure) => failure.into(),
        }
    }

    /// The address with the token, the time in milliseconds and the signature over both time and secret.
    fn signed(&self, at: Time) -> Url {
        let mut url = self.url.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("access_token", self.access_token.expose());
        if let Some(secret) = &self.secret {
            query.append_pair("timestamp", &at.0.to_string());
            query.append_pair("sign", &sign(secret, at));
        }
        drop(query);
        url
    }
}

/// Base64 of HMAC-SHA256 with the secret as key over `<milliseconds>\n<secret>`.
fn sign(secret: &Secret, at: Time) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    mac.update(format!("{}\n{}", at.0, secret.expose()).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// What every answer holds.
#[derive(Deserialize)]
struct Verdict {
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    if !answer.is_success() {
        return outcome_of_status(answer, at);
    }
    match answer.json::<Verdict>() {
        Ok(verdict) => judge_code(verdict.errcode, verdict.errmsg),
        Err(_) => Outcome::unknown("answer", words(answer)),
    }
}

/// Classes the vendor's error codes. A code not listed counts as `Later`: the message was not taken, and attempts
/// are limited anyway.
fn judge_code(errcode: i64, errmsg: String) -> Outcome {
    let keyword = errmsg.contains("keyword") || errmsg.contains("关键词");
    let reason = Reason::new(format!("errcode_{errcode}"), errmsg);
    match errcode {
        0 => Outcome::Delivered { provider_id: None },
        // Too many in a minute.
        130_101 | 410_100 => Outcome::Later { reason, after_ms: Some(SHUT_OUT_MS) },
        // The message does not hold the keyword the robot is guarded by.
        310_000 if keyword => Outcome::Never { reason, blame: Blame::Content },
        // Wrong signature or address; no such token; robot stopped or gone; group dissolved.
        310_000 | 300_001 | 300_005 | 400_101 | 400_102 | 400_106 | 400_013 => {
            Outcome::Never { reason, blame: Blame::Account }
        }
        // A field is missing; no such type; too long; unsafe link, text, picture or content.
        40_035 | 43_004 | 400_105 | 101_002 | 460_101 | 430_101..=430_104 => {
            Outcome::Never { reason, blame: Blame::Content }
        }
        _ => Outcome::Later { reason, after_ms: None },
    }
}

/// The vendor's message out of our content.
fn body(content: &Value) -> Result<Value, String> {
    let text = |name: &str| {
        let value = content.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        value.ok_or_else(|| format!("{name} is missing"))
    };
    let kind = text("type")?;
    let mut part = Map::new();
    match kind {
        "text" => set(&mut part, "content", text("text")?),
        "markdown" | "link" | "actionCard" => {
            set(&mut part, "title", text("title")?);
            set(&mut part, "text", text("text")?);
        }
        "feedCard" => {
            part.insert("links".into(), rows(content, "links", &LINK)?);
        }
        _ => return Err(format!("{kind} is not a type of message")),
    }
    match kind {
        "link" => {
            set(&mut part, "messageUrl", text("message_url")?);
            set(&mut part, "picUrl", text("pic_url").unwrap_or_default());
        }
        "actionCard" => {
            let across = matches!(content.get("btn_orientation"), Some(Value::Number(n)) if n.as_u64() == Some(1))
                || text("btn_orientation").is_ok_and(|text| text == "1");
            set(&mut part, "btnOrientation", if across { "1" } else { "0" });
            if content.get("btns").is_some_and(|btns| !btns.is_null()) {
                part.insert("btns".into(), rows(content, "btns", &BUTTON)?);
            } else {
                set(&mut part, "singleTitle", text("single_title")?);
                set(&mut part, "singleURL", text("single_url")?);
            }
        }
        _ => {}
    }
    let mut body = json!({ "msgtype": kind, kind: part });
    if matches!(kind, "text" | "markdown") {
        body["at"] = mentions(content);
    }
    Ok(body)
}

/// Our names and the vendor's, for the rows of a feedCard and the buttons of an actionCard.
const LINK: [(&str, &str); 3] = [("title", "title"), ("message_url", "messageURL"), ("pic_url", "picURL")];
const BUTTON: [(&str, &str); 2] = [("title", "title"), ("action_url", "actionURL")];

fn set(part: &mut Map<String, Value>, name: &str, text: &str) {
    part.insert(name.to_owned(), Value::from(text));
}

fn rows(content: &Value, name: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
    let items = content.get(name).and_then(Value::as_array).filter(|items| !items.is_empty());
    let mut rows = Vec::new();
    for item in items.ok_or_else(|| format!("{name} is missing"))? {
        let mut row = Map::new();
        for (ours, vendors) in fields {
            let text = item.get(ours).and_then(Value::as_str).ok_or_else(|| format!("{name}: {ours} is missing"))?;
            set(&mut row, vendors, text);
        }
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

/// Who is mentioned. A placeholder that was filled makes `at_all` a text, so the text `true` counts too.
fn mentions(content: &Value) -> Value {
    let list = |name: &str| content.get(name).filter(|value| value.is_array()).cloned().unwrap_or_else(|| json!([]));
    let all = content.get("at_all").is_some_and(|all| all == &json!(true) || all == &json!("true"));
    json!({ "atMobiles": list("at_mobiles"), "atUserIds": list("at_user_ids"), "isAtAll": all })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Registry;
    use crate::conformance::{Golden, Subject};
    use crate::testing::{HttpReply, HttpServer, call, open};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"access_token": "t0ken-1f", "secret": "SEC7c1d", "url": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            complains: |words| HttpReply::json(200, &json!({"errcode": 300_001, "errmsg": words})),
            golden: || {
                vec![Golden {
                    name: "text",
                    page: "DingTalk open platform: Custom robots, message types and data format",
                    to: &["ops"],
                    content: json!({"type": "text", "text": "hi", "at_mobiles": ["13800138000"]}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"errcode": 0, "errmsg": "ok"}))
    }

    #[tokio::test]
    async fn a_signed_post_is_what_the_vendor_describes() {
        let server = HttpServer::start(fine()).await.expect("a free port");
        let settings = json!({"access_token": "t0ken", "secret": "SECabc", "url": server.url("/robot/send")});
        let account = open(&Registry::new(), "dingtalk_robot", settings).expect("the settings are right");
        let mut call = call(&["ops"], json!({"type": "text", "text": "hi", "at_mobiles": ["13800138000"]}));
        call.at = Time(1_700_000_000_123);
        assert_eq!(account.send(&call).await, [Outcome::Delivered { provider_id: None }]);
        let request = &server.requests()[0];
        // Computed with: printf '1700000000123\nSECabc' | openssl dgst -sha256 -hmac SECabc -binary | base64
        let sign = "IqXBU%2FaLfwMA3S%2FtDcfRmHx5vWHw9Y1aOgFLBr1Ti9w%3D";
        let expected = format!("/robot/send?access_token=t0ken&timestamp=1700000000123&sign={sign}");
        assert_eq!(request.target, expected);
        assert_eq!(
            request.json(),
            json!({"msgtype": "text", "text": {"content": "hi"},
                   "at": {"atMobiles": ["13800138000"], "atUserIds": [], "isAtAll": false}})
        );
    }

    #[test]
    fn every_type_becomes_the_vendors_message() {
        let cases = [
            (
                json!({"type": "link", "title": "T", "text": "x", "message_url": "https://a.example"}),
                json!({"msgtype": "link",
                       "link": {"title": "T", "text": "x", "messageUrl": "https://a.example", "picUrl": ""}}),
            ),
            (
                json!({"type": "markdown", "title": "T", "text": "# x", "at_all": "true"}),
                json!({"msgtype": "markdown", "markdown": {"title": "T", "text": "# x"},
                       "at": {"atMobiles": [], "atUserIds": [], "isAtAll": true}}),
            ),
            (
                json!({"type": "actionCard", "title": "T", "text": "x", "single_title": "Go", "single_url": "u"}),
                json!({"msgtype": "actionCard", "actionCard": {"title": "T", "text": "x", "btnOrientation": "0",
                       "singleTitle": "Go", "singleURL": "u"}}),
            ),
            (
                json!({"type": "actionCard", "title": "T", "text": "x", "btn_orientation": 1,
                       "btns": [{"title": "Yes", "action_url": "y"}, {"title": "No", "action_url": "n"}]}),
                json!({"msgtype": "actionCard", "actionCard": {"title": "T", "text": "x", "btnOrientation": "1",
                       "btns": [{"title": "Yes", "actionURL": "y"}, {"title": "No", "actionURL": "n"}]}}),
            ),
            (
                json!({"type": "feedCard", "links": [{"title": "T", "message_url": "m", "pic_url": "p"}]}),
                json!({"msgtype": "feedCard",
                       "feedCard": {"links": [{"title": "T", "messageURL": "m", "picURL": "p"}]}}),
            ),
        ];
        for (content, expected) in cases {
            assert_eq!(body(&content), Ok(expected), "{content}");
        }
    }

    #[test]
    fn content_that_cannot_be_sent_says_what_is_missing() {
        let cases = [
            (json!({}), "type is missing"),
            (json!({"type": "text"}), "text is missing"),
            (json!({"type": "voice"}), "voice is not a type of message"),
            (json!({"type": "feedCard", "links": []}), "links is missing"),
            (json!({"type": "actionCard", "title": "T", "text": "x"}), "single_title is missing"),
            (json!({"type": "feedCard", "links": [{"title": "T"}]}), "links: message_url is missing"),
        ];
        for (content, expected) in cases {
            assert_eq!(body(&content), Err(expected.to_owned()), "{content}");
        }
    }

    #[test]
    fn every_known_code_has_its_class() {
        let cases = [
            (0, "ok", "delivered"),
            (-1, "system busy", "later"),
            (130_101, "send too fast, exceed 20 times per minute", "later 600000"),
            (410_100, "too fast", "later 600000"),
            (310_000, "keywords not in content", "never Content"),
            (310_000, "sign not match", "never Account"),
            (310_000, "ip 1.2.3.4 not in whitelist", "never Account"),
            (300_001, "token is not exist", "never Account"),
            (300_005, "token is not exist", "never Account"),
            (400_101, "no such token", "never Account"),
            (400_102, "robot stopped", "never Account"),
            (400_013, "group dissolved", "never Account"),
            (40_035, "param error", "never Content"),
            (460_101, "message too long, exceed 20000 bytes", "never Content"),
            (430_102, "improper text", "never Content"),
            (999_999, "who knows", "later"),
        ];
        for (code, message, expected) in cases {
            let outcome = judge_code(code, message.to_owned());
            let seen = match &outcome {
                Outcome::Later { after_ms: Some(ms), .. } => format!("later {ms}"),
                Outcome::Never { blame, .. } => format!("never {blame:?}"),
                other => other.class().to_owned(),
            };
            assert_eq!(seen, expected, "{code} {message}");
        }
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        for bad in ["http://oapi.dingtalk.com/robot/send", "ftp://a.example", "https://a.example/?b=c", "robot"] {
            let settings = json!({"access_token": "t", "url": bad});
            let errors = open(&Registry::new(), "dingtalk_robot", settings).expect_err("it is wrong");
            assert_eq!(errors[0].field, "settings.url", "{bad}");
        }
    }
}
