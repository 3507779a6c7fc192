//! `slack`: posts a message by an incoming webhook, or by `chat.postMessage` with a bot token.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
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
pub(super) mod tests {
    use super::*;
    use crate::conformance::{Golden, Subject};
    use crate::golden::Trial;
    use crate::testing::{HttpReply, HttpServer, open};

    pub(in crate::providers) fn subject() -> Option<Subject> {
        Some(Subject {
            provider: INFO.name,
            settings: |url| json!({"bot_token": "xoxb-1c9f", "endpoint": url, "timeout_ms": 3_000}),
            content: || json!({"text": "hi"}),
            taken: fine,
            blame: "Account",
            complains: |words| HttpReply::json(200, &json!({"ok": false, "error": "invalid_auth", "needed": words})),
            golden: || {
                vec![Golden {
                    name: "text",
                    page: "Slack: chat.postMessage",
                    to: &["C123456"],
                    content: json!({"text": "hi"}),
                    masked: &[],
                }]
            },
            ..Subject::HTTP
        })
    }

    fn fine() -> HttpReply {
        HttpReply::json(200, &json!({"ok": true, "channel": "C123456", "ts": "1503435956.000247"}))
    }

    fn trial(settings: Value) -> Trial {
        Trial { provider: INFO.name, settings, path: "", token: None, secrets: &["xoxb-1", "T000/B000/XXXX"] }
    }

    fn bot() -> Trial {
        trial(json!({"bot_token": "xoxb-1"}))
    }

    fn webhook() -> Trial {
        trial(json!({"webhook": "T000/B000/XXXX"}))
    }

    // Slack: chat.postMessage; Sending messages using incoming webhooks.
    #[tokio::test]
    async fn a_message_goes_out_as_slack_describes_it() {
        let blocks = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]);
        let content =
            json!({"text": "hi", "blocks": blocks, "thread_ts": "1.2", "unfurl_links": "false", "mrkdwn": true});
        let part = json!({"text": "hi", "blocks": blocks, "thread_ts": "1.2", "unfurl_links": false, "mrkdwn": true});
        let mut full = part.clone();
        full["channel"] = json!("C123456");
        let kind = "application/json; charset=utf-8";
        let headers = json!({"authorization": "Bearer ***", "content-type": kind});
        bot().goldens("C123456", &fine(), "POST /api/chat.postMessage", &headers, [(content.clone(), full)]).await;
        let headers = json!({ "content-type": kind });
        let ok = HttpReply::text(200, "ok");
        webhook().goldens("any", &ok, "POST /services/***", &headers, [(content, part)]).await;
    }

    #[tokio::test]
    async fn every_documented_error_has_its_class() {
        let says = |error: &str| HttpReply::json(200, &json!({"ok": false, "error": error}));
        let limited = HttpReply::json(429, &json!({"ok": false, "error": "ratelimited"})).with("Retry-After", "30");
        let cases = [
            (fine(), "delivered C123456:1503435956.000247"),
            (says("channel_not_found"), "never slack_channel_not_found Recipient"),
            (says("not_in_channel"), "never slack_not_in_channel Recipient"),
            (says("is_archived"), "never slack_is_archived Recipient"),
            (says("msg_too_long"), "never slack_msg_too_long Content"),
            (says("no_text"), "never slack_no_text Content"),
            (says("invalid_blocks"), "never slack_invalid_blocks Content"),
            (says("invalid_auth"), "never slack_invalid_auth Account"),
            (says("token_revoked"), "never slack_token_revoked Account"),
            (says("missing_scope"), "never slack_missing_scope Account"),
            (says("ratelimited"), "later slack_ratelimited"),
            (says("service_unavailable"), "later slack_service_unavailable"),
            (says("internal_error"), "unknown slack_internal_error"),
            (says("fatal_error"), "unknown slack_fatal_error"),
            (says("new_error"), "later slack_new_error"),
            (limited, "later http_429 30000"),
        ];
        bot().classes("C123456", &json!({"text": "hi"}), cases).await;
        let cases = [
            (HttpReply::text(200, "ok"), "delivered"),
            (HttpReply::text(200, "<html>"), "unknown answer"),
            (HttpReply::text(400, "invalid_payload"), "never slack_invalid_payload Content"),
            (HttpReply::text(403, "action_prohibited"), "never slack_action_prohibited Account"),
            (HttpReply::text(404, "channel_not_found"), "never slack_channel_not_found Recipient"),
            (HttpReply::text(404, "no_service"), "never slack_no_service Account"),
            (HttpReply::text(410, "channel_is_archived"), "never slack_channel_is_archived Recipient"),
            (HttpReply::text(500, "rollup_error"), "later http_500"),
            (HttpReply::text(404, "<html>"), "never http_404 Account"),
        ];
        webhook().classes("any", &json!({"text": "hi"}), cases).await;
        let (outcomes, _) = bot().send(&["C1"], &json!({"mrkdwn": true}), []).await;
        assert_eq!(outcomes, [refused("text is missing")]);
    }

    #[tokio::test]
    async fn a_bots_message_can_be_taken_back_and_a_webhooks_cannot() {
        let server = HttpServer::start(fine()).await.expect("a free port");
        let call = crate::testing::call(&["C123456"], json!({}));
        let provider_id = "C123456:1503435956.000247".to_owned();
        let sent = Sent { delivery: call.targets[0].delivery, to: "C123456".to_owned(), provider_id };
        let outcome = bot().account(&server).recall(&sent, None).await.expect("a bot can");
        assert_eq!(outcome.class(), "delivered");
        let expected = json!({"request": "POST /api/chat.delete",
            "headers": {"authorization": "Bearer ***", "content-type": "application/json; charset=utf-8"},
            "body": {"channel": "C123456", "ts": "1503435956.000247"}});
        assert_eq!(bot().requests(&server), [expected]);
        assert_eq!(webhook().account(&server).recall(&sent, None).await, Err(Unsupported("recall")));
    }

    #[test]
    fn an_account_has_exactly_one_way() {
        for settings in [json!({}), json!({"bot_token": "a", "webhook": "T/B/X"})] {
            let errors = open(&crate::Registry::new(), "slack", settings).expect_err("it is wrong");
            assert_eq!(errors[0].field, "settings.bot_token");
        }
        let errors =
            open(&crate::Registry::new(), "slack", json!({"webhook": "https://hooks.slack.com/services/T/B/X"}));
        assert_eq!(errors.expect_err("it is an address")[0].field, "settings.webhook");
    }
}
