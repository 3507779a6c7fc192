//! Each rule end to end: a policy, a message, and the trace that names the rule and its version.

use serde_json::{Value, json};

use crate::lone::Lone;

const ANN: &str = "+8613800138000";
const BOB: &str = "+8613900139000";

async fn node() -> Lone {
    let node = Lone::ready_to_send().await;
    let code =
        json!({"channel": "sms", "account": "demo", "message_type": "auth_code", "content": {"text": "{{ name }}"}});
    node.template("code", code).await;
    node
}

async fn put(node: &Lone, name: &str, kind: &str, spec: Value) {
    node.put(&format!("/v1/policies/{name}"), json!({"kind": kind, "spec": spec})).await.expect(200);
}

fn hello(to: &str) -> Value {
    json!({"template": "hello", "to": [to], "variables": {"name": "Ann"}})
}

/// Sends to one recipient; what the dry run said before must be what happened. Gives the state and the rule in the trace.
async fn send(node: &Lone, body: Value) -> (String, String, Value) {
    let said = node.post("/v1/messages?dry_run=true", body.clone()).await.expect(200);
    let said = &said["deliveries"][0];
    let sent = node.send(body).await;
    let delivery = &sent["deliveries"][0];
    assert_eq!(said["state"], delivery["state"], "{said} and {delivery}");
    let id = delivery["id"].as_str().expect("an id");
    let trace = node.get(&format!("/v1/deliveries/{id}")).await.expect(200);
    let decided = trace["events"].as_array().expect("events").iter().find(|event| event["rule"].is_string());
    let rule = decided.map(|event| event["rule"].as_str().expect("a text").to_owned()).unwrap_or_default();
    // Quiet hours tell when it would leave, which is a moment later.
    if let Some(event) = decided.filter(|_| !rule.starts_with("quiet_hours")) {
        let told = said["rules"].as_array().expect("rules").iter().find(|told| told["rule"] == event["rule"]);
        assert_eq!(told.map(|told| &told["detail"]), Some(&event["detail"]), "{said}");
    }
    (delivery["state"].as_str().expect("a state").to_owned(), rule, trace)
}

#[tokio::test]
async fn a_discard_list_names_templates_recipients_and_tags() {
    let node = node().await;
    put(&node, "bad", "discard", json!({"recipients": ["139*", "+86139*"], "tags": ["test"], "templates": ["code"]}))
        .await;
    let tagged = |tag: &str| json!({"template": "hello", "to": [ANN], "variables": {"name": "n"}, "tags": ["x", tag]});
    let code = json!({"template": "code", "to": [ANN], "variables": {"name": "n"}});
    for (body, state) in [
        (hello(ANN), "pending"),
        (hello(BOB), "suppressed"),
        (tagged("test"), "suppressed"),
        (tagged("testing"), "pending"),
        (code, "suppressed"),
    ] {
        let (found, rule, trace) = send(&node, body.clone()).await;
        assert_eq!(found, state, "{body}");
        if state == "suppressed" {
            assert_eq!((rule.as_str(), &trace["reason"]["code"]), ("discard/bad@1", &json!("discarded")));
        }
    }
    put(&node, "bad", "discard", json!({"tags": ["other"]})).await;
    assert_eq!(send(&node, hello(BOB)).await.0, "pending", "a change holds at once");
    node.stop().await;
}

#[tokio::test]
async fn where_there_is_an_allow_list_only_who_is_on_it_is_sent_to() {
    let node = node().await;
    put(&node, "staff", "allow", json!({"recipients": ["13800138000"]})).await;
    assert_eq!(send(&node, hello(ANN)).await.0, "pending");
    let (state, rule, trace) = send(&node, hello(BOB)).await;
    assert_eq!((state.as_str(), rule.as_str()), ("suppressed", "allow/staff@1"));
    assert_eq!(trace["reason"]["code"], "not_allowed");
    node.stop().await;
}

#[tokio::test]
async fn quiet_hours_are_those_of_the_recipients_zone_and_spare_codes() {
    let node = node().await;
    // Quiet all day long but in Kiritimati, where it is another day than in Honolulu at every time.
    let today = json!({"windows": [{"from": "00:00", "to": "24:00"}], "time_zone": "UTC", "then": "drop"});
    let body = json!({"kind": "quiet_hours", "spec": today, "selector": {"tags": ["quiet"]}});
    node.put("/v1/policies/q?confirm=true", body).await.expect(200);
    let tagged =
        |template: &str| json!({"template": template, "to": [ANN], "variables": {"name": "n"}, "tags": ["quiet"]});
    let (state, rule, trace) = send(&node, tagged("hello")).await;
    assert_eq!((state.as_str(), rule.as_str()), ("suppressed", "quiet_hours/q@1"));
    assert_eq!(trace["reason"]["code"], "quiet_hours");
    assert_eq!(send(&node, tagged("code")).await.0, "pending", "codes are exempt");

    // From two hours ago to two hours from now in the recipient's zone, whatever its day.
    let hour = |ahead: i64| {
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs()).expect("it fits");
        format!("{:02}:00", (now / 3_600 + ahead).rem_euclid(24))
    };
    let windows = json!([{"from": hour(-2), "to": hour(2)}]);
    let spec = json!({"windows": windows, "time_zone": "Pacific/Kiritimati", "then": "defer"});
    let body = json!({"kind": "quiet_hours", "spec": spec, "selector": {"tags": ["night"]}});
    node.put("/v1/policies/night", body).await.expect(200);
    // It is 14 hours later in Kiritimati; in UTC it is quiet now.
    let at = |zone: Value| json!({"template": "hello", "to": [{"to": ANN, "time_zone": zone}], "variables": {"name": "n"}, "tags": ["night"]});
    assert_eq!(send(&node, at(json!("Pacific/Kiritimati"))).await.1, "");
    assert_eq!(send(&node, at(Value::Null)).await.1, "", "the policy's own zone");
    let (state, rule, trace) = send(&node, at(json!("Etc/UTC"))).await;
    assert_eq!((state.as_str(), rule.as_str()), ("pending", "quiet_hours/night@1"));
    assert_eq!(trace["events"][1]["what"], "deferred");
    node.stop().await;
}

