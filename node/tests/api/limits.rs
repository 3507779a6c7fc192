//! Limits and sizes of pools as policies: put over HTTP, felt at once, gone at once.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::lone::Lone;

const ANN: &str = "+8613800138000";

async fn put(node: &Lone, kind: &str, selector: Value, spec: Value) -> crate::lone::Got {
    node.put("/v1/policies/one", json!({"kind": kind, "selector": selector, "spec": spec})).await
}

fn id(sent: &Value) -> String {
    sent["deliveries"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_recipient_gets_what_the_policy_allows_and_the_rest_when_it_is_gone() {
    let node = Lone::ready_to_send().await;
    let spec = json!({"of": "recipient", "windows": [{"permits": 1, "window_ms": 3_600_000}]});
    put(&node, "limits", json!({"templates": ["hello"]}), spec).await.expect(200);
    let body = json!({"template": "hello", "to": [ANN], "variables": {"name": "Ann"}});
    let sent = [id(&node.send(body.clone()).await), id(&node.send(body).await)];
    let delivered = async || {
        let mut count = 0;
        for id in &sent {
            let trace = node.get(&format!("/v1/deliveries/{id}")).await.expect(200);
            count += usize::from(trace["state"] == "delivered");
        }
        count
    };
    node.until("one is delivered", async || (delivered().await == 1).then_some(())).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(delivered().await, 1, "the other waits");
    let began = Instant::now();
    assert_eq!(node.delete("/v1/policies/one").await.status, 204);
    for id in &sent {
        assert_eq!(node.ended(id).await["state"], "delivered");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    node.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_with_the_field() {
    let node = Lone::start().await;
    let window = json!([{"permits": 1, "window_ms": 1_000}]);
    for (kind, selector, spec, field) in [
        ("limits", json!({}), json!({"of": "recipient", "windows": []}), "spec.windows"),
        ("limits", json!({}), json!({"of": "planet", "windows": window}), "spec.of"),
        ("limits", json!({"channels": ["pigeon"]}), json!({"of": "key", "windows": window}), "selector.channels[0]"),
        ("lanes", json!({}), json!({"pool_size": 0}), "spec.pool_size"),
        ("lanes", json!({"templates": ["hello"]}), json!({"pool_size": 8}), "selector.templates"),
    ] {
        let got = put(&node, kind, selector, spec.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{kind} {spec}");
        assert_eq!(got.body["errors"][0]["field"], field, "{kind} {spec}: {}", got.body);
    }
    node.stop().await;
}
