//! `slack`: posts a message by an incoming webhook, or by `chat.postMessage` with a bot token.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Sent, Settings, Target, Time, Unsupported,
};

use crate::SandboxInbox;
use crate::catalog::chat::SLACK_FIELDS;
use crate::http::{Answer, HeaderMap, each};
use crate::json_api::Class::{Account as Ours, Content, Later, Recipient, Unknown};
use crate::json_api::{Api, ApiSettings, Codes, DEADLINE, ENDPOINT, TIMEOUT, bearer, optional_secret, read, refused};
use crate::message::fields;
use crate::reading::Reading;
use crate::status::{outcome_of_api, words};

static INFO: ProviderInfo = ProviderInfo {
    name: "slack",
    channel: "slack",
    doc: "Posts to Slack by an incoming webhook or as a bot. Vendor's limit: about one message a second for each channel.",
    source: "Slack: chat.postMessage; chat.delete; Sending messages using incoming webhooks",
    settings: &[
        optional_secret("bot_token", "The bot's token (xoxb-…), with the scope chat:write. This or webhook."),
        optional_secret(
            "webhook",
            "What stands after /services/ in the address of an incoming webhook. This or bot_token.",
        ),
        ENDPOINT,
        TIMEOUT,
    ],
    example: r#"{"bot_token": "xoxb-not-a-real-token"}"#,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// The errors of `chat.postMessage` and of incoming webhooks. After a `fatal_error` or an `internal_error` a part may
/// have been done, says the vendor.
const CODES: Codes<&str> = Codes {
    prefix: "slack",
    classes: &[
        (
            Later,
            &[
                "ratelimited",
                "rate_limited",
                "request_timeout",
                "service_unavailable",
                "team_added_to_org",
                "rollup_error",
            ],
        ),
        (Unknown, &["fatal_error", "internal_error"]),
        (
            Recipient,
            &[
                "as_user_not_supported",
                "cannot_reply_to_message",
                "channel_is_archived",
                "channel_not_found",
                "is_archived",
                "is_inactive",
                "messages_tab_disabled",
                "not_in_channel",
                "user_not_found",
                "slack_connect_canvas_sharing_blocked",
                "slack_connect_file_link_sharing_blocked",
                "posting_to_general_channel_denied",
            ],
        ),
        (
            Content,
            &[
                "attachment_payload_limit_exceeded",
                "block_mismatch",
                "invalid_arguments",
                "invalid_attachments",
                "invalid_blocks",
                "invalid_blocks_format",
                "invalid_metadata_format",
                "invalid_payload",
                "markdown_text_conflict",
                "message_limit_exceeded",
                "msg_blocks_too_long",
                "msg_too_long",
                "no_text",
                "too_many_attachments",
                "too_many_contact_cards",
                "invalid_json",
                "invalid_form_data",
                "metadata_must_be_sent_from_app",
                "metadata_too_large",
                "invalid_post_type",
            ],
        ),
        (
            Ours,
            &[
                "access_denied",
                "account_inactive",
                "action_prohibited",
                "app_missing_action_url",
                "deprecated_endpoint",
                "ekm_access_denied",
                "invalid_arg_name",
                "invalid_charset",
                "enterprise_is_restricted",
                "invalid_auth",
                "invalid_token",
                "method_deprecated",
                "missing_scope",
                "missing_post_type",
                "no_active_hooks",
                "no_permission",
                "no_service",
                "no_service_id",
                "no_team",
                "not_allowed_token_type",
                "not_authed",
                "org_login_required",
                "restricted_action",
                "restricted_action_non_threadable_channel",
                "restricted_action_read_only_channel",
                "restricted_action_thread_locked",
                "restricted_action_thread_only_channel",
                "team_access_not_granted",
                "team_disabled",
                "token_expired",
                "token_revoked",
                "two_factor_setup_required",
            ],
        ),
    ],
    other: Later,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Slack)
}

#[derive(Debug)]
struct Slack;