#[tokio::test]
async fn caps_count_over_templates_of_a_type_and_a_template_can_be_stricter() {
    let node = node().await;
    let spec = |text: &str| json!({"channel": "sms", "account": "demo", "content": {"text": text}});
    node.template("other", spec("o")).await;
    let mut strict = spec("s");
    strict["rules"] = json!({"frequency": {"windows": [{"window_ms": 3_600_000, "most": 1}]}});
    node.template("strict", strict).await;
    put(&node, "cap", "frequency", json!({"windows": [{"window_ms": 3_600_000, "most": 3}]})).await;
    let to = |template: &str| json!({"template": template, "to": [ANN], "variables": {"name": "n"}});
    for (template, state, wanted) in [
        ("strict", "pending", ""),
        ("strict", "suppressed", "frequency/template:strict@1"),
        ("hello", "pending", ""),
        ("other", "pending", ""),
        ("hello", "suppressed", "frequency/cap@1"),
        ("code", "pending", ""),
    ] {
        let (found, rule, _) = send(&node, to(template)).await;
        assert_eq!((found.as_str(), rule.as_str()), (state, wanted), "{template}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_delivery_that_fails_gives_its_slot_back() {
    let node = node().await;
    node.account("broken", json!({"fail": "never"})).await;
    let broken = json!({"channel": "sms", "account": "broken", "content": {"text": "x"}});
    node.template("broken", broken).await;
    put(&node, "cap", "frequency", json!({"windows": [{"window_ms": 3_600_000, "most": 1}]})).await;
    let sent = node.send(json!({"template": "broken", "to": [ANN]})).await;
    let trace = node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!(trace["state"], "failed");
    assert_eq!(send(&node, hello(ANN)).await.0, "pending");
    assert_eq!(send(&node, hello(ANN)).await.0, "suppressed");
    node.stop().await;
}

#[tokio::test]
async fn what_counts_as_the_same_can_be_chosen() {
    let node = node().await;
    let dedup = |key: Value| json!({"window_ms": 3_600_000, "most": 2, "key": key});
    let cases = [
        (json!(["content"]), ["Ann", "Ann", "Bob", "Ann"], ["pending", "pending", "pending", "suppressed"]),
        (json!(["template"]), ["Ann", "Bob", "Cem", "Ann"], ["pending", "pending", "suppressed", "suppressed"]),
        (json!(["variables.name"]), ["Ann", "Bob", "Ann", "Ann"], ["pending", "pending", "pending", "suppressed"]),
        (json!(["biz_id"]), ["Ann", "Ann", "Ann", "Ann"], ["pending"; 4]),
    ];
    for (n, (key, names, states)) in cases.into_iter().enumerate() {
        put(&node, &format!("d{n}"), "dedup", dedup(key.clone())).await;
        for (name, state) in names.into_iter().zip(states) {
            let body = json!({"template": "hello", "to": [ANN], "variables": {"name": name}});
            assert_eq!(send(&node, body).await.0, state, "{key} {name}");
        }
        assert_eq!(node.delete(&format!("/v1/policies/d{n}")).await.status, 204);
    }
    node.stop().await;
}

#[tokio::test]
async fn bad_tags_zones_and_rules_of_templates_are_refused() {
    let node = node().await;
    let with = |field: &str, value: Value| {
        let mut body = hello(ANN);
        body[field] = value;
        body
    };
    let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
    for (body, field) in [
        (with("tags", json!(["a b"])), "tags[0]"),
        (with("tags", json!(["a", ""])), "tags[1]"),
        (with("tags", json!(many)), "tags"),
        (with("time_zone", json!("Mars/Olympus")), "time_zone"),
    ] {
        let got = node.post("/v1/messages", body.clone()).await;
        assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!(field)), "{body}");
    }
    let to = json!([ANN, {"to": BOB, "time_zone": "Mars/Olympus"}]);
    let sent = node.send(json!({"template": "hello", "to": to, "variables": {"name": "n"}})).await;
    assert_eq!((&sent["rejected"][0]["code"], &sent["rejected"][0]["index"]), (&json!("unknown_time_zone"), &json!(1)));
    let template =
        |rules: Value| json!({"channel": "sms", "account": "demo", "content": {"text": "x"}, "rules": rules});
    for (rules, field) in [
        (json!({"discard": {}}), "rules.discard"),
        (json!({"magic": {}}), "rules.magic"),
        (json!({"frequency": {"windows": [{"window_ms": 1, "most": 1}]}}), "rules.frequency.windows[0].window_ms"),
        (json!({"allow": {"recipients": []}}), "rules.allow"),
    ] {
        let got = node.put("/v1/templates/bad", template(rules.clone())).await;
        assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!(field)), "{rules}");
    }
    node.stop().await;
}
