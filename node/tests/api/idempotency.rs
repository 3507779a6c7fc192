//! The same key, the same message: never twice, whatever is repeated.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn a_repeated_request_gets_the_same_message_and_keeps_nothing_twice() {
    let node = Lone::ready_to_send().await;
    let to: Vec<String> = (0..40).map(|n| format!("+86138001380{n:02}")).collect();
    let body = json!({"template": "hello", "to": to, "variables": {"name": "Ann"}});
    let first = node.post_once("order-7", &body).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let first = first.expect(202);
    assert_eq!(first["deliveries"].as_array().map(Vec::len), Some(40));
    for _ in 0..3 {
        let again = node.post_once("order-7", &body).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.expect(202), first);
    }
    assert_eq!(node.accepted().await, 40);
    node.stop().await;
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let node = Lone::ready_to_send().await;
    let body = |name: &str| json!({"template": "hello", "to": ["13800138000"], "variables": {"name": name}});
    node.post_once("order-7", &body("Ann")).await.expect(202);
    let other = node.post_once("order-7", &body("Bob")).await;
    assert_eq!(other.problem(422), "idempotency_mismatch");
    node.post_once("order-8", &body("Bob")).await.expect(202);
    assert_eq!(node.accepted().await, 2);
    node.stop().await;
}

#[tokio::test]
async fn many_at_once_under_one_key_make_one_message() {
    let node = Lone::ready_to_send().await;
    let body = json!({"template": "hello", "to": ["13800138000", "13800138001"], "variables": {"name": "Ann"}});
    let all = futures::future::join_all((0..16).map(|_| node.post_once("race", &body))).await;
    let bodies: Vec<_> = all.into_iter().map(|got| got.expect(202)).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(node.accepted().await, 2);
    node.stop().await;
}

#[tokio::test]
async fn a_repeat_is_pinned_to_the_version_and_to_the_split_of_the_first_time() {
    let node = Lone::start().await;
    let body = json!({"template": "robot", "to": ["ops", "dev"]});
    node.account("ops", json!({})).await;
    let robot = |text: &str| json!({"channel": "dingtalk_robot", "content": {"type": "text", "text": text}});
    node.template("robot", robot("one")).await;
    let first = node.post_once("k", &body).await.expect(202);
    assert_eq!(first["rejected"][0]["code"], "unknown_account");
    // The world moves on: the account appears, the template changes.
    node.account("dev", json!({})).await;
    node.template("robot", robot("two")).await;
    let again = node.post_once("k", &body).await.expect(202);
    assert_eq!(again["message_id"], first["message_id"]);
    assert_eq!(again["deliveries"][0], first["deliveries"][0]);
    for placed in again["deliveries"].as_array().expect("a list") {
        let trace = node.ended(placed["id"].as_str().expect("an id")).await;
        assert_eq!(trace["version"], 1);
    }
    node.stop().await;
}
