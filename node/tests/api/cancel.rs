//! Cancels: what was not sent is not sent; what was sent stays sent.

use serde_json::json;

use crate::lone::Lone;

/// A time so far ahead that no test reaches it, and so near that it is accepted.
async fn later(node: &Lone) -> String {
    let sent = node.send(json!({"template": "hello", "to": ["13800138009"], "variables": {"name": "now"}})).await;
    let id = sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    let trace = node.ended(&id).await;
    let at = tidings_contract::Time::parse(trace["accepted_at"].as_str().expect("a time")).expect("a time");
    at.after_ms(86_400_000).to_string()
}

#[tokio::test]
async fn a_scheduled_message_can_be_cancelled_and_is_never_sent() {
    let node = Lone::ready_to_send().await;
    let send_at = later(&node).await;
    let to = ["13800138000", "13800138001", "13800138002"];
    let sent =
        node.send(json!({"template": "hello", "to": to, "variables": {"name": "Ann"}, "send_at": send_at})).await;
    let message = sent["message_id"].as_str().expect("an id");
    let cancelled = node.post(&format!("/v1/messages/{message}/cancel"), json!({})).await.expect(200);
    assert_eq!((&cancelled["cancelled"], &cancelled["too_late"]), (&json!(3), &json!(0)), "{cancelled}");
    assert_eq!(cancelled["pending"], 0);
    for delivery in cancelled["deliveries"].as_array().expect("a list") {
        assert_eq!(delivery["state"], "cancelled");
    }
    let trace = node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await;
    let events: Vec<_> =
        trace["events"].as_array().expect("a list").iter().filter_map(|e| e["what"].as_str()).collect();
    assert_eq!(events, ["accepted", "scheduled", "cancel_requested", "ended"]);
    // Once more changes nothing.
    let again = node.post(&format!("/v1/messages/{message}/cancel"), json!({})).await.expect(200);
    assert_eq!(again["cancelled"], 3);
    node.stop().await;
}

#[tokio::test]
async fn one_delivery_of_many_can_be_cancelled() {
    let node = Lone::ready_to_send().await;
    let send_at = later(&node).await;
    let to = ["13800138000", "13800138001"];
    let sent =
        node.send(json!({"template": "hello", "to": to, "variables": {"name": "Ann"}, "send_at": send_at})).await;
    let id = |n: usize| sent["deliveries"][n]["id"].as_str().expect("an id").to_owned();
    let cancelled = node.post(&format!("/v1/deliveries/{}/cancel", id(0)), json!({})).await.expect(200);
    assert_eq!(cancelled["deliveries"], json!([{"id": id(0), "state": "cancelled"}]));
    assert_eq!(node.get(&format!("/v1/deliveries/{}", id(1))).await.expect(200)["state"], "pending");
    node.stop().await;
}

#[tokio::test]
async fn what_was_delivered_cannot_be_cancelled_any_more() {
    let node = Lone::ready_to_send().await;
    let sent = node.send(json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}})).await;
    let id = sent["deliveries"][0]["id"].as_str().expect("an id");
    node.ended(id).await;
    let cancelled = node.post(&format!("/v1/deliveries/{id}/cancel"), json!({})).await.expect(200);
    assert_eq!((&cancelled["cancelled"], &cancelled["too_late"]), (&json!(0), &json!(1)));
    let unknown = node.post("/v1/messages/msg_00000000000000000000000000/cancel", json!({})).await;
    assert_eq!(unknown.problem(404), "not_found");
    node.stop().await;
}
