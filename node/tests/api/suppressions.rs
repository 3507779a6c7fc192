//! The suppression list: added, listed over all partitions, left again.

use std::collections::BTreeSet;

use serde_json::json;

use crate::lone::Lone;

const ANN: &str = "+8613800138000";

#[tokio::test]
async fn a_suppressed_address_is_not_sent_to_until_it_is_taken_off() {
    let node = Lone::ready_to_send().await;
    let hello = || json!({"template": "hello", "to": [ANN], "variables": {"name": "n"}});
    let entry = json!({"channel": "sms", "address": "138 0013 8000", "reason": "unsubscribed"});
    let first = node.post("/v1/suppressions", entry.clone()).await.expect(200);
    assert_eq!((&first["address"], &first["reason"]), (&json!(ANN), &json!("unsubscribed")));
    assert_eq!(node.post("/v1/suppressions", entry).await.expect(200), first, "the same again changes nothing");

    let sent = node.send(hello()).await;
    assert_eq!(sent["deliveries"][0]["state"], "suppressed");
    let id = sent["deliveries"][0]["id"].as_str().expect("an id");
    let trace = node.get(&format!("/v1/deliveries/{id}")).await.expect(200);
    assert_eq!(trace["events"][1]["rule"], "suppression_list");
    assert_eq!(trace["reason"]["code"], "suppression_list");

    let of = node.get("/v1/suppressions?address=13800138000").await.expect(200);
    assert_eq!(of["suppressions"], json!([first]));
    assert_eq!(node.delete("/v1/suppressions?channel=email&address=a@example.com").await.problem(404), "not_found");
    assert_eq!(node.delete("/v1/suppressions?channel=sms&address=13800138000").await.status, 204);
    assert_eq!(node.send(hello()).await["deliveries"][0]["state"], "pending");

    node.post("/v1/suppressions", json!({"channel": "*", "address": ANN, "reason": "manual"})).await.expect(200);
    assert_eq!(node.send(hello()).await["deliveries"][0]["state"], "suppressed", "every channel");
    let node = node.restart().await;
    assert_eq!(node.send(hello()).await["deliveries"][0]["state"], "suppressed", "after a restart");
    node.stop().await;
}

#[tokio::test]
async fn who_unsubscribes_while_a_message_waits_for_another_attempt_gets_no_more_of_it() {
    let node = Lone::ready_to_send().await;
    node.account("busy", json!({"fail": "later"})).await;
    let retry = json!({"max_attempts": 100, "first_ms": 200, "longest_ms": 1_000});
    let spec = json!({"channel": "sms", "account": "busy", "content": {"text": "hi"}, "retry": retry});
    node.template("patient", spec).await;
    let sent = node.send(json!({"template": "patient", "to": [ANN]})).await;
    assert_eq!(sent["deliveries"][0]["state"], "pending", "the list has nothing against it when it comes");
    let entry = json!({"channel": "sms", "address": ANN, "reason": "unsubscribed"});
    node.post("/v1/suppressions", entry).await.expect(200);
    let trace = node.ended(sent["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!((&trace["state"], &trace["reason"]["code"]), (&json!("suppressed"), &json!("suppression_list")));
    let events = trace["events"].as_array().expect("events");
    let at = |what: &str| events.iter().position(|event| event["what"] == what).unwrap_or_else(|| panic!("{trace}"));
    assert_eq!(events[at("suppressed")]["rule"], "suppression_list");
    assert_eq!(at("suppressed") + 2, events.len(), "the end is all that comes after: {trace}");
    node.stop().await;
}

#[tokio::test]
async fn the_list_is_paged_over_all_partitions_in_order_and_filtered() {
    let node = Lone::start().await;
    for n in 0..30 {
        let channel = if n % 3 == 0 { "email" } else { "*" };
        let entry = json!({"channel": channel, "address": format!("user{n:02}@example.com"), "reason": "bounced"});
        node.post("/v1/suppressions", entry).await.expect(200);
    }
    for (filter, count) in [("", 30), ("&channel=email", 10), ("&channel=*", 20)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = node.get(&format!("/v1/suppressions?limit=7{filter}{cursor}")).await.expect(200);
            let list = page["suppressions"].as_array().expect("a list");
            assert!(list.len() <= 7);
            seen.extend(list.iter().map(|entry| entry["address"].as_str().expect("a text").to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (count, count), "{filter}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_bad_entry_is_refused_with_its_field_and_a_viewer_only_looks() {
    let node = Lone::start().await;
    for (entry, field) in [
        (json!({"channel": "pigeon", "address": "a", "reason": "manual"}), "channel"),
        (json!({"channel": "sms", "address": "12", "reason": "manual"}), "address"),
        (json!({"channel": "email", "address": "ann", "reason": "manual"}), "address"),
        (json!({"channel": "*", "address": "", "reason": "manual"}), "address"),
        (json!({"channel": "sms", "address": ANN, "reason": "because"}), "reason"),
        (json!({"channel": "sms", "address": ANN, "reason": "manual", "until": "2020-01-01T00:00:00Z"}), "until"),
    ] {
        let got = node.post("/v1/suppressions", entry.clone()).await;
        assert_eq!((got.problem(422), &got.body["errors"][0]["field"]), ("invalid_request", &json!(field)), "{entry}");
    }
    assert_eq!(node.get("/v1/suppressions?cursor=nonsense").await.problem(422), "invalid_request");
    let made = node.post("/v1/keys", json!({"name": "eye", "role": "viewer"})).await.expect(201);
    let entry = json!({"channel": "sms", "address": ANN, "reason": "manual"}).to_string();
    let got = node.call("POST", "/v1/suppressions", made["key"].as_str(), &[], Some(entry)).await;
    assert_eq!(got.problem(403), "forbidden");
    assert_eq!(node.call("GET", "/v1/suppressions", made["key"].as_str(), &[], None).await.status, 200);
    node.stop().await;
}
