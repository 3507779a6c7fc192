//! Keys, roles and the audit log.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn a_request_without_a_good_key_is_refused() {
    let node = Lone::ready_to_send().await;
    let nobody = format!("tdk_{}", "A".repeat(43));
    for key in [None, Some("nonsense"), Some(nobody.as_str())] {
        let got = node.call("GET", "/v1/templates", key, &[], None).await;
        assert_eq!(got.problem(401), "unauthorized");
        assert!(got.header("www-authenticate").is_some());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_key_may_do_what_its_role_says_until_it_is_revoked() {
    let node = Lone::ready_to_send().await;
    let mut keys = Vec::new();
    for role in ["viewer", "sender", "admin"] {
        let made = node.post("/v1/keys", json!({"name": role, "role": role})).await.expect(201);
        assert!(made["key"].as_str().is_some_and(|key| key.starts_with("tdk_") && key.len() == 47));
        keys.push((made["id"].as_str().expect("an id").to_owned(), made["key"].as_str().expect("a key").to_owned()));
    }
    let message = json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}}).to_string();
    let cases = [
        ("GET", "/v1/templates", None, 0, 200),
        ("POST", "/v1/messages", Some(message), 1, 202),
        ("GET", "/v1/audit", None, 2, 200),
    ];
    for (method, path, body, least, good) in cases {
        for (at, (_, key)) in keys.iter().enumerate() {
            let got = node.call(method, path, Some(key), &[], body.clone()).await;
            if at >= least {
                assert_eq!(got.status, good, "{method} {path} with key {at}: {}", got.body);
            } else {
                assert_eq!(got.problem(403), "forbidden", "{method} {path} with key {at}");
            }
        }
    }
    let (id, key) = &keys[1];
    assert_eq!(node.delete(&format!("/v1/keys/{id}")).await.status, 204);
    assert_eq!(node.call("GET", "/v1/templates", Some(key), &[], None).await.problem(401), "unauthorized");
    let listed = node.get("/v1/keys").await.expect(200);
    let revoked = listed["keys"].as_array().expect("a list").iter().filter(|key| key["revoked_at"].is_string()).count();
    assert_eq!(revoked, 1);
    assert!(!listed.to_string().contains("tdk_"));
    node.stop().await;
}

#[tokio::test]
async fn the_last_admin_key_stays() {
    let node = Lone::start().await;
    let keys = node.get("/v1/keys").await.expect(200);
    let id = keys["keys"][0]["id"].as_str().expect("an id");
    assert_eq!(node.delete(&format!("/v1/keys/{id}")).await.problem(409), "conflict");
    assert_eq!(node.delete("/v1/keys/key_000000000000").await.problem(404), "not_found");
    node.stop().await;
}

#[tokio::test]
async fn every_change_stands_in_the_audit_log() {
    let node = Lone::ready_to_send().await;
    let audit = node.get("/v1/audit").await.expect(200);
    let entries = audit["entries"].as_array().expect("a list");
    let actions: Vec<_> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions[..2], ["put_template", "put_account"], "{audit}");
    assert!(entries[0]["by"].as_str().is_some_and(|by| by.starts_with("key_")));
    let page = node.get("/v1/audit?limit=1").await.expect(200);
    let before = page["next"].as_u64().expect("there is more");
    assert_eq!(
        node.get(&format!("/v1/audit?limit=1&before={before}")).await.expect(200)["entries"][0]["action"],
        "put_account"
    );
    node.stop().await;
}
