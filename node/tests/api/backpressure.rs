//! What a node does when too much comes in: it says so, says when to come back, and goes on with everything else.

use serde_json::{Value, json};

use crate::lone::Lone;

const ANN: &str = "+8613800138000";

async fn slow(node: &Lone) -> Value {
    node.account("slow", json!({"fail": "later"})).await;
    node.template("hello", json!({"channel": "sms", "account": "slow", "content": {"text": "hi"}})).await;
    json!({"template": "hello", "to": [ANN]})
}

#[tokio::test]
async fn a_key_that_fills_its_share_is_answered_429_and_others_still_have_room() {
    let node = Lone::with(|config| config.intake.pending_per_key = 1).await;
    let body = slow(&node).await;
    node.send(body.clone()).await;
    let got = node.post("/v1/messages", body.clone()).await;
    assert_eq!(got.problem(429), "key_full");
    assert_eq!(
        (&got.body["rejected"][0]["code"], &got.body["rejected"][0]["retryable"]),
        (&json!("key_full"), &json!(true))
    );
    // Nothing ends here, so the advice is as long as it gets, or that of a node that has not measured yet.
    let after: u64 = got.header("retry-after").and_then(|after| after.parse().ok()).expect("it says when");
    assert!((1..=60).contains(&after), "{after}");
    let other = node.post("/v1/keys", json!({"name": "other", "role": "sender"})).await.expect(201);
    let key = other["key"].as_str().expect("a key");
    node.call("POST", "/v1/messages", Some(key), &[], Some(body.to_string())).await.expect(202);
    assert_eq!(node.accepted().await, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_partition_from_which_nothing_ends_says_come_back_in_a_minute() {
    let node = Lone::with(|config| config.intake.pending_per_partition = 1).await;
    let body = slow(&node).await;
    node.send(body.clone()).await;
    let after = node
        .until("the drain was measured", async || {
            let got = node.post("/v1/messages", body.clone()).await;
            assert_eq!(got.problem(429), "full");
            got.header("retry-after").filter(|after| *after == "60").map(str::to_owned)
        })
        .await;
    assert_eq!(after, "60");
    node.stop().await;
}

#[tokio::test]
async fn a_disk_with_less_room_than_configured_takes_nothing_but_can_be_read() {
    let mut node = Lone::with(|config| config.intake.disk_free_bytes = 0).await;
    node.account("demo", json!({})).await;
    node.template("hello", json!({"channel": "sms", "account": "demo", "content": {"text": "hi"}})).await;
    let body = json!({"template": "hello", "to": [ANN]});
    node.send(body.clone()).await;
    let mut next = node.config.clone();
    next.intake.disk_free_bytes = 1 << 50;
    node.running.reconfigure(&next).expect("it fits");
    let after = node
        .until("the disk is found full", async || {
            let got = node.post("/v1/messages", body.clone()).await;
            (got.status == 503).then(|| (got.problem(503).to_owned(), got.header("retry-after").map(str::to_owned)))
        })
        .await;
    assert_eq!(after, ("disk_full".to_owned(), Some("30".to_owned())));
    node.get("/v1/deliveries").await.expect(200);
    let figures = node.get("/metrics").await.answer;
    let figures = String::from_utf8_lossy(&figures.body).into_owned();
    for name in
        ["tidings_disk_free_bytes", "tidings_resident_bytes", "tidings_intake_refused_total{code=\"disk_full\"}"]
    {
        assert!(figures.contains(name), "there is no {name}");
    }
    next.intake.disk_free_bytes = 0;
    node.running.reconfigure(&next).expect("it fits");
    node.send(body).await;
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_holds_more_memory_than_configured_takes_nothing() {
    let node = Lone::with(|config| config.intake.memory_bytes = 1).await;
    let body = slow(&node).await;
    node.until("the memory is found full", async || {
        let got = node.post("/v1/messages", body.clone()).await;
        (got.status == 503).then(|| assert_eq!(got.problem(503), "memory_full"))
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_limit_is_one_window_or_several_and_a_wrong_one_is_named() {
    let node = Lone::start().await;
    let put =
        async |limit: Value| node.put("/v1/accounts/capped", json!({"provider": "sandbox", "limit": limit})).await;
    let minute = json!({"permits": 20, "window_ms": 60_000});
    let day = json!({"permits": 1_000, "window_ms": 86_400_000});
    assert_eq!(put(minute.clone()).await.expect(200)["limit"], minute);
    assert_eq!(put(json!([minute])).await.expect(200)["limit"], minute);
    assert_eq!(put(json!([minute, day])).await.expect(200)["limit"], json!([minute, day]));
    assert_eq!(put(Value::Null).await.expect(200).get("limit"), None);
    for (limit, field) in [
        (json!({"permits": 0, "window_ms": 60_000}), "limit"),
        (json!({"permits": 1, "window_ms": 999}), "limit"),
        (json!({"permits": 1, "window_s": 60}), "limit"),
        (json!(5), "limit"),
        (json!([]), "limit"),
        (json!([minute, {"permits": 1, "window_ms": 0}]), "limit[1]"),
        (json!([minute, minute]), "limit[1]"),
        (json!([minute, "day"]), "limit[1]"),
    ] {
        let got = put(limit.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{limit}");
        assert_eq!(got.body["errors"][0]["field"], field, "{limit}: {}", got.body);
    }
    let by_call = json!({"provider": "sandbox", "limit": minute, "limit_unit": "request"});
    assert_eq!(node.put("/v1/accounts/capped", by_call).await.expect(200)["limit_unit"], "request");
    node.stop().await;
}
