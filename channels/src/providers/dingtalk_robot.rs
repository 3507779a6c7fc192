//! `dingtalk_robot`: posts to a custom robot of a DingTalk group.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time,
};

use crate::SandboxInbox;
use crate::catalog::dingtalk::ROBOT_KINDS;
use crate::http::{Answer, HeaderMap, Url, each};
use crate::json_api::{
    Api, ApiSettings, DEADLINE, ENDPOINT, TIMEOUT, Verdict, needed_secret, optional, optional_secret, read, refused,
};
use crate::message::build;
use crate::reading::Reading;

/// A robot that sends more than 20 messages in a minute is shut out for ten (vendor's page on custom robots).
const SHUT_OUT_MS: u64 = 600_000;

static INFO: ProviderInfo = ProviderInfo {
    name: "dingtalk_robot",
    channel: "dingtalk_robot",
    doc: "Posts to a custom robot of a DingTalk group. Vendor's limit: 20 messages a minute for each robot.",
    source: "DingTalk open platform: Custom robot access; Security settings of custom robots",
    settings: &[
        needed_secret(
            "access_token",
            "The access_token in the robot's webhook address, without the rest of the address.",
        ),
        optional_secret(
            "secret",
            "The robot's signing secret (SEC…); not needed when the robot is guarded by keywords or addresses.",
        ),
        ENDPOINT,
        optional(
            "url",
            "Older than endpoint: the address with its path and without its query; default \
             https://oapi.dingtalk.com/robot/send.",
        ),
        TIMEOUT,
    ],
    example: r#"{"access_token": "0123456789abcdef", "secret": "SEC0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(DingtalkRobot)
}

#[derive(Debug)]
struct DingtalkRobot;

#[derive(Debug)]
struct Account {
    api: Api,
    path: &'static str,
    access_token: Secret,
    secret: Option<Secret>,
}

