//! Templates, accounts, and what is built in.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn a_template_has_versions_and_can_be_previewed_and_taken_out_of_use() {
    let node = Lone::start().await;
    node.account("demo", json!({})).await;
    let spec = |text: &str| json!({"channel": "sms", "account": "demo", "content": {"text": text}, "retry": {"max_attempts": 3}});
    let first = node.template("hello", spec("Hello {{ name }}")).await;
    assert_eq!((&first["version"], &first["variables"]), (&json!(1), &json!(["name"])));
    assert_eq!((&first["retry"]["max_attempts"], &first["message_type"]), (&json!(3), &json!("notice")));
    assert_eq!(node.template("hello", spec("Hello {{ name }}")).await["version"], 1);
    assert_eq!(node.template("hello", spec("Bye {{ name }}")).await["version"], 2);
    assert_eq!(node.get("/v1/templates/hello").await.expect(200)["version"], 2);
    assert_eq!(
        node.get("/v1/templates/hello?version=1").await.expect(200)["content"],
        json!({"text": "Hello {{ name }}"})
    );
    let versions = node.get("/v1/templates/hello/versions").await.expect(200);
    assert_eq!(versions["templates"].as_array().map(Vec::len), Some(2));
    assert_eq!(node.get("/v1/templates").await.expect(200)["templates"].as_array().map(Vec::len), Some(1));

    let preview =
        node.post("/v1/templates/hello/preview", json!({"to": "13800138000", "variables": {"name": "Ann"}})).await;
    let preview = preview.expect(200);
    assert_eq!(preview["content"], json!({"text": "Bye Ann"}));
    assert_eq!((&preview["segments"]["segments"], &preview["requests"][0]["method"]), (&json!(1), &json!("KEEP")));
    let missing = node.post("/v1/templates/hello/preview", json!({"variables": {}})).await;
    assert_eq!(missing.problem(422), "invalid_request");

    let in_use = node.delete("/v1/accounts/demo").await;
    assert_eq!(in_use.problem(409), "conflict");
    assert_eq!(node.delete("/v1/templates/hello").await.status, 204);
    assert_eq!(node.delete("/v1/templates/nobody").await.problem(404), "unknown_template");
    let gone = node
        .post("/v1/messages", json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "n"}}))
        .await;
    assert_eq!(gone.problem(404), "unknown_template");
    assert_eq!(node.delete("/v1/accounts/demo").await.status, 204);
    assert_eq!(node.delete("/v1/accounts/demo").await.problem(404), "unknown_account");
    node.stop().await;
}

#[tokio::test]
async fn content_dedup_suppresses_the_twin_and_says_why() {
    let node = Lone::start().await;
    node.account("demo", json!({})).await;
    let content = json!({"text": "Hello {{ name }}"});
    let spec = json!({"channel": "sms", "account": "demo", "content": content, "dedup": {"window_ms": 60_000}});
    node.template("once", spec).await;
    let body = |name: &str| json!({"template": "once", "to": ["13800138000"], "variables": {"name": name}});
    let mut states = Vec::new();
    for name in ["Ann", "Ann", "Bob"] {
        let sent = node.send(body(name)).await;
        states.push(node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await);
    }
    let names: Vec<_> = states.iter().map(|trace| trace["state"].as_str().expect("a state")).collect();
    assert_eq!(names, ["delivered", "suppressed", "delivered"]);
    assert_eq!(states[1]["events"][1]["rule"], "content_dedup");
    node.stop().await;
}

#[tokio::test]
async fn every_provider_and_channel_is_listed_with_an_example() {
    let node = Lone::start().await;
    let built_in = node.get("/v1/providers").await.expect(200);
    for list in ["providers", "channels"] {
        let list = built_in[list].as_array().expect("a list");
        assert!(list.len() >= 4 && list.iter().all(|entry| entry["example"].is_object()), "{list:?}");
    }
    node.stop().await;
}
