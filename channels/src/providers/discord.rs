//! `discord`: posts by a webhook of a Discord channel.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Sent, Settings, Target, Time, Unsupported,
};

use crate::SandboxInbox;
use crate::catalog::chat::DISCORD_FIELDS;
use crate::http::{Answer, HeaderMap, Method, each};
use crate::json_api::Class::{Account as Ours, After, Content, Later, Recipient};
use crate::json_api::{
    Api, ApiSettings, Codes, DEADLINE, ENDPOINT, TIMEOUT, needed, needed_secret, read, read_coded, refused,
};
use crate::message::fields;
use crate::reading::Reading;
use crate::status::{MOST_WAIT_MS, outcome_of_api};

static INFO: ProviderInfo = ProviderInfo {
    name: "discord",
    channel: "discord",
    doc: "Posts by a webhook of a Discord channel. Vendor's limit: 5 messages in 2 seconds for each webhook.",
    source: "Discord: Webhook resource (Execute Webhook); Rate limits; Opcodes and status codes (JSON error codes)",
    settings: &[
        needed("webhook_id", "The number in the webhook's address: …/webhooks/<webhook_id>/<webhook_token>."),
        needed_secret("webhook_token", "What stands after that number."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"webhook_id": "223704706495545344", "webhook_token": "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba2939e72279b94526ff5d1bd4358d65cf11"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// The vendor's JSON error codes that a webhook can meet.
const CODES: Codes<i64> = Codes {
    prefix: "discord",
    classes: &[
        // Busy, slowed down, switched off for a while.
        (Later, &[130_000, 20_016, 20_022, 20_028, 20_029, 40_004, 40_006, 40_062, 160_006]),
        // The thread is archived or its channel is gone.
        (Recipient, &[10_003, 10_008, 50_083, 160_005]),
        (
            Content,
            &[
                20_009, 30_015, 30_039, 40_005, 40_067, 50_006, 50_035, 50_045, 50_046, 50_109, 160_002, 200_000,
                200_001, 220_001, 220_002, 220_003, 240_000,
            ],
        ),
        // No such webhook, wrong token, no rights, a channel that takes no messages, a blocked address.
        (
            Ours,
            &[10_004, 10_015, 10_016, 40_001, 40_333, 50_001, 50_008, 50_009, 50_013, 50_014, 50_024, 50_027, 220_004],
        ),
    ],
    other: Content,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Discord)
}

#[derive(Debug)]
struct Discord;

#[derive(Debug)]
struct Account {
    api: Api,
    id: String,
    token: Secret,
}

impl Provider for Discord {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let id = reading.needed_text("webhook_id").to_owned();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) {
            reading.wrong("webhook_id", "must be a number");
        }
        let token = reading.needed_secret("webhook_token").cloned();
        if token.as_ref().is_some_and(|token| token.expose().contains([':', '/', '?', '#', '%'])) {
            reading.wrong("webhook_token", "must be the token and nothing else");
        }
        let api = ApiSettings::read(&mut reading, "https://discord.com");
        let (token, api) = reading.finish(token.zip(api))?;
        Ok(Arc::new(Account { api: api.open([&token])?, id, token }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }

    async fn recall(&self, sent: &Sent, _: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let url = self.api.url(&format!("{}/messages/{}", self.path(), sent.provider_id), &[]);
        let sent = self.api.call(Method::DELETE, url, HeaderMap::new(), Bytes::new()).await;
        Ok(self.api.settle(sent, None, |answer| judge(answer, Time(0))))
    }
}

impl Account {
    fn path(&self) -> String {
        format!("/api/v10/webhooks/{}/{}", self.id, self.token.expose())
    }

    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let body = match fields(DISCORD_FIELDS, &target.content, "") {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        if !["content", "embeds", "components"].iter().any(|name| body.contains_key(*name)) {
            return refused("text is missing");
        }
        // Without `wait` the vendor says yes before it has looked. Components are left out without their own switch.
        let mut query = vec![("wait", "true")];
        query.extend(body.contains_key("components").then_some(("with_components", "true")));
        let sent = self.api.post(self.api.url(&self.path(), &query), HeaderMap::new(), &body.into()).await;
        self.api.settle(sent, None, |answer| judge(answer, at))
    }
}

#[derive(Deserialize)]
struct Message {
    id: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Limited {
    /// Seconds, with fractions.
    retry_after: f64,
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    match answer.status {
        // The answer to a recall has no body.
        204 => Outcome::Delivered { provider_id: None },
        200..=299 => match read::<Message>(answer, at) {
            Ok(message) => Outcome::Delivered { provider_id: Some(message.id) },
            Err(outcome) => outcome,
        },
        429 => match answer.json::<Limited>() {
            Ok(limited) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
                let ms = (limited.retry_after.clamp(0.0, 3_600.0) * 1_000.0).ceil() as u64;
                After(ms.min(MOST_WAIT_MS)).outcome("http_429".to_owned(), "too many messages")
            }
            Err(_) => outcome_of_api(answer, at),
        },
        _ => match read_coded::<Refusal>(answer, at) {
            // The general error: the status says more.
            Ok(Refusal { code: 0, .. }) => outcome_of_api(answer, at),
            Ok(refusal) => CODES.outcome(&refusal.code, &refusal.message),
            Err(outcome) => outcome,
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::{Golden, Subject, every};
    use crate::golden::{Trial, coded};
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"webhook_id": "223704", "webhook_token": "t0ken-5e1", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(401, &json!({"code": 50_027, "message": words})),
            answers: || {
                every(&CODES, 999_999, |code| HttpReply::json(400, &json!({"code": code, "message": "the words"})))
            },
            golden: || {
                let whole = json!({"text": "hi", "embeds": [{"title": "T"}], "username": "Tidings",
                    "avatar_url": "https://a", "allowed_mentions": {"parse": []}, "tts": false, "thread_name": "n",
                    "flags": 4});
                Golden::each(
                    "Discord: Webhook resource, Execute Webhook",
                    &["ops"],
                    [
                        ("text", json!({"text": "hi", "username": "Tidings"})),
                        ("embeds", json!({"embeds": [{"title": "T"}]})),
                        ("components", json!({"components": [{"type": 1, "components": []}]})),
                        ("everything", whole),
                    ],
                )
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"id": "1100", "channel_id": "5", "content": "hi"}))
    }

    fn trial() -> Trial {
        let settings = json!({"webhook_id": "223704", "webhook_token": "t0ken"});
        Trial { provider: INFO.name, settings, path: "", token: None, secrets: &["t0ken"] }
    }

    #[tokio::test]
    async fn every_documented_code_has_its_class() {
        let cases = [
            (50_006, "never discord_50006 Content"),
            (50_035, "never discord_50035 Content"),
            (40_005, "never discord_40005 Content"),
            (200_000, "never discord_200000 Content"),
            (220_001, "never discord_220001 Content"),
            (10_015, "never discord_10015 Account"),
            (50_027, "never discord_50027 Account"),
            (10_003, "never discord_10003 Recipient"),
            (50_083, "never discord_50083 Recipient"),
            (130_000, "later discord_130000"),
            (20_022, "later discord_20022"),
            (50_008, "never discord_50008 Account"),
            (0, "never http_400 Content"),
        ];
        let content = json!({"text": "hi"});
        trial().classes("ops", &content, coded(400, "code", "message", &cases)).await;
        let limited = json!({"message": "You are being rate limited.", "retry_after": 0.649, "global": false});
        let cases = [
            (fine(), "delivered 1100"),
            (HttpReply::json(429, &limited).with("Retry-After", "1"), "later http_429 649"),
            (HttpReply::status(429).with("Retry-After", "7"), "later http_429 7000"),
            (
                HttpReply::json(404, &json!({"code": 10_015, "message": "Unknown Webhook"})),
                "never discord_10015 Account",
            ),
            (HttpReply::status(404), "never http_404 Account"),
            (HttpReply::json(401, &json!({"code": 0, "message": "401: Unauthorized"})), "never http_401 Account"),
        ];
        trial().classes("ops", &content, cases).await;
        let (outcomes, requests) = trial().send(&["ops"], &json!({"username": "x"}), []).await;
        assert_eq!((outcomes, requests), (vec![refused("text is missing")], vec![]));
    }

    #[tokio::test]
    async fn a_message_is_taken_back_by_its_id() {
        let server = HttpServer::start(HttpReply::status(204)).await.expect("a free port");
        let delivery = crate::testing::call(&["ops"], json!({})).targets[0].delivery;
        let sent = Sent { delivery, to: "ops".to_owned(), provider_id: "1100".to_owned() };
        let outcome = trial().account(&server).recall(&sent, None).await;
        assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
        assert_eq!(trial().requests(&server)[0]["request"], "DELETE /api/v10/webhooks/223704/***/messages/1100");
    }
}
