//! What is sent to Slack, and what comes of their answers.

use serde_json::Value;

use super::*;
use crate::conformance::{Golden, Subject, every};
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
        answers: || every(&CODES, "new_error", |code| HttpReply::json(200, &json!({"ok": false, "error": code}))),
        golden: || {
            let blocks = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]);
            Golden::each(
                "Slack: chat.postMessage",
                &["C123456"],
                [
                    ("text", json!({"text": "hi"})),
                    ("blocks", json!({"blocks": blocks, "thread_ts": "1.2", "unfurl_links": "false", "mrkdwn": true})),
                    ("attachments", json!({"attachments": [{"color": "#36a64f", "text": "hi"}]})),
                ],
            )
        },
        ..Subject::HTTP
    })
}

fn fine() -> HttpReply {
    HttpReply::json(200, &json!({"ok": true, "channel": "C123456", "ts": "1503435956.000247"}))
}

fn trial(settings: Value) -> Trial {
    Trial { provider: INFO.name, settings, path: "", token: None, secrets: &["xoxb-1", "T000/B000/s1gn"] }
}

fn bot() -> Trial {
    trial(json!({"bot_token": "xoxb-1"}))
}

fn webhook() -> Trial {
    trial(json!({"webhook": "T000/B000/s1gn"}))
}

// Slack: chat.postMessage; Sending messages using incoming webhooks.
#[tokio::test]
async fn a_message_goes_out_as_slack_describes_it() {
    let blocks = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}}]);
    let content = json!({"text": "hi", "blocks": blocks, "thread_ts": "1.2", "unfurl_links": "false", "mrkdwn": true});
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
    let errors = open(&crate::Registry::new(), "slack", json!({"webhook": "https://hooks.slack.com/services/T/B/X"}));
    assert_eq!(errors.expect_err("it is an address")[0].field, "settings.webhook");
}