#[derive(Debug)]
struct Account {
    api: Api,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Bot(Secret),
    Webhook(Secret),
}

impl Provider for Slack {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let (bot, webhook) = (reading.secret("bot_token").cloned(), reading.secret("webhook").cloned());
        if webhook.as_ref().is_some_and(|webhook| webhook.expose().contains([':', '?', '#', '%', '.'])) {
            reading.wrong("webhook", "must be what stands after /services/ and nothing else");
        }
        let (way, default) = match (bot, webhook) {
            (Some(token), None) => (Some(Way::Bot(token)), "https://slack.com"),
            (None, Some(path)) => (Some(Way::Webhook(path)), "https://hooks.slack.com"),
            _ => (None, "https://slack.com"),
        };
        let way = reading.known("bot_token", "bot_token or webhook is required, and not both", way);
        let api = ApiSettings::read(&mut reading, default);
        let (way, api) = reading.finish(way.zip(api))?;
        let (Way::Bot(secret) | Way::Webhook(secret)) = &way;
        Ok(Arc::new(Account { api: api.open([secret])?, way }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }

    async fn recall(&self, sent: &Sent, _: Option<&Secret>) -> Result<Outcome, Unsupported> {
        let (Way::Bot(token), Some((channel, ts))) = (&self.way, sent.provider_id.split_once(':')) else {
            return Err(Unsupported("recall"));
        };
        let url = self.api.url("/api/chat.delete", &[]);
        let sent = self.api.post(url, bearer(token), &json!({"channel": channel, "ts": ts})).await;
        Ok(self.api.settle(sent, None, |answer| judge_bot(answer, Time(0))))
    }
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let mut body = match fields(SLACK_FIELDS, &target.content, "") {
            Ok(body) => body,
            Err(detail) => return refused(detail),
        };
        if !["text", "blocks", "attachments"].iter().any(|name| body.contains_key(*name)) {
            return refused("text is missing");
        }
        match &self.way {
            Way::Bot(token) => {
                body.insert("channel".to_owned(), target.to.as_str().into());
                let sent = self.api.post(self.api.url("/api/chat.postMessage", &[]), bearer(token), &body.into()).await;
                self.api.settle(sent, None, |answer| judge_bot(answer, at))
            }
            Way::Webhook(path) => {
                let url = self.api.url(&format!("/services/{}", path.expose().trim_matches('/')), &[]);
                let sent = self.api.post(url, HeaderMap::new(), &body.into()).await;
                self.api.settle(sent, None, |answer| judge_webhook(answer, at))
            }
        }
    }
}

/// What every answer of the Web API holds.
#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
    channel: Option<String>,
    ts: Option<String>,
}

fn judge_bot(answer: &Answer, at: Time) -> Outcome {
    match read::<Said>(answer, at) {
        Ok(Said { ok: true, channel, ts, .. }) => {
            // Both are needed to take the message back.
            Outcome::Delivered { provider_id: channel.zip(ts).map(|(channel, ts)| format!("{channel}:{ts}")) }
        }
        Ok(said) => CODES.outcome(said.error.as_str(), &words(answer)),
        Err(outcome) => outcome,
    }
}

/// A webhook answers `ok`, or a 4xx or 5xx with its error as the whole text.
fn judge_webhook(answer: &Answer, at: Time) -> Outcome {
    let text = answer.text();
    match text.trim() {
        "ok" if answer.is_success() => Outcome::Delivered { provider_id: None },
        _ if answer.is_success() => Outcome::unknown("answer", words(answer)),
        error if answer.status < 500 && is_code(error) => CODES.outcome(error, ""),
        _ => outcome_of_api(answer, at),
    }
}

/// Whether a text is one of the vendor's codes rather than somebody's page.
fn is_code(text: &str) -> bool {
    CODES.classes.iter().any(|(_, codes)| codes.contains(&text))
}

#[cfg(test)]
#[path = "../provider_tests/slack.rs"]
pub(super) mod tests;
