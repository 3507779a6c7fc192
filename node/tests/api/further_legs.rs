//! The rules of the leg that a delivery falls back to: its own channel's, at its own address.

use serde_json::{Value, json};

use crate::lone::Lone;

const ANN: &str = "+8613800138000";

/// SMS by an account that never takes anything; mails, which work, are what it falls back to.
async fn node() -> Lone {
    let node = Lone::start().await;
    node.account("good", json!({})).await;
    node.account("never", json!({"fail": "never"})).await;
    let mail = json!({"channel": "email", "account": "good", "content": {"subject": "s", "text": "Dear {{ name }}"}});
    node.template("mail", mail).await;
    let text = json!({"channel": "sms", "account": "never", "content": {"text": "hi {{ name }}"},
        "fallback": {"template": "mail"}});
    node.template("text", text).await;
    node
}

async fn fallen(node: &Lone, mail: &str, name: &str) -> Value {
    let to = json!({"to": ANN, "fallback": {"email": mail}, "variables": {"name": name}});
    let sent = node.send(json!({"template": "text", "to": [to]})).await;
    node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await
}

fn event<'a>(trace: &'a Value, what: &str) -> &'a Value {
    let events = trace["events"].as_array().expect("events");
    events.iter().find(|event| event["what"] == what).unwrap_or_else(|| panic!("no {what} in {trace}"))
}

#[tokio::test]
async fn the_suppression_list_of_the_second_address_is_asked() {
    let node = node().await;
    let entry = json!({"channel": "email", "address": "ann@example.com", "reason": "unsubscribed"});
    node.post("/v1/suppressions", entry).await.expect(200);
    let trace = fallen(&node, "ann@example.com", "Ann").await;
    assert_eq!((&trace["state"], &trace["reason"]["code"]), (&json!("suppressed"), &json!("suppression_list")));
    assert_eq!(event(&trace, "suppressed")["rule"], "suppression_list");
    assert_eq!(fallen(&node, "bob@example.com", "Bob").await["state"], "delivered");
    node.stop().await;
}

#[tokio::test]
async fn quiet_hours_are_those_of_the_channel_that_a_delivery_falls_back_to() {
    let node = node().await;
    let code = json!({"channel": "sms", "account": "never", "content": {"text": "{{ name }}"}, "message_type": "auth_code",
        "fallback": {"template": "mail"}});
    node.template("code", code).await;
    let always = |channel: &str| {
        json!({"kind": "quiet_hours", "selector": {"channels": [channel]},
            "spec": {"windows": [{"from": "00:00", "to": "24:00"}], "time_zone": "UTC", "then": "drop"}})
    };
    node.put("/v1/policies/robots?confirm=true", always("dingtalk_robot")).await.expect(200);
    assert_eq!(fallen(&node, "ann@example.com", "Ann").await["state"], "delivered", "another channel's are none");
    node.put("/v1/policies/mails?confirm=true", always("email")).await.expect(200);
    let trace = fallen(&node, "ann@example.com", "Ann").await;
    assert_eq!((&trace["state"], &trace["reason"]["code"]), (&json!("suppressed"), &json!("quiet_hours")));
    assert_eq!(event(&trace, "suppressed")["rule"], "quiet_hours/mails@1");
    assert_eq!(event(&trace, "fell_back")["channel"], "email", "the text was tried, for its channel is not quiet");
    let to = json!({"to": ANN, "fallback": {"email": "ann@example.com"}, "variables": {"name": "7"}});
    let sent = node.send(json!({"template": "code", "to": [to]})).await;
    let trace = node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!(trace["state"], "delivered", "codes are exempt");
    node.stop().await;
}

#[tokio::test]
async fn caps_words_and_lists_of_the_second_channel_hold_after_a_fallback() {
    let node = node().await;
    let mails = |kind: &str, spec: Value| json!({"kind": kind, "selector": {"channels": ["email"]}, "spec": spec});
    let once = json!({"windows": [{"window_ms": 3_600_000, "most": 1}]});
    node.put("/v1/policies/mails", mails("frequency", once)).await.expect(200);
    node.put("/v1/policies/fruit", mails("words", json!({"mode": "mask", "words": ["pear"]}))).await.expect(200);
    node.put("/v1/policies/gone", mails("discard", json!({"recipients": ["old@example.com"]}))).await.expect(200);
    let first = fallen(&node, "ann@example.com", "pear").await;
    assert_eq!((&first["state"], &event(&first, "masked")["rule"]), (&json!("delivered"), &json!("words/fruit@1")));
    let second = fallen(&node, "ann@example.com", "Ann").await;
    assert_eq!((&second["state"], &second["reason"]["code"]), (&json!("suppressed"), &json!("frequency_cap")));
    assert_eq!(event(&second, "suppressed")["rule"], "frequency/mails@1");
    let plain = json!({"template": "mail", "to": ["ann@example.com"], "variables": {"name": "Ann"}});
    assert_eq!(node.send(plain).await["deliveries"][0]["state"], "suppressed", "the fallback counts for plain mails");
    let barred = fallen(&node, "old@example.com", "Ann").await;
    let left = event(&barred, "leg_barred");
    assert_eq!((&left["rule"], &left["to"]), (&json!("discard/gone@1"), &json!("old@example.com")));
    assert_eq!(barred["state"], "failed", "there was nowhere else to go");
    node.stop().await;
}
