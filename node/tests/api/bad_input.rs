//! Each bad input is answered with its own problem, and nothing is kept of it.

use serde_json::json;

use crate::lone::Lone;

/// A recipient that everybody accepts.
const ANN: &str = "+8613800138000";

async fn node() -> Lone {
    let node = Lone::with(|config| config.intake.max_body_bytes = 512 << 10).await;
    node.account("demo", json!({})).await;
    let sms = json!({"channel": "sms", "account": "demo", "content": {"text": "Hello {{ name }}"}});
    let email = json!({"channel": "email", "account": "demo", "content": {"subject": "s", "text": "t"}});
    let webhook = json!({"channel": "webhook", "account": "demo", "content": {"type": "ping"}});
    let robot = json!({"channel": "dingtalk_robot", "content": {"type": "text", "text": "hi"}});
    for (name, spec) in [("hello", sms), ("mail", email), ("hook", webhook), ("robot", robot)] {
        node.template(name, spec).await;
    }
    node
}

#[tokio::test]
async fn a_bad_message_is_refused_with_its_own_code_and_nothing_is_kept() {
    let node = node().await;
    let many: Vec<_> = (0..10_001).map(|n| format!("+86138{n:08}")).collect();
    let texts = [
        ("{\"template\": \"hello\",\n \"to\": [}", 400, "bad_json", "line 2 column"),
        ("", 400, "bad_json", "line 1"),
        ("[1, 2]", 422, "invalid_request", ""),
        ("{\"template\": \"hello\", \"to\": [\"+8613800138000\"], \"tempalte\": 1}", 400, "unknown_field", "tempalte"),
    ];
    for (text, status, code, part) in texts {
        let got = node.call("POST", "/v1/messages", Some(&node.key), &[], Some(text.to_owned())).await;
        assert_eq!(got.problem(status), code, "{text}");
        assert!(got.body["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{text}: {}", got.body);
    }
    let name = json!({"name": "Ann"});
    let cases = [
        (json!({"template": "nobody", "to": [ANN]}), 404, "unknown_template"),
        (json!({"template": "hello", "to": [], "variables": name}), 422, "no_recipients"),
        (json!({"template": "hello", "to": many, "variables": name}), 422, "too_many_recipients"),
        (json!({"template": "hello", "to": ["x".repeat(600 << 10)]}), 413, "body_too_large"),
        (json!({"template": "hello", "to": ["12"], "variables": name}), 422, "no_valid_recipient"),
        (json!({"template": "mail", "to": ["ann"]}), 422, "no_valid_recipient"),
        (json!({"template": "hook", "to": ["ftp://example.com"]}), 422, "no_valid_recipient"),
        (json!({"template": "robot", "to": ["nobody"]}), 422, "no_valid_recipient"),
        (json!({"template": "hello", "to": [ANN]}), 422, "no_valid_recipient"),
        (json!({"template": "hello", "to": [ANN], "variables": [1]}), 422, "invalid_request"),
        (json!({"template": "hello", "to": [5], "variables": name}), 422, "invalid_request"),
        (json!({"template": "hello", "to": [ANN], "variables": name, "send_at": "soon"}), 422, "invalid_request"),
        (
            json!({"template": "hello", "to": [ANN], "variables": name, "send_at": "2099-01-01T00:00:00Z"}),
            422,
            "invalid_request",
        ),
        (
            json!({"template": "hello", "to": [ANN], "variables": name, "biz_id": "x".repeat(129)}),
            422,
            "invalid_request",
        ),
        (json!({"template": "hello", "to": [ANN], "variables": name, "priority": "now"}), 422, "invalid_request"),
    ];
    for (body, status, code) in cases {
        let got = node.post("/v1/messages", body.clone()).await;
        let shown: String = body.to_string().chars().take(200).collect();
        assert_eq!(got.problem(status), code, "{shown}");
    }
    assert_eq!(node.accepted().await, 0, "something was kept");
    node.stop().await;
}

#[tokio::test]
async fn a_rejected_recipient_is_told_why() {
    let node = node().await;
    let cases = [
        (json!({"template": "hello", "to": ["12"], "variables": {"name": "Ann"}}), "invalid_recipient"),
        (json!({"template": "mail", "to": ["ann@"]}), "invalid_recipient"),
        (json!({"template": "hook", "to": ["example.com"]}), "invalid_recipient"),
        (json!({"template": "robot", "to": ["nobody"]}), "unknown_account"),
        (json!({"template": "hello", "to": [ANN]}), "missing_variable"),
    ];
    for (body, code) in cases {
        let got = node.post("/v1/messages", body.clone()).await;
        assert_eq!(got.problem(422), "no_valid_recipient", "{body}");
        assert_eq!(got.body["rejected"][0]["code"], code, "{body}: {}", got.body);
        assert_eq!(got.body["rejected"][0]["retryable"], false);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_bad_template_or_account_is_refused_field_by_field() {
    let node = node().await;
    let template = |content: serde_json::Value| json!({"channel": "sms", "account": "demo", "content": content});
    let got = node.put("/v1/templates/bad", template(json!({"text": "one\ntwo {{ name"}))).await;
    assert_eq!(got.problem(422), "template_syntax");
    assert_eq!(got.body["errors"][0]["field"], "content.text");
    let detail = got.body["errors"][0]["detail"].as_str().expect("a text");
    assert!(detail.contains("line 2") && detail.contains("column"), "{detail}");

    let cases = [
        (json!({"channel": "pigeon", "account": "demo", "content": {"text": "x"}}), 422, "invalid_request", "channel"),
        (template(json!({"txet": "x"})), 422, "invalid_request", "content.text"),
        (json!({"channel": "sms", "content": {"text": "x"}}), 422, "invalid_request", "account"),
        (json!({"channel": "sms", "account": "nobody", "content": {"text": "x"}}), 422, "unknown_account", "account"),
        (
            json!({"channel": "sms", "account": "demo", "content": {"text": "x"}, "retry": {"max_attempts": 0}}),
            422,
            "invalid_request",
            "retry.max_attempts",
        ),
        (
            json!({"channel": "sms", "account": "demo", "content": {"text": "x"}, "dedup": {"window_ms": 1}}),
            422,
            "invalid_request",
            "dedup.window_ms",
        ),
    ];
    for (body, status, code, field) in cases {
        let got = node.put("/v1/templates/bad", body.clone()).await;
        assert_eq!(got.problem(status), code, "{body}");
        assert_eq!(got.body["errors"][0]["field"], field, "{body}: {}", got.body);
    }
    assert_eq!(
        node.put("/v1/templates/Bad%20Name", template(json!({"text": "x"}))).await.problem(422),
        "invalid_request"
    );
    assert_eq!(node.get("/v1/templates/bad").await.problem(404), "unknown_template");

    let got = node.put("/v1/accounts/bad", json!({"provider": "pigeon"})).await;
    assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!("provider")));
    let got = node.put("/v1/accounts/bad", json!({"provider": "sandbox", "settings": {"fial": "never"}})).await;
    assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!("settings.fial")));
    assert_eq!(node.get("/v1/accounts/bad").await.problem(404), "unknown_account");
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_a_problem_too() {
    let node = node().await;
    let key = Some(node.key.clone());
    let cases = [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/deliveries/dlv_nonsense", 404, "not_found"),
        ("GET", "/v1/deliveries/dlv_00000000000000000000000000000000g0", 404, "not_found"),
        ("GET", "/v1/messages/msg_00000000000000000000000000", 404, "not_found"),
        ("PUT", "/v1/messages", 405, "method_not_allowed"),
        ("GET", "/v1/deliveries?limit=501", 422, "invalid_request"),
        ("GET", "/v1/deliveries?colour=red", 400, "unknown_field"),
        ("GET", "/v1/deliveries?cursor=nonsense", 422, "invalid_request"),
        ("GET", "/v1/stats/templates/hello?day=someday", 422, "invalid_request"),
    ];
    for (method, path, status, code) in cases {
        let got = node.call(method, path, key.as_deref(), &[], None).await;
        assert_eq!(got.problem(status), code, "{method} {path}");
    }
    let got =
        node.call("POST", "/v1/messages", key.as_deref(), &[("content-type", "text/plain")], Some("{}".into())).await;
    assert_eq!(got.problem(415), "unsupported_media_type");
    let body = json!({"template": "hello", "to": [ANN], "variables": {"name": "Ann"}});
    let got = node.post_once(&"k".repeat(256), &body).await;
    assert_eq!(got.problem(422), "invalid_request");
    node.stop().await;
}

#[tokio::test]
async fn a_full_partition_answers_429_and_says_when_to_come_back() {
    let node = Lone::with(|config| config.intake.pending_per_partition = 1).await;
    node.account("slow", json!({"fail": "later"})).await;
    node.template("hello", json!({"channel": "sms", "account": "slow", "content": {"text": "hi"}})).await;
    // One number lives in one partition, and one delivery fills it.
    let body = json!({"template": "hello", "to": [ANN]});
    node.send(body.clone()).await;
    let got = node.post("/v1/messages", body).await;
    assert_eq!(got.problem(429), "full");
    assert!(got.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|s| s >= 1)));
    assert_eq!(got.body["rejected"][0]["retryable"], true);
    assert_eq!(node.accepted().await, 1);
    node.stop().await;
}
