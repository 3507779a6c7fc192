//! A running node takes over the keys that may change, at once, and names those that need a restart.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn live_keys_are_taken_over_while_the_node_runs_and_others_are_named() {
    let mut node = Lone::ready_to_send().await;
    let three = json!({"template": "hello", "to": ["13800138000", "13800138001", "13800138002"],
        "variables": {"name": "Ann"}});
    node.post("/v1/messages", three.clone()).await.expect(202);
    let mut next = node.config.clone();
    next.intake.max_recipients = 2;
    next.retry.max_attempts = 3;
    next.raft.queue = 5_000;
    let changes = node.running.reconfigure(&next).expect("it fits");
    let told: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.live)).collect();
    assert_eq!(told, [("intake.max_recipients", true), ("raft.queue", false), ("retry.max_attempts", true)]);
    assert_eq!(node.post("/v1/messages", three.clone()).await.problem(422), "too_many_recipients");
    let spec = json!({"channel": "sms", "account": "demo", "content": {"text": "hi"}});
    assert_eq!(node.template("later", spec).await["retry"]["max_attempts"], 3);
    // What still needs a restart is named again, and nothing else.
    let again = node.running.reconfigure(&next).expect("it fits");
    assert_eq!(again.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["raft.queue"]);
    // Of a configuration with a mistake nothing is taken over.
    let mut wrong = next.clone();
    wrong.intake.max_recipients = 100;
    wrong.dispatch.pool_size = 0;
    let mistakes = node.running.reconfigure(&wrong).expect_err("no pool has no calls");
    assert!(mistakes.to_string().contains("dispatch.pool_size"), "{mistakes}");
    assert_eq!(node.post("/v1/messages", three).await.problem(422), "too_many_recipients");
    node.stop().await;
}

#[tokio::test]
async fn a_pool_that_grows_while_the_node_runs_sends_what_waits() {
    let mut node = Lone::with(|config| config.dispatch.pool_size = 1).await;
    node.account("slow", json!({"delay_ms": 500})).await;
    node.template("slow", json!({"channel": "sms", "account": "slow", "content": {"text": "{{ n }}"}})).await;
    // Contents of their own, so that no call carries many.
    let mut ids = Vec::new();
    for n in 0..60 {
        node.template(&format!("t{n}"), json!({"channel": "sms", "account": "slow", "content": {"text": "x"}})).await;
        let sent = node.send(json!({"template": format!("t{n}"), "to": [format!("138001380{n:02}")]})).await;
        ids.push(sent["deliveries"][0]["id"].as_str().expect("an id").to_owned());
    }
    let mut next = node.config.clone();
    next.dispatch.pool_size = 64;
    node.running.reconfigure(&next).expect("it fits");
    let began = tokio::time::Instant::now();
    for id in &ids {
        assert_eq!(node.ended(id).await["state"], "delivered");
    }
    // One after another they would take half a minute.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    node.stop().await;
}
