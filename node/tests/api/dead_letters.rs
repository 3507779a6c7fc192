//! Dead letters: grouped by reason, read, and sent again.

use serde_json::{Value, json};

use crate::lone::Lone;

async fn node_with_dead_letters(count: usize) -> (Lone, Vec<String>) {
    let node = Lone::start().await;
    node.account("broken", json!({"fail": "never"})).await;
    node.account("good", json!({})).await;
    let content = json!({"text": "Hello {{ name }}"});
    node.template("hello", json!({"channel": "sms", "account": "broken", "content": content})).await;
    let to: Vec<String> = (0..count).map(|n| format!("+86138001380{n:02}")).collect();
    let sent = node.send(json!({"template": "hello", "to": to, "variables": {"name": "Ann"}, "biz_id": "b"})).await;
    let deliveries = sent["deliveries"].as_array().expect("a list");
    let ids: Vec<String> = deliveries.iter().filter_map(|d| d["id"].as_str()).map(str::to_owned).collect();
    for id in &ids {
        assert_eq!(node.ended(id).await["state"], "failed");
    }
    (node, ids)
}

#[tokio::test]
async fn failed_deliveries_are_grouped_by_reason_and_listed() {
    let (node, ids) = node_with_dead_letters(7).await;
    let groups = node.get("/v1/dead-letters").await.expect(200);
    assert_eq!(groups["total"], 7);
    let group = &groups["groups"][0];
    assert_eq!(
        (&group["code"], &group["count"], &group["state"]),
        (&json!("sandbox_never"), &json!(7), &json!("failed"))
    );
    assert_eq!(
        (&group["template"], &group["channel"], &group["account"]),
        (&json!("hello"), &json!("sms"), &json!("broken"))
    );
    assert!(ids.contains(&group["sample"].as_str().expect("an id").to_owned()));
    assert_eq!(node.get("/v1/dead-letters?code=other").await.expect(200)["total"], 0);

    let mut listed = Vec::new();
    let mut next = String::new();
    loop {
        let page = node.get(&format!("/v1/dead-letters/list?limit=3{next}")).await.expect(200);
        listed.extend(
            page["deliveries"].as_array().expect("a list").iter().map(|d| d["id"].as_str().expect("an id").to_owned()),
        );
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    let newest_first: Vec<String> = ids.into_iter().rev().collect();
    assert_eq!(listed, newest_first);
    node.stop().await;
}

#[tokio::test]
async fn a_redrive_with_an_edit_delivers_and_both_lives_point_at_each_other() {
    let (node, ids) = node_with_dead_letters(3).await;
    let edit = json!({"account": "good", "variables": {"name": "Eve"}});
    let one = json!({"filter": {"ids": [ids[0]]}, "edit": edit});
    let done = node.post("/v1/dead-letters/redrive", one.clone()).await.expect(202);
    assert_eq!((&done["redriven"], &done["skipped"]), (&json!(1), &json!(0)), "{done}");
    let new = done["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(done["deliveries"][0]["from"], ids[0].as_str());
    let trace = node.ended(&new).await;
    assert_eq!(trace["state"], "delivered", "{trace}");
    assert_eq!(trace["events"][1]["delivery"], ids[0].as_str());
    let old = node.get(&format!("/v1/deliveries/{}", ids[0])).await.expect(200);
    let events: Vec<&Value> = old["events"].as_array().expect("a list").iter().collect();
    assert_eq!(events.last().map(|event| &event["delivery"]), Some(&json!(new)));
    assert_eq!(old["state"], "failed");
    let inbox = node.get("/v1/sandbox?account=good").await.expect(200);
    assert_eq!(inbox["messages"][0]["content"], json!({"text": "Hello Eve"}));
    // A dead letter is redriven once.
    let again = node.post("/v1/dead-letters/redrive", one).await.expect(202);
    assert_eq!((&again["redriven"], &again["skipped"]), (&json!(0), &json!(1)));

    let all =
        node.post("/v1/dead-letters/redrive", json!({"filter": {"template": "hello"}, "edit": edit})).await.expect(202);
    assert_eq!(all["redriven"], 2);
    for made in all["deliveries"].as_array().expect("a list") {
        assert_eq!(node.ended(made["id"].as_str().expect("an id")).await["state"], "delivered");
    }
    assert_eq!(node.get("/v1/dead-letters").await.expect(200)["total"], 0);
    node.stop().await;
}

#[tokio::test]
async fn a_redrive_can_use_the_template_as_it_is_now() {
    let (node, _) = node_with_dead_letters(1).await;
    node.template("hello", json!({"channel": "sms", "account": "good", "content": {"text": "Better, {{ name }}"}}))
        .await;
    let body = json!({"filter": {}, "edit": {"template_version": "latest"}});
    let done = node.post("/v1/dead-letters/redrive", body).await.expect(202);
    let trace = node.ended(done["deliveries"][0]["id"].as_str().expect("an id")).await;
    assert_eq!((&trace["state"], &trace["version"]), (&json!("delivered"), &json!(2)));
    let unknown = node.post("/v1/dead-letters/redrive", json!({"filter": {}, "edit": {"account": "nobody"}})).await;
    assert_eq!(unknown.problem(422), "unknown_account");
    node.stop().await;
}
