//! Recalls: what is pending is cancelled, what was sent is taken back where that can be done, and the counts add up.

use serde_json::{Value, json};

use crate::double;
use crate::lone::Lone;

async fn send(node: &Lone, to: &[&str]) -> (String, Vec<String>) {
    let sent = node.send(json!({"template": "hello", "to": to, "variables": {"name": "Ann"}})).await;
    let ids = sent["deliveries"].as_array().expect("a list").iter().filter_map(|d| d["id"].as_str());
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    for id in &ids {
        node.ended(id).await;
    }
    (sent["message_id"].as_str().expect("an id").to_owned(), ids)
}

fn whats(trace: &Value) -> Vec<String> {
    let events = trace["events"].as_array().expect("a list").iter();
    events.filter_map(|event| event["what"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_message_is_taken_back_and_who_cannot_be_says_why() {
    let (node, double) = double::node().await;
    let (message, ids) = send(&node, &["+8613800138000", "+8613800138001", "+8613800138009"]).await;
    let path = format!("/v1/messages/{message}/recall");
    let recalled = node.post(&path, json!({})).await.expect(200);
    assert_eq!((&recalled["recalled"], &recalled["not_recallable"]), (&json!(2), &json!(1)), "{recalled}");
    let refused = recalled["deliveries"].as_array().expect("a list").iter().find(|d| d["recall"] == "not_recallable");
    let refused = refused.expect("one could not be taken back");
    assert_eq!((&refused["state"], &refused["reason"]["code"]), (&json!("delivered"), &json!("too_old")));
    let trace = node.get(&format!("/v1/deliveries/{}", ids[0])).await.expect(200);
    assert_eq!(trace["state"], "recalled", "{trace}");
    let told = ["accepted", "attempted", "ended", "recall_requested", "recall_attempted", "ended"];
    assert_eq!(whats(&trace), told);
    // Once more asks nobody and counts nothing.
    node.post(&path, json!({})).await.expect(200);
    assert_eq!(double.recalled.lock().len(), 3);
    let stats = node.get("/v1/stats").await.expect(200);
    assert_eq!(
        (&stats["accepted"], &stats["ended"]["delivered"], &stats["ended"]["recalled"]),
        (&json!(3), &json!(1), &json!(2)),
        "{stats}"
    );
    let list = node.get("/v1/deliveries?state=recalled").await.expect(200);
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(2), "{list}");
    let list = node.get("/v1/deliveries?state=delivered&template=hello").await.expect(200);
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(1), "{list}");
    assert!(double.tokens.lock().iter().all(Option::is_some), "every call had the access token");
    node.stop().await;
}

#[tokio::test]
async fn a_template_is_recalled_since_a_time_and_pending_ones_are_cancelled() {
    let (node, _) = double::node().await;
    let (_, ids) = send(&node, &["+8613800138000"]).await;
    let accepted = node.get(&format!("/v1/deliveries/{}", ids[0])).await.expect(200)["accepted_at"].clone();
    let accepted = tidings_contract::Time::parse(accepted.as_str().expect("a time")).expect("a time");
    let send_at = accepted.after_ms(3_600_000).to_string();
    node.send(json!({"template": "hello", "to": ["+8613800138002"], "variables": {"name": "Bob"}, "send_at": send_at}))
        .await;
    let since = |ms: u64| format!("/v1/templates/hello/recall?since={}", tidings_contract::Time(accepted.0 - ms));
    let recalled = node.post(&since(60_000), json!({})).await.expect(200);
    assert_eq!((&recalled["recalled"], &recalled["cancelled"]), (&json!(1), &json!(1)), "{recalled}");
    assert_eq!(recalled["more"], false);
    assert_eq!(node.post(&since(8 * 86_400_000), json!({})).await.problem(422), "invalid_request");
    assert_eq!(node.post("/v1/templates/hello/recall", json!({})).await.problem(422), "invalid_request");
    let unknown = since(1).replace("hello", "nothing");
    assert_eq!(node.post(&unknown, json!({})).await.problem(404), "unknown_template");
    node.stop().await;
}

#[tokio::test]
async fn a_provider_that_has_no_recall_is_named() {
    let node = Lone::ready_to_send().await;
    let (_, ids) = send(&node, &["13800138000"]).await;
    let recalled = node.post(&format!("/v1/deliveries/{}/recall", ids[0]), json!({})).await.expect(200);
    let one = &recalled["deliveries"][0];
    assert_eq!((&one["recall"], &one["reason"]["code"]), (&json!("not_recallable"), &json!("not_recallable")));
    assert!(one["reason"]["words"].as_str().is_some_and(|words| words.contains("sandbox")), "{one}");
    let missing = ids[0].replace("dlv_0", "dlv_1");
    assert_eq!(node.post(&format!("/v1/deliveries/{missing}/recall"), json!({})).await.status, 404);
    node.stop().await;
}
