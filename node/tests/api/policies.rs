//! Policies: versions, bad input, and what stops everything.

use serde_json::{Value, json};

use crate::lone::Lone;

fn cap(most: u32) -> Value {
    json!({"kind": "frequency", "selector": {"channels": ["sms"]}, "spec": {"windows": [{"window_ms": 60_000, "most": most}]}})
}

#[tokio::test]
async fn a_policy_has_versions_is_audited_and_can_be_taken_out_of_force() {
    let node = Lone::start().await;
    let first = node.put("/v1/policies/cap", cap(3)).await.expect(200);
    assert_eq!((&first["version"], &first["kind"]), (&json!(1), &json!("frequency")));
    assert_eq!(first["selector"], json!({"channels": ["sms"]}));
    assert_eq!(node.put("/v1/policies/cap", cap(3)).await.expect(200)["version"], 1);
    assert_eq!(node.put("/v1/policies/cap", cap(4)).await.expect(200)["version"], 2);
    assert_eq!(node.get("/v1/policies/cap").await.expect(200)["spec"]["windows"][0]["most"], 4);
    assert_eq!(node.get("/v1/policies/cap?version=1").await.expect(200)["spec"]["windows"][0]["most"], 3);
    let other = json!({"kind": "allow", "spec": {"recipients": ["a"]}});
    assert_eq!(node.put("/v1/policies/cap", other).await.problem(422), "invalid_request");
    assert_eq!(node.get("/v1/policies").await.expect(200)["policies"].as_array().map(Vec::len), Some(1));

    assert_eq!(node.delete("/v1/policies/cap").await.status, 204);
    assert_eq!(node.delete("/v1/policies/cap").await.problem(404), "not_found");
    assert_eq!(node.get("/v1/policies/cap").await.problem(404), "not_found");
    assert_eq!(node.get("/v1/policies").await.expect(200)["policies"], json!([]));
    let versions = node.get("/v1/policies/cap/versions").await.expect(200);
    let numbers: Vec<_> =
        versions["policies"].as_array().expect("a list").iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [json!(2), json!(1)], "events still name them");

    let audit = node.get("/v1/audit").await.expect(200);
    let actions: Vec<_> = audit["entries"].as_array().expect("a list").iter().map(|e| e["action"].clone()).collect();
    assert_eq!(actions[..3], [json!("delete_policy"), json!("put_policy"), json!("put_policy")]);
    node.stop().await;
}

#[tokio::test]
async fn policies_are_there_after_a_restart() {
    let node = Lone::start().await;
    node.put("/v1/policies/cap", cap(3)).await.expect(200);
    let node = node.restart().await;
    assert_eq!(node.get("/v1/policies/cap").await.expect(200)["version"], 1);
    node.stop().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_is_refused_with_the_path_of_the_field() {
    let node = Lone::start().await;
    let quiet = |spec: Value| json!({"kind": "quiet_hours", "spec": spec});
    let windows = json!([{"from": "22:00", "to": "08:00"}]);
    let cases = [
        (json!({"kind": "magic", "spec": {}}), "kind"),
        (json!({"kind": "discard", "spec": []}), "spec"),
        (json!({"kind": "frequency", "spec": {"windows": [{"window_ms": 0, "most": 1}]}}), "spec.windows[0].window_ms"),
        (quiet(json!({"windows": windows, "time_zone": "Mars/Olympus", "then": "drop"})), "spec.time_zone"),
        (quiet(json!({"windows": windows, "time_zone": "UTC", "then": "wait"})), "spec.then"),
        (
            quiet(json!({"windows": [{"from": "22:00", "to": "22:00"}], "time_zone": "UTC", "then": "drop"})),
            "spec.windows[0].to",
        ),
        (json!({"kind": "discard", "spec": {}, "selector": {"channels": ["pigeon"]}}), "selector.channels[0]"),
        (json!({"kind": "discard", "spec": {}, "selector": {"message_types": ["spam"]}}), "selector.message_types[0]"),
        (json!({"kind": "discard", "spec": {}, "selector": {"templates": ["A B"]}}), "selector.templates[0]"),
        (json!({"kind": "discard", "spec": {}, "selector": {"tags": ["a b"]}}), "selector.tags[0]"),
        (json!({"kind": "allow", "spec": {"recipients": [("x".repeat(2_100))]}}), "spec.recipients[0]"),
    ];
    for (body, field) in cases {
        let got = node.put("/v1/policies/bad", body.clone()).await;
        assert_eq!(got.problem(422), "invalid_request", "{body}");
        let fields: Vec<_> = got.body["errors"].as_array().expect("errors").iter().map(|e| &e["field"]).collect();
        assert!(fields.contains(&&json!(field)), "{body}: {}", got.body);
    }
    assert_eq!(node.put("/v1/policies/Bad", cap(1)).await.problem(422), "invalid_request");
    let unknown = json!({"kind": "discard", "spec": {}, "selektor": {}});
    assert_eq!(node.put("/v1/policies/bad", unknown).await.problem(400), "unknown_field");
    assert_eq!(node.get("/v1/policies").await.expect(200)["policies"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn a_policy_that_would_stop_everything_asks_for_confirmation() {
    let node = Lone::start().await;
    let day = json!([{"from": "00:00", "to": "24:00"}]);
    for body in [
        json!({"kind": "discard", "spec": {}}),
        json!({"kind": "discard", "spec": {"recipients": ["*"]}}),
        json!({"kind": "allow", "spec": {"recipients": []}}),
        json!({"kind": "quiet_hours", "spec": {"windows": day, "time_zone": "UTC", "then": "drop"}}),
    ] {
        assert_eq!(node.put("/v1/policies/stop", body.clone()).await.problem(409), "needs_confirmation", "{body}");
        assert_eq!(node.put("/v1/policies/stop?confirm=false", body.clone()).await.problem(409), "needs_confirmation");
        assert_eq!(node.get("/v1/policies/stop").await.status, 404);
        assert_eq!(node.put("/v1/policies/stop?confirm=true", body).await.status, 200);
        assert_eq!(node.delete("/v1/policies/stop").await.status, 204);
    }
    node.stop().await;
}

#[tokio::test]
async fn only_an_admin_changes_policies() {
    let node = Lone::start().await;
    let made = node.post("/v1/keys", json!({"name": "app", "role": "sender"})).await.expect(201);
    let key = made["key"].as_str();
    let put = node.call("PUT", "/v1/policies/cap", key, &[], Some(cap(1).to_string())).await;
    assert_eq!(put.problem(403), "forbidden");
    assert_eq!(node.call("GET", "/v1/policies", key, &[], None).await.status, 200);
    node.stop().await;
}
