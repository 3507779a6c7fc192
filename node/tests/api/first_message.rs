//! From the first message to its whole trace.

use serde_json::{Value, json};

use crate::lone::Lone;

#[tokio::test]
async fn a_message_is_delivered_and_its_whole_life_can_be_read() {
    let node = Lone::ready_to_send().await;
    let sent = node
        .send(json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}, "biz_id": "order-7"}))
        .await;
    let delivery = sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(sent["deliveries"][0]["to"], "+8613800138000");
    assert_eq!(sent["deliveries"][0]["index"], 0);
    assert_eq!(sent["deliveries"][0]["state"], "pending");
    assert_eq!(sent["rejected"], json!([]));

    let trace = node.ended(&delivery).await;
    assert_eq!(trace["state"], "delivered", "{trace}");
    assert_eq!(trace["biz_id"], "order-7");
    assert_eq!(trace["account"], "demo");
    assert_eq!(trace["attempts"], 1);
    let events: Vec<&str> =
        trace["events"].as_array().expect("a list").iter().filter_map(|e| e["what"].as_str()).collect();
    assert_eq!(events, ["accepted", "attempted", "ended"]);
    assert_eq!(trace["events"][1]["outcome"]["class"], "delivered");
    assert_eq!(trace["events"][1]["outcome"]["provider_id"], trace["provider_id"]);
    assert_eq!(trace["events"][2]["state"], "delivered");

    let inbox = node.get("/v1/sandbox?to=%2B8613800138000").await.expect(200);
    assert_eq!(inbox["messages"][0]["content"], json!({"text": "Hello Ann"}));
    assert_eq!(inbox["messages"][0]["delivery"], delivery.as_str());

    let message = node.get(&format!("/v1/messages/{}", sent["message_id"].as_str().expect("an id"))).await.expect(200);
    assert_eq!(message["states"], json!({"delivered": 1}));
    assert_eq!(message["deliveries"][0]["id"], delivery.as_str());
    assert_eq!(
        (&message["template"], &message["version"], &message["recipients"]),
        (&json!("hello"), &json!(1), &json!(1))
    );

    let stats = node.get("/v1/stats/templates/hello").await.expect(200);
    assert_eq!(stats, json!({"accepted": 1, "pending": 0, "ended": {"delivered": 1}}));
    node.stop().await;
}

#[tokio::test]
async fn every_recipient_is_answered_for_itself() {
    let node = Lone::ready_to_send().await;
    let sent = node
        .send(json!({"template": "hello", "variables": {}, "to": [
            {"to": "+8613800138000", "variables": {"name": "Ann"}},
            {"to": "not a number", "variables": {"name": "Bob"}},
            {"to": "+8613800138001"},
            {"to": "13800138000", "variables": {"name": "Ann"}},
            {"to": "13800138000", "variables": {"name": "Eve"}},
        ]}))
        .await;
    let indexes: Vec<u64> =
        sent["deliveries"].as_array().expect("a list").iter().filter_map(|d| d["index"].as_u64()).collect();
    assert_eq!(indexes, [0, 4]);
    let rejected: Vec<(u64, &str)> = sent["rejected"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| (r["index"].as_u64().expect("a number"), r["code"].as_str().expect("a text")))
        .collect();
    assert_eq!(rejected, [(1, "invalid_recipient"), (2, "missing_variable"), (3, "duplicate_recipient")]);
    assert!(sent["rejected"][1]["detail"].as_str().is_some_and(|detail| detail.contains("name")), "{sent}");
    assert_eq!(node.accepted().await, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_batch_is_taken_or_refused_message_by_message() {
    let node = Lone::ready_to_send().await;
    let good = json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}});
    let body = json!({"messages": [good, {"template": "nobody", "to": ["13800138000"]}, {"template": "hello"}]});
    let results = node.post("/v1/messages/batch", body).await.expect(200);
    let statuses: Vec<u64> =
        results["results"].as_array().expect("a list").iter().filter_map(|r| r["status"].as_u64()).collect();
    assert_eq!(statuses, [202, 404, 422]);
    assert!(results["results"][0]["message_id"].is_string());
    assert_eq!(results["results"][1]["problem"]["code"], "unknown_template");
    assert_eq!(results["results"][2]["problem"]["code"], "invalid_request");
    node.stop().await;
}

#[tokio::test]
async fn a_large_message_is_kept_whole_over_all_partitions() {
    let node = Lone::ready_to_send().await;
    let to: Vec<String> = (0..3_000).map(|n| format!("+86138{:08}", 10_000_000 + n)).collect();
    let sent = node.send(json!({"template": "hello", "to": to, "variables": {"name": "all"}})).await;
    assert_eq!(sent["deliveries"].as_array().map(Vec::len), Some(3_000), "{}", sent["rejected"]);
    let path = format!("/v1/messages/{}?limit=500", sent["message_id"].as_str().expect("an id"));
    node.until("all are delivered", async || {
        let message = node.get(&path).await.expect(200);
        (message["states"] == json!({"delivered": 3_000})).then_some(())
    })
    .await;
    // Every page together is every delivery, once, in order.
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = node.get(&format!("{path}{next}")).await.expect(200);
        seen.extend(page["deliveries"].as_array().expect("a list").iter().map(|d| d["id"].clone()));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    let ids: Vec<Value> = sent["deliveries"].as_array().expect("a list").iter().map(|d| d["id"].clone()).collect();
    assert_eq!(seen, ids);
    node.stop().await;
}
