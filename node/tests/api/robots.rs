//! Robots: the recipient is an account, and what that account says about delivering holds for what is sent to it.

use serde_json::{Value, json};

use crate::lone::Lone;

async fn robot(node: &Lone, name: &str, settings: Value, delivery: Value) {
    let account = json!({"provider": "sandbox", "settings": settings, "delivery": delivery});
    node.put(&format!("/v1/accounts/{name}"), account).await.expect(200);
}

fn attempts(trace: &Value) -> Vec<&Value> {
    let events = trace["events"].as_array().expect("events");
    events.iter().filter(|event| event["what"] == "attempted").collect()
}

#[tokio::test]
async fn a_robot_has_the_retries_the_timeout_and_the_breaker_of_its_account() {
    let node = Lone::start().await;
    robot(&node, "brief", json!({"fail": "later"}), json!({"retry": {"max_attempts": 2, "first_ms": 20}})).await;
    let hasty =
        json!({"timeout_ms": 200, "retry": {"max_attempts": 1}, "breaker": {"consecutive": 1, "open_ms": 60_000}});
    robot(&node, "slow", json!({"delay_ms": 30_000}), hasty).await;
    robot(&node, "plain", json!({"fail": "later"}), json!({})).await;
    node.template("ops", json!({"channel": "dingtalk_robot", "content": {"type": "text", "text": "hi"}})).await;
    let sent = node.send(json!({"template": "ops", "to": ["brief", "slow", "plain"]})).await;
    let id = |n: usize| sent["deliveries"][n]["id"].as_str().expect("an id").to_owned();

    let brief = node.ended(&id(0)).await;
    assert_eq!((brief["state"].as_str(), attempts(&brief).len()), (Some("failed"), 2), "{brief}");
    let slow = node.ended(&id(1)).await;
    assert_eq!((slow["state"].as_str(), attempts(&slow).len()), (Some("unknown"), 1), "{slow}");
    assert!(slow.to_string().contains("did not answer within its deadline"), "{slow}");
    node.until("the breaker opens", async || {
        let account = node.get("/v1/accounts/slow").await.expect(200);
        (account["health"]["breaker"] == "open").then_some(())
    })
    .await;
    // Who says nothing has what holds for all: twelve attempts, the second of them no earlier than half a second after.
    let plain = node.get(&format!("/v1/deliveries/{}", id(2))).await.expect(200);
    assert_eq!(plain["state"], "pending");

    let shown = node.get("/v1/templates/ops/effective").await.expect(200);
    let accounts = shown["legs"][0]["accounts"].as_array().expect("accounts");
    let names: Vec<_> = accounts.iter().filter_map(|one| one["account"].as_str()).collect();
    assert_eq!(names, ["brief", "slow"], "those that say something");
    let held = accounts[1]["held"].as_array().expect("held");
    let of = |key: &str| held.iter().find(|one| one["key"] == key).map(|one| (&one["value"], &one["from"]));
    assert_eq!(of("timeout_ms"), Some((&json!(200), &json!("account slow"))));
    assert_eq!(of("retry.max_attempts"), Some((&json!(1), &json!("account slow"))));
    assert_eq!(of("retry.first_ms"), Some((&json!(1_000), &json!("built-in"))));
    node.stop().await;
}