impl Provider for DingtalkRobot {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let access_token = reading.needed_secret("access_token").cloned();
        if access_token.as_ref().is_some_and(|token| token.expose().contains([':', '/', '=', '&'])) {
            reading.wrong("access_token", "must be what stands after access_token= and nothing else");
        }
        let secret = reading.secret("secret").cloned();
        let whole = settings.plain.contains_key("url");
        let (name, path) = if whole { ("url", "") } else { (ENDPOINT.name, "/robot/send") };
        let api = ApiSettings::read_at(&mut reading, name, "https://oapi.dingtalk.com");
        let (access_token, api) = reading.finish(access_token.zip(api))?;
        let api = api.open(std::iter::once(&access_token).chain(&secret))?;
        Ok(Arc::new(Account { api, path, access_token, secret }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let body = match body(&target.content) {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        let sent = self.api.post(self.signed(at), HeaderMap::new(), &body).await;
        self.api.settle(sent, None, |answer| judge(answer, at))
    }

    /// The address with the token, the time in milliseconds and the signature over both time and secret.
    fn signed(&self, at: Time) -> Url {
        let time = at.0.to_string();
        let mut query = vec![("access_token", self.access_token.expose())];
        let sign = self.secret.as_ref().map(|secret| sign(secret, at));
        if let Some(sign) = &sign {
            query.extend([("timestamp", time.as_str()), ("sign", sign.as_str())]);
        }
        self.api.url(self.path, &query)
    }
}

/// Base64 of HMAC-SHA256 with the secret as key over `<milliseconds>\n<secret>`.
fn sign(secret: &Secret, at: Time) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    mac.update(format!("{}\n{}", at.0, secret.expose()).as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    match read::<Verdict>(answer, at) {
        Ok(verdict) => judge_code(verdict.errcode, verdict.errmsg),
        Err(outcome) => outcome,
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
    let (kind, mut part) = build(ROBOT_KINDS, content)?;
    let mut at = json!({"atMobiles": [], "atUserIds": [], "isAtAll": false});
    for name in ["atMobiles", "atUserIds", "isAtAll"] {
        if let Some(who) = part.remove(name) {
            at[name] = who;
        }
    }
    match kind.name {
        "link" => {
            part.entry("picUrl").or_insert_with(|| "".into());
        }
        "actionCard" => {
            part.entry("btnOrientation").or_insert_with(|| "0".into());
            if part.contains_key("btns") {
                part.retain(|name, _| !name.starts_with("single"));
            } else if let Some((lacking, _)) = [("single_title", "singleTitle"), ("single_url", "singleURL")]
                .iter()
                .find(|(_, name)| !part.contains_key(*name))
            {
                return Err(format!("{lacking} is missing"));
            }
        }
        // Who does not stand in the text of a markdown is not mentioned by it.
        "markdown" => {
            let mut text = part["text"].as_str().unwrap_or_default().to_owned();
            let who = ["atMobiles", "atUserIds"].iter().flat_map(|name| at[*name].as_array().into_iter().flatten());
            for name in who.filter_map(Value::as_str) {
                if !text.contains(&format!("@{name}")) {
                    text.push_str(&format!(" @{name}"));
                }
            }
            part.insert("text".to_owned(), text.into());
        }
        _ => {}
    }
    let mut body = json!({ "msgtype": kind.vendors, kind.vendors: part });
    if matches!(kind.name, "text" | "markdown") {
        body["at"] = at;
    }
    Ok(body)
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
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"errcode": 300_001, "errmsg": words})),
            answers,
            golden: || {
                let buttons = json!([{"title": "Yes", "action_url": "y"}, {"title": "No", "action_url": "n"}]);
                Golden::each(
                    "DingTalk open platform: Custom robots, message types and data format",
                    &["ops"],
                    [
                        ("text", json!({"type": "text", "text": "hi", "at_mobiles": ["13800138000"]})),
                        (
                            "link",
                            json!({"type": "link", "title": "T", "text": "x", "message_url": "https://a.example"}),
                        ),
                        ("markdown", json!({"type": "markdown", "title": "T", "text": "# x", "at_all": "true"})),
                        (
                            "markdown_mentions",
                            json!({"type": "markdown", "title": "T", "text": "x @u1", "at_user_ids": ["u1", "u2"],
                                "at_mobiles": ["13800138000"]}),
                        ),
                        (
                            "actionCard",
                            json!({"type": "actionCard", "title": "T", "text": "x", "single_title": "Go",
                                "single_url": "u"}),
                        ),
                        (
                            "actionCard_buttons",
                            json!({"type": "actionCard", "title": "T", "text": "x", "btn_orientation": 1, "btns": buttons}),
                        ),
                        (
                            "feedCard",
                            json!({"type": "feedCard", "links": [{"title": "T", "message_url": "m", "pic_url": "p"}]}),
                        ),
                    ],
                )
            },
            ..Subject::HTTP
        })
    }

    /// The documented codes, told apart by the vendor's words where one stands for several things.
    fn answers() -> Vec<(HttpReply, String)> {
        let cases = [
            (-1, "system busy", "later errcode_-1"),
            (130_101, "send too fast, exceed 20 times per minute", "later errcode_130101 after 600000"),
            (410_100, "too fast", "later errcode_410100 after 600000"),
            (310_000, "keywords not in content", "never errcode_310000 Content"),
            (310_000, "关键词", "never errcode_310000 Content"),
            (310_000, "sign not match", "never errcode_310000 Account"),
            (310_000, "ip 1.2.3.4 not in whitelist", "never errcode_310000 Account"),
            (300_001, "token is not exist", "never errcode_300001 Account"),
            (300_005, "token is not exist", "never errcode_300005 Account"),
            (400_101, "no such token", "never errcode_400101 Account"),
            (400_102, "robot stopped", "never errcode_400102 Account"),
            (400_106, "robot gone", "never errcode_400106 Account"),
            (400_013, "group dissolved", "never errcode_400013 Account"),
            (40_035, "param error", "never errcode_40035 Content"),
            (43_004, "invalid content type", "never errcode_43004 Content"),
            (400_105, "no such type", "never errcode_400105 Content"),
            (101_002, "text too long", "never errcode_101002 Content"),
            (460_101, "message too long, exceed 20000 bytes", "never errcode_460101 Content"),
            (430_101, "unsafe link", "never errcode_430101 Content"),
            (430_102, "improper text", "never errcode_430102 Content"),
            (430_103, "improper picture", "never errcode_430103 Content"),
            (430_104, "improper content", "never errcode_430104 Content"),
            (999_999, "who knows", "later errcode_999999"),
        ];
        let says = |code: i64, words: &str| HttpReply::json(200, &json!({"errcode": code, "errmsg": words}));
        cases.iter().map(|(code, words, expected)| (says(*code, words), (*expected).to_owned())).collect()
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

    #[tokio::test]
    async fn an_account_with_an_endpoint_posts_below_it() {
        let server = HttpServer::start(fine()).await.expect("a free port");
        let settings = json!({"access_token": "t0ken", "endpoint": server.url("/double")});
        let account = open(&Registry::new(), "dingtalk_robot", settings).expect("the settings are right");
        account.send(&call(&["ops"], json!({"type": "text", "text": "hi"}))).await;
        assert_eq!(server.requests()[0].target, "/double/robot/send?access_token=t0ken");
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
