//! `feishu_app`: sends messages of a Feishu application to people and groups.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidings_contract::{
    Blame, Call, Channel, FieldError, Material, MediaPlace, Outcome, Provider, ProviderInfo, Reason, Secret, Sent,
    Settings, Target, Time, Token, Unsupported, Uploaded,
};

use crate::SandboxInbox;
use crate::catalog::feishu::APP_KINDS;
use crate::codes::{FEISHU, is_invalid_key};
use crate::http::{Answer, HeaderMap, Method, each};
use crate::json_api::{
    Api, ApiSettings, DEADLINE, ENDPOINT, TIMEOUT, bearer, needed, needed_secret, no_token, read_coded, refused,
};
use crate::media::places;
use crate::message::{build, post};
use crate::multipart::form;
use crate::reading::Reading;
use crate::stable_id::uuid;
use crate::status::{MOST_WAIT_MS, outcome_of_api, words};

const MESSAGES: &str = "/open-apis/im/v1/messages";

static INFO: ProviderInfo = ProviderInfo {
    name: "feishu_app",
    channel: "feishu_app",
    doc: "Sends messages of a Feishu application. Vendor's limits: 1,000 messages a minute and 50 a second, 5 a second for \
          each person or group.",
    source: "Feishu open platform: Sending messages; Structure of the content of messages; Recalling messages; Getting a \
             tenant_access_token of an internal application; Uploading images; Uploading files; Server error codes",
    settings: &[
        needed("app_id", "The application's id (cli_…)."),
        needed_secret("app_secret", "The application's secret."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"app_id": "cli_a000000000000000", "app_secret": "0123456789abcdef"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(FeishuApp)
}

#[derive(Debug)]
struct FeishuApp;

#[derive(Debug)]
struct Account {
    api: Api,
    app_id: String,
    app_secret: Secret,
}

impl Provider for FeishuApp {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let app_id = reading.needed_text("app_id").to_owned();
        let app_secret = reading.needed_secret("app_secret").cloned();
        let api = ApiSettings::read(&mut reading, "https://open.feishu.cn");
        let (app_secret, api) = reading.finish(app_secret.zip(api))?;
        Ok(Arc::new(Account { api: api.open([&app_secret])?, app_id, app_secret }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let Some(token) = &call.token else { return vec![no_token(); call.targets.len()] };
        each(call, |target| self.one(call.at, token, target)).await
    }

    async fn fetch_token(&self) -> Option<Result<Token, Reason>> {
        let url = self.api.url("/open-apis/auth/v3/tenant_access_token/internal", &[]);
        let body = json!({"app_id": self.app_id, "app_secret": self.app_secret.expose()});
        let sent = self.api.post(url, HeaderMap::new(), &body).await;
        let given = self.api.settle_token(sent, |answer| accept::<Given>(answer, Time(0)));
        Some(given.map(|given| Token {
            secret: given.tenant_access_token,
            expires_in: std::time::Duration::from_secs(given.expire),
        }))
    }

    async fn recall(&self, sent: &Sent, token: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let Some(token) = token else { return Ok(no_token()) };
        let url = self.api.url(&format!("{MESSAGES}/{}", sent.provider_id), &[]);
        let sent = self.api.call(Method::DELETE, url, bearer(token), Bytes::new()).await;
        Ok(self.api.settle(sent, Some(token), |answer| match accept::<Value>(answer, Time(0)) {
            Ok(_) => Outcome::Delivered { provider_id: None },
            Err(outcome) => outcome,
        }))
    }

    fn media(&self, content: &Value) -> Vec<MediaPlace> {
        places(APP_KINDS, content)
    }

    fn media_gone(&self, reason: &Reason) -> bool {
        is_invalid_key(reason)
    }

    async fn upload(
        &self,
        material: &Material,
        kind: &str,
        token: Option<&Secret>,
    ) -> Result<Result<Uploaded, Outcome>, Unsupported> {
        let Some(token) = token else { return Ok(Err(no_token())) };
        let (path, form) = if kind == "image" {
            ("/open-apis/im/v1/images", form(&[("image_type", "message")], "image", material))
        } else {
            let texts = [("file_type", file_type(&material.name)), ("file_name", material.name.as_str())];
            ("/open-apis/im/v1/files", form(&texts, "file", material))
        };
        let read = |answer: &_| accept::<Data<Key>>(answer, Time(0));
        let uploaded = self.api.upload(self.api.url(path, &[]), bearer(token), form, Some(token), read).await;
        Ok(uploaded.map(|uploaded| Uploaded { id: uploaded.data.key, good_for: Uploaded::LONG }))
    }
}

/// What the answer to a token call holds; its length of life is in seconds.
#[derive(Deserialize)]
struct Given {
    tenant_access_token: Secret,
    expire: u64,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Message {
    message_id: String,
}

#[derive(Deserialize)]
struct Key {
    #[serde(alias = "image_key", alias = "file_key")]
    key: String,
}

/// The types of files that the vendor knows by name; all others are streams.
fn file_type(name: &str) -> &'static str {
    match name.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
        Some("opus") => "opus",
        Some("mp4") => "mp4",
        Some("pdf") => "pdf",
        Some("doc" | "docx") => "doc",
        Some("xls" | "xlsx") => "xls",
        Some("ppt" | "pptx") => "ppt",
        _ => "stream",
    }
}

/// The form of a recipient's id, told by how it begins.
fn id_type(to: &str) -> &'static str {
    match to {
        _ if to.starts_with("ou_") => "open_id",
        _ if to.starts_with("on_") => "union_id",
        _ if to.starts_with("oc_") => "chat_id",
        _ if to.contains('@') => "email",
        _ => "user_id",
    }
}

impl Account {
    async fn one(&self, at: Time, token: &Secret, target: &Target) -> Outcome {
        let (kind, content) = match content(&target.content) {
            Ok(built) => built,
            Err(detail) => return refused(detail),
        };
        // By the id the vendor drops a repeat of the same delivery for an hour.
        let body = json!({"receive_id": target.to, "msg_type": kind, "content": content.to_string(),
            "uuid": uuid(target)});
        let url = self.api.url(MESSAGES, &[("receive_id_type", id_type(&target.to))]);
        let sent = self.api.post(url, bearer(token), &body).await;
        self.api.settle(sent, Some(token), |answer| match accept::<Data<Message>>(answer, at) {
            Ok(message) => Outcome::Delivered { provider_id: Some(message.data.message_id) },
            Err(outcome) => outcome,
        })
    }
}

/// The vendor's type of message, and what its `content` holds before it is made a text.
fn content(content: &Value) -> Result<(&'static str, Value), String> {
    let (kind, mut part) = build(APP_KINDS, content)?;
    let part = match kind.vendors {
        "interactive" => part.remove("card").unwrap_or_default(),
        "post" => post(part)?,
        _ => part.into(),
    };
    Ok((kind.vendors, part))
}

/// Reads an answer whose `code` is 0.
///
/// # Errors
/// The outcome of any other code; unknown if the answer lacks what was asked for.
fn accept<T: DeserializeOwned>(answer: &Answer, at: Time) -> Result<T, Outcome> {
    if answer.status == 429 {
        return Err(too_many(answer, at));
    }
    let said: Value = read_coded(answer, at)?;
    let msg = said.get("msg").and_then(Value::as_str).unwrap_or_default();
    match said.get("code").and_then(Value::as_i64) {
        Some(0) => serde_json::from_value(said).map_err(|_| Outcome::unknown("answer", words(answer))),
        // One code for all wrong parameters; the recipient is one of them.
        Some(230_001) if msg.contains("receive_id") => Err(Outcome::never(Blame::Recipient, "code_230001", msg)),
        Some(code) => Err(FEISHU.outcome(&code, msg)),
        None if !answer.is_success() => Err(outcome_of_api(answer, at)),
        None => Err(Outcome::unknown("answer", words(answer))),
    }
}

/// The vendor says in a header of its own after how many seconds to come back.
fn too_many(answer: &Answer, at: Time) -> Outcome {
    let mut outcome = outcome_of_api(answer, at);
    let seconds = answer.header("x-ogw-ratelimit-reset").and_then(|text| text.trim().parse::<u64>().ok());
    if let (Outcome::Later { after_ms: after @ None, .. }, Some(seconds)) = (&mut outcome, seconds) {
        *after = Some(seconds.saturating_mul(1_000).min(MOST_WAIT_MS));
    }
    outcome
}

#[cfg(test)]
#[path = "../provider_tests/feishu_app.rs"]
pub(super) mod tests;
