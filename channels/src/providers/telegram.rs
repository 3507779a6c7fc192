//! `telegram`: sends messages as a Telegram bot.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Sent, Settings, Target, Time, Unsupported,
};

use crate::SandboxInbox;
use crate::catalog::chat::TELEGRAM_KINDS;
use crate::http::{Answer, HeaderMap, each};
use crate::json_api::{Api, ApiSettings, Class, DEADLINE, ENDPOINT, TIMEOUT, needed_secret, read, refused};
use crate::message::build;
use crate::reading::Reading;
use crate::status::{MOST_WAIT_MS, outcome_of_api, words};

static INFO: ProviderInfo = ProviderInfo {
    name: "telegram",
    channel: "telegram",
    doc: "Sends messages as a Telegram bot. Vendor's limits: 30 messages a second, one a second for each chat, 20 a minute \
          for each group.",
    source: "Telegram Bot API: Making requests; Available methods; Bots FAQ; errors as tdlib/telegram-bot-api words them",
    settings: &[needed_secret("bot_token", "The bot's token, as the BotFather gave it."), ENDPOINT, TIMEOUT],
    example: r#"{"bot_token": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// Words in a 400 that speak of the chat rather than of what was to be said. The vendor has words only, no codes; these are
/// from its own server (tdlib/telegram-bot-api, `Client.cpp`), which also passes on names in capitals such as
/// `CHAT_WRITE_FORBIDDEN`, `CHAT_SEND_PHOTOS_FORBIDDEN` and `VOICE_MESSAGES_FORBIDDEN`.
const ABOUT_THE_CHAT: [&str; 17] = [
    "chat not found",
    "user not found",
    "member not found",
    "chat_id is empty",
    "chat identifier",
    "peer_id_invalid",
    "group chat was upgraded",
    "group chat was migrated",
    "group is deactivated",
    "have no rights",
    "not enough rights",
    "need administrator rights",
    "_forbidden",
    "_privacy_restricted",
    "channel_private",
    "topic_closed",
    "message thread not found",
];

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Telegram)
}

#[derive(Debug)]
struct Telegram;

#[derive(Debug)]
struct Account {
    api: Api,
    token: Secret,
}

impl Provider for Telegram {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let token = reading.needed_secret("bot_token").cloned();
        if token.as_ref().is_some_and(|token| token.expose().contains(['/', '?', '#', '%', ' '])) {
            reading.wrong("bot_token", "must be the token and nothing else");
        }
        let api = ApiSettings::read(&mut reading, "https://api.telegram.org");
        let (token, api) = reading.finish(token.zip(api))?;
        Ok(Arc::new(Account { api: api.open([&token])?, token }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }

    async fn recall(&self, sent: &Sent, _: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some((chat, message)) = sent.provider_id.rsplit_once(':') else { return Err(Unsupported("recall")) };
        let body = json!({"chat_id": chat, "message_id": message.parse::<i64>().unwrap_or_default()});
        Ok(self.ask("deleteMessage", Time(0), &body).await)
    }
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let (kind, mut body) = match build(TELEGRAM_KINDS, &target.content) {
            Ok(built) => built,
            Err(detail) => return refused(detail),
        };
        body.insert("chat_id".to_owned(), target.to.as_str().into());
        self.ask(kind.vendors, at, &body.into()).await
    }

    async fn ask(&self, method: &str, at: Time, body: &serde_json::Value) -> Outcome {
        let url = self.api.url(&format!("/bot{}/{method}", self.token.expose()), &[]);
        let sent = self.api.post(url, HeaderMap::new(), body).await;
        self.api.settle(sent, None, |answer| judge(answer, at))
    }
}

/// What every answer holds, whatever its HTTP status.
#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    description: String,
    result: Option<serde_json::Value>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
}

