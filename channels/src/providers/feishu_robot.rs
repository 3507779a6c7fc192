//! `feishu_robot`: posts to a custom robot of a Feishu group.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tidings_contract::{Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Settings, Target, Time};

use crate::SandboxInbox;
use crate::catalog::feishu::ROBOT_KINDS;
use crate::codes::FEISHU;
use crate::http::{Answer, HeaderMap, each};
use crate::json_api::{
    Api, ApiSettings, DEADLINE, ENDPOINT, TIMEOUT, needed_secret, optional_secret, read_coded, refused,
};
use crate::message::{build, post};
use crate::reading::Reading;
use crate::status::{outcome_of_api, words};

static INFO: ProviderInfo = ProviderInfo {
    name: "feishu_robot",
    channel: "feishu_robot",
    doc: "Posts to a custom robot of a Feishu group. Vendor's limit: 100 messages a minute and 5 a second for each robot.",
    source: "Feishu open platform: Custom bot usage guide",
    settings: &[
        needed_secret(
            "hook",
            "What stands after /hook/ in the robot's webhook address, without the rest of the address.",
        ),
        optional_secret(
            "secret",
            "The robot's signing secret; not needed when it is guarded by keywords or addresses.",
        ),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"hook": "00000000-0000-4000-8000-000000000000", "secret": "0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(FeishuRobot)
}

#[derive(Debug)]
struct FeishuRobot;

#[derive(Debug)]
struct Account {
    api: Api,
    hook: Secret,
    secret: Option<Secret>,
}

impl Provider for FeishuRobot {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let hook = reading.needed_secret("hook").cloned();
        if hook.as_ref().is_some_and(|hook| hook.expose().contains([':', '/', '?', '#', '%'])) {
            reading.wrong("hook", "must be what stands after /hook/ and nothing else");
        }
        let secret = reading.secret("secret").cloned();
        let api = ApiSettings::read(&mut reading, "https://open.feishu.cn");
        let (hook, api) = reading.finish(hook.zip(api))?;
        let api = api.open(std::iter::once(&hook).chain(&secret))?;
        Ok(Arc::new(Account { api, hook, secret }))
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
        let mut body = match body(&target.content) {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        if let Some(secret) = &self.secret {
            let seconds = (at.0 / 1_000).to_string();
            body.insert("sign".to_owned(), sign(secret, &seconds).into());
            body.insert("timestamp".to_owned(), seconds.into());
        }
        let url = self.api.url(&format!("/open-apis/bot/v2/hook/{}", self.hook.expose()), &[]);
        let sent = self.api.post(url, HeaderMap::new(), &body.into()).await;
        self.api.settle(sent, None, |answer| judge(answer, at))
    }
}

/// Base64 of HMAC-SHA256 over nothing, with `<seconds>\n<secret>` as the key: unlike DingTalk's, where both change places.
fn sign(secret: &Secret, seconds: &str) -> String {
    let key = format!("{seconds}\n{}", secret.expose());
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Reads `code`, or the `StatusCode` of older robots; both may stand in one answer.
fn judge(answer: &Answer, at: Time) -> Outcome {
    let said: Value = match read_coded(answer, at) {
        Ok(said) => said,
        Err(outcome) => return outcome,
    };
    let code = said.get("code").or(said.get("StatusCode")).and_then(Value::as_i64);
    let msg = said.get("msg").or(said.get("StatusMessage")).and_then(Value::as_str).unwrap_or_default();
    match code {
        Some(0) => Outcome::Delivered { provider_id: None },
        Some(code) => FEISHU.outcome(&code, msg),
        None if !answer.is_success() => outcome_of_api(answer, at),
        None => Outcome::unknown("answer", words(answer)),
    }
}

/// The vendor's message out of our content.
fn body(content: &Value) -> Result<Map<String, Value>, String> {
    let (kind, mut part) = build(ROBOT_KINDS, content)?;
    let (name, part) = match kind.vendors {
        "interactive" => ("card", part.remove("card").unwrap_or_default()),
        "post" => ("content", json!({"post": post(part)?})),
        _ => ("content", part.into()),
    };
    Ok(Map::from_iter([("msg_type".to_owned(), kind.vendors.into()), (name.to_owned(), part)]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Subject, every};
    use crate::golden::{Trial, coded};
    use crate::testing::HttpReply;

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"hook": "h00k-7f2c", "secret": "s3cret-1d", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"code": 19_001, "msg": words})),
            answers: || every(&FEISHU, 777, |code| HttpReply::json(200, &json!({"code": code, "msg": "the words"}))),
            golden: || {
                let line =
                    json!([{"tag": "text", "text": "a"}, {"tag": "a", "text": "look", "href": "https://a.example"}]);
                let at = json!([{"tag": "at", "user_id": "all"}]);
                let card = json!({"schema": "2.0", "body": {"elements": []}});
                Golden::each(
                    "Feishu open platform: Custom bot usage guide",
                    &["ops"],
                    [
                        ("text", json!({"type": "text", "text": "hi"})),
                        ("post", json!({"type": "post", "title": "T", "paragraphs": [line, at]})),
                        ("post_one_paragraph", json!({"type": "post", "locale": "en_us", "paragraphs": line})),
                        ("image", json!({"type": "image", "image_key": "img_7ea74629"})),
                        ("share_chat", json!({"type": "share_chat", "share_chat_id": "oc_f5b1"})),
                        ("interactive", json!({"type": "interactive", "card": card})),
                    ],
                )
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(
            200,
            &json!({"code": 0, "msg": "success", "data": {}, "StatusCode": 0, "StatusMessage": "success"}),
        )
    }

    fn trial() -> Trial {
        Trial { provider: INFO.name, settings: json!({"hook": "h00k"}), path: "", token: None, secrets: &["h00k"] }
    }

    #[tokio::test]
    async fn a_signed_message_carries_seconds_and_signature() {
        let mut trial = trial();
        trial.settings["secret"] = json!("s3cret");
        let (outcomes, requests) = trial.send(&["ops"], &json!({"type": "text", "text": "hi"}), [fine()]).await;
        assert_eq!(outcomes, [Outcome::Delivered { provider_id: None }]);
        // Computed with: printf '' | openssl dgst -sha256 -mac HMAC -macopt key:$'1700000000\ns3cret' -binary | base64
        assert_eq!(
            requests[0]["body"],
            json!({"msg_type": "text", "content": {"text": "hi"}, "timestamp": "1700000000", "sign": SIGN})
        );
    }

    const SIGN: &str = "IX3eHI0/v/Td7jqJ0ynSEK3Dq5JY3HUZeoeMgVZeZGo=";

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (9_499, "never code_9499 Content"),
            (11_232, "later code_11232 60000"),
            (19_001, "never code_19001 Account"),
            (19_021, "never code_19021 Account"),
            (19_022, "never code_19022 Account"),
            (19_024, "never code_19024 Content"),
            (777, "later code_777"),
        ];
        let content = json!({"type": "text", "text": "hi"});
        trial().classes("ops", &content, coded(200, "code", "msg", &cases)).await;
        trial().classes("ops", &content, coded(400, "code", "msg", &cases)).await;
        let old = [(19_024, "never code_19024 Content"), (0, "delivered")];
        trial().classes("ops", &content, coded(200, "StatusCode", "StatusMessage", &old)).await;
        let without = [
            (HttpReply::json(200, &json!({})), "unknown answer"),
            (HttpReply::json(404, &json!({})), "never http_404 Account"),
        ];
        trial().classes("ops", &content, without).await;
    }
}
