//! A restart keeps everything: what was accepted, what was written, what was claimed.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let node = Lone::ready_to_send().await;
    node.account("slow", json!({"fail": "later"})).await;
    node.template("slow", json!({"channel": "sms", "account": "slow", "content": {"text": "hi"}})).await;
    let body = json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}});
    let first = node.post_once("k", &body).await.expect(202);
    let delivered = first["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    let before = node.ended(&delivered).await;
    let waiting = node.send(json!({"template": "slow", "to": ["13800138001"]})).await;
    let waiting = waiting["deliveries"][0]["id"].as_str().expect("an id").to_owned();

    let node = node.restart().await;
    assert_eq!(node.get(&format!("/v1/deliveries/{delivered}")).await.expect(200), before);
    assert_eq!(node.get(&format!("/v1/deliveries/{waiting}")).await.expect(200)["state"], "pending");
    let again = node.post_once("k", &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202), first);
    assert_eq!(node.accepted().await, 2);
    assert_eq!(node.get("/v1/templates").await.expect(200)["templates"].as_array().map(Vec::len), Some(2));
    // What waited goes on once its account is good.
    node.account("slow", json!({})).await;
    assert_eq!(node.ended(&waiting).await["state"], "delivered");
    node.stop().await;
}