#[derive(Deserialize)]
struct Message {
    message_id: i64,
    chat: Chat,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    let Ok(said) = answer.json::<Said>() else {
        return read::<Said>(answer, at).err().unwrap_or_else(|| Outcome::unknown("answer", words(answer)));
    };
    if said.ok && answer.is_success() {
        let message = said.result.and_then(|result| serde_json::from_value::<Message>(result).ok());
        // The chat's own number is kept, since a @name may change hands.
        let provider_id = message.map(|message| format!("{}:{}", message.chat.id, message.message_id));
        return Outcome::Delivered { provider_id };
    }
    let seconds = said.parameters.and_then(|parameters| parameters.retry_after);
    let about_chat = || {
        let words = said.description.to_lowercase();
        ABOUT_THE_CHAT.iter().any(|part| words.contains(part))
    };
    let class = match (answer.status, seconds) {
        (429, Some(seconds)) => Class::After(seconds.saturating_mul(1_000).min(MOST_WAIT_MS)),
        // Blocked by the person, or thrown out of the group.
        (403, _) => Class::Recipient,
        (400, _) if about_chat() => Class::Recipient,
        (400 | 413, _) => Class::Content,
        // A token that the vendor does not know is answered with either.
        (401 | 404, _) => Class::Account,
        _ if answer.is_success() => return Outcome::unknown("answer", words(answer)),
        _ => return outcome_of_api(answer, at),
    };
    class.outcome(format!("http_{}", answer.status), &said.description)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::conformance::{Golden, Subject};
    use crate::golden::Trial;
    use crate::testing::{HttpReply, HttpServer};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"bot_token": "123456:ABC-DEF", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"type": "text", "text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(401, &json!({"ok": false, "error_code": 401, "description": words})),
            golden: || {
                let keys = json!({"inline_keyboard": [[{"text": "Go", "url": "https://a.example"}]]});
                let marked = json!({"type": "text", "text": "<b>hi</b>", "parse_mode": "HTML", "reply_markup": keys,
                    "link_preview_options": {"is_disabled": true}, "message_thread_id": "5",
                    "disable_notification": true, "protect_content": "true"});
                let file = |kind: &str| json!({"type": kind, "file": "https://a.example/f", "text": "look"});
                let place = json!({"type": "location", "latitude": "31.23", "longitude": 121.5});
                let cases = [
                    ("text", "Telegram Bot API: sendMessage", json!({"type": "text", "text": "hi"})),
                    ("text_marked_up", "Telegram Bot API: sendMessage", marked),
                    ("photo", "Telegram Bot API: sendPhoto", file("photo")),
                    ("document", "Telegram Bot API: sendDocument", file("document")),
                    ("video", "Telegram Bot API: sendVideo", file("video")),
                    ("audio", "Telegram Bot API: sendAudio", file("audio")),
                    ("voice", "Telegram Bot API: sendVoice", file("voice")),
                    ("animation", "Telegram Bot API: sendAnimation", file("animation")),
                    ("location", "Telegram Bot API: sendLocation", place),
                ];
                cases
                    .into_iter()
                    .flat_map(|(name, page, content)| Golden::each(page, &["@news"], [(name, content)]))
                    .collect()
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(
            200,
            &json!({"ok": true, "result": {"message_id": 7, "chat": {"id": -1_001, "type": "channel"}}}),
        )
    }

    fn trial() -> Trial {
        Trial {
            provider: INFO.name,
            settings: json!({"bot_token": "123456:ABC"}),
            path: "",
            token: None,
            secrets: &["123456:ABC"],
        }
    }

    #[tokio::test]
    async fn every_documented_error_has_its_class() {
        let says = |status: u16, words: &str| {
            HttpReply::json(status, &json!({"ok": false, "error_code": status, "description": words}))
        };
        let flood = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 14",
            "parameters": {"retry_after": 14}});
        let cases = [
            (fine(), "delivered -1001:7"),
            (HttpReply::json(429, &flood), "later http_429 14000"),
            (says(400, "Bad Request: chat not found"), "never http_400 Recipient"),
            (says(400, "Bad Request: PEER_ID_INVALID"), "never http_400 Recipient"),
            (says(400, "Bad Request: CHAT_SEND_PHOTOS_FORBIDDEN"), "never http_400 Recipient"),
            (says(400, "Bad Request: not enough rights to send photos to the chat"), "never http_400 Recipient"),
            (says(400, "Bad Request: TOPIC_CLOSED"), "never http_400 Recipient"),
            (says(400, "Bad Request: wrong file identifier/HTTP URL specified"), "never http_400 Content"),
            (says(403, "Forbidden: user is deactivated"), "never http_403 Recipient"),
            (says(400, "Bad Request: message is too long"), "never http_400 Content"),
            (says(400, "Bad Request: can't parse entities: Unsupported start tag"), "never http_400 Content"),
            (says(403, "Forbidden: bot was blocked by the user"), "never http_403 Recipient"),
            (says(401, "Unauthorized"), "never http_401 Account"),
            (says(404, "Not Found"), "never http_404 Account"),
            (says(413, "Request Entity Too Large"), "never http_413 Content"),
            (says(502, "Bad Gateway"), "later http_502"),
            (says(200, "what?"), "unknown answer"),
        ];
        trial().classes("7", &json!({"type": "text", "text": "hi"}), cases).await;
    }

    #[tokio::test]
    async fn a_message_is_taken_back_by_its_chat_and_number() {
        let server =
            HttpServer::start(HttpReply::json(200, &json!({"ok": true, "result": true}))).await.expect("a port");
        let delivery = crate::testing::call(&["7"], Value::Null).targets[0].delivery;
        let sent = Sent { delivery, to: "@news".to_owned(), provider_id: "-1001:7".to_owned() };
        let outcome = trial().account(&server).recall(&sent, None).await;
        assert_eq!(outcome, Ok(Outcome::Delivered { provider_id: None }));
        let requests = trial().requests(&server);
        assert_eq!(requests[0]["request"], "POST /bot***/deleteMessage");
        assert_eq!(requests[0]["body"], json!({"chat_id": "-1001", "message_id": 7}));
    }
}
