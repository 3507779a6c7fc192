//! Sensitive words from the list an operator uploads to what the provider gets and what the trace tells.

use serde_json::{Value, json};

use crate::lone::Lone;

fn list(mode: &str, words: &[&str]) -> Value {
    json!({"kind": "words", "spec": {"mode": mode, "words": words}})
}

/// Sends a text; gives what came into the inbox, the final state, and the event of the rule.
async fn sent(node: &Lone, template: &str, name: &str) -> (Option<String>, String, Value) {
    let answer = node.send(json!({"template": template, "to": ["13800138000"], "variables": {"name": name}})).await;
    let id = answer["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    let trace = node.ended(&id).await;
    let inbox = node.get("/v1/sandbox?limit=500").await.expect(200);
    let messages = inbox["messages"].as_array().cloned().expect("a list");
    let got = messages.iter().find(|message| message["delivery"] == id.as_str());
    let got = got.and_then(|message| message["content"]["text"].as_str().map(str::to_owned));
    let events = trace["events"].as_array().cloned().expect("events");
    let event = events.into_iter().find(|event| event["rule"].is_string()).unwrap_or_default();
    (got, trace["state"].as_str().expect("a state").to_owned(), event)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_masked_or_rejected_as_the_policies_and_the_template_say() {
    let node = Lone::ready_to_send().await;
    let put = node.put("/v1/policies/mild", list("mask", &["darn", "heck"])).await.expect(200);
    assert_eq!((&put["version"], &put["spec"]["words"]), (&json!(1), &json!(["darn", "heck"])));
    let (got, state, event) = sent(&node, "hello", "DARN ｈｅｃｋ").await;
    assert_eq!((got.as_deref(), state.as_str()), (Some("Hello **** ****"), "delivered"));
    assert_eq!(
        (&event["what"], &event["rule"], &event["count"]),
        (&json!("masked"), &json!("words/mild@1"), &json!(2))
    );

    let strict =
        json!({"kind": "words", "spec": {"mode": "reject", "words": ["casino"]}, "selector": {"channels": ["sms"]}});
    node.put("/v1/policies/strict", strict).await.expect(200);
    let (got, state, event) = sent(&node, "hello", "darn Casino").await;
    assert_eq!((got, state.as_str()), (None, "suppressed"));
    assert_eq!((&event["what"], &event["rule"]), (&json!("suppressed"), &json!("words/strict@1")));
    assert_eq!(event["detail"], "content.text holds `Casino`");

    // A new version is in force at once, and the trace names it.
    assert_eq!(node.put("/v1/policies/mild", list("mask", &["heck"])).await.expect(200)["version"], 2);
    let (got, _, event) = sent(&node, "hello", "darn heck").await;
    assert_eq!((got.as_deref(), &event["rule"]), (Some("Hello darn ****"), &json!("words/mild@2")));

    let template = |words: Value| json!({"channel": "sms", "account": "demo", "content": {"text": "Hello {{ name }}"}, "words": words});
    for (name, choice, expected) in [
        ("off", json!({"mode": "off"}), (Some("Hello heck casino"), "delivered", None)),
        ("soft", json!({"mode": "mask"}), (Some("Hello **** ******"), "delivered", Some("words/mild@2"))),
        ("hard", json!({"mode": "reject"}), (None, "suppressed", Some("words/mild@2"))),
        ("one", json!({"policies": ["mild"]}), (Some("Hello **** casino"), "delivered", Some("words/mild@2"))),
    ] {
        let written = node.template(name, template(choice.clone())).await;
        assert_eq!(written["words"]["mode"], choice["mode"], "{name}");
        let (got, state, event) = sent(&node, name, "heck casino").await;
        assert_eq!((got.as_deref(), state.as_str(), event["rule"].as_str()), expected, "{name}");
    }
    let got = node.put("/v1/templates/wrong", template(json!({"policies": ["strict", "nothing"]}))).await;
    assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!("words.policies[1]")));

    node.delete("/v1/policies/strict").await;
    node.delete("/v1/policies/mild").await;
    assert_eq!(sent(&node, "hello", "heck casino").await.0.as_deref(), Some("Hello heck casino"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_is_kept_in_parts_shown_whole_and_still_there_after_a_restart() {
    let node = Lone::ready_to_send().await;
    let words: Vec<String> = (0..30_000).map(|n| format!("forbidden{n:05}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let put = node.put("/v1/policies/long", list("mask", &words)).await.expect(200);
    assert_eq!(put["spec"]["words"].as_array().map(Vec::len), Some(30_000));
    let again = node.put("/v1/policies/long", list("mask", &words)).await.expect(200);
    assert_eq!(again["version"], 1, "the same again is no new version");
    let listed = node.get("/v1/policies").await.expect(200);
    assert_eq!(listed["policies"][0]["spec"], json!({"mode": "mask", "count": 30_000}));
    let node = node.restart().await;
    let shown = node.get("/v1/policies/long").await.expect(200);
    assert_eq!(shown["spec"]["words"], json!(words));
    let (got, _, event) = sent(&node, "hello", "forbidden29999 forbidden3").await;
    assert_eq!((got.as_deref(), &event["rule"]), (Some("Hello ************** forbidden3"), &json!("words/long@1")));
    let got = node.put("/v1/policies/long", json!({"kind": "words", "spec": {"mode": "mask", "count": 3}})).await;
    assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!("spec.words")));
    node.stop().await;
}
