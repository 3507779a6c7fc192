//! Failed sign-ins are slowed and told; a valid key is not; and there is a way back from lost keys.

use serde_json::json;

use crate::lone::{CLUSTER_SECRET, Lone};

fn made_up(n: u32) -> String {
    format!("tdk_{n:043}")
}

/// The value of a figure, summed over its labels.
async fn figure(node: &Lone, name: &str) -> f64 {
    let text = node.get("/metrics").await.answer.body.to_vec();
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn wrong_keys_are_slowed_and_a_valid_key_from_the_same_address_is_not() {
    let node = Lone::with(|config| config.access.failed_sign_ins_per_minute = 12).await;
    let mut looked_at = 0;
    for n in 0..200 {
        // Every third does not even look like a key.
        let key = if n % 3 == 0 { "nonsense".to_owned() } else { made_up(n) };
        let got = node.call("GET", "/v1/templates", Some(&key), &[], None).await;
        match got.status {
            401 => looked_at += 1,
            _ => {
                assert_eq!(got.problem(429), "too_many_sign_ins");
                assert!(got.header("retry-after").is_some_and(|wait| (1..=60).contains(&wait.parse().unwrap_or(0))));
            }
        }
        assert_eq!(node.get("/v1/templates").await.status, 200, "the key that is known works at once");
    }
    // The bucket fills a little while the test runs.
    assert!((12..60).contains(&looked_at), "{looked_at} of 200 were looked at");
    assert!(figure(&node, "tidings_sign_ins_failed_total").await >= f64::from(looked_at));
    assert!(figure(&node, "tidings_sign_ins_slowed_total").await >= f64::from(200 - looked_at));
    node.stop().await;
}

#[tokio::test]
async fn who_tried_too_many_secrets_waits_also_with_the_right_one() {
    let node = Lone::with(|config| config.access.failed_sign_ins_per_minute = 12).await;
    for path in ["/v1/cluster/init", "/v1/keys/recover"] {
        assert_eq!(node.call("POST", path, Some("wrong"), &[], None).await.problem(401), "unauthorized");
    }
    let right = node.call("POST", "/v1/keys/recover", Some(CLUSTER_SECRET), &[], None).await;
    assert_eq!(right.problem(429), "too_many_sign_ins");
    node.stop().await;
}

#[tokio::test]
async fn a_lost_admin_key_is_replaced_with_the_clusters_secret_and_the_audit_log_says_so() {
    let node = Lone::start().await;
    for wrong in [None, Some("wrong"), Some(node.key.as_str())] {
        assert_eq!(node.call("POST", "/v1/keys/recover", wrong, &[], None).await.problem(401), "unauthorized");
    }
    let got = node.call("POST", "/v1/keys/recover", Some(CLUSTER_SECRET), &[], None).await;
    assert_eq!(got.header("cache-control"), Some("no-store"));
    let made = got.expect(201);
    assert_eq!(
        (&made["role"], &made["name"]),
        (&json!("admin"), &json!("recovered with the cluster's secret on node 1"))
    );
    let key = made["key"].as_str().expect("a key").to_owned();
    let audit = node.call("GET", "/v1/audit", Some(&key), &[], None).await.expect(200);
    let newest = &audit["entries"][0];
    assert_eq!((&newest["action"], &newest["by"]), (&json!("put_key"), &json!("cluster secret, node 1")), "{audit}");
    assert_eq!(newest["subject"], made["id"], "{audit}");
    // The lost one is found in the list, and revoked with the new one.
    let first = node.call("GET", "/v1/keys", Some(&key), &[], None).await.expect(200);
    let lost = first["keys"].as_array().expect("a list").iter().find(|key| key["name"] == "first admin");
    let path = format!("/v1/keys/{}", lost.expect("it is there")["id"].as_str().expect("an id"));
    assert_eq!(node.call("DELETE", &path, Some(&key), &[], None).await.status, 204);
    assert_eq!(node.get("/v1/templates").await.problem(401), "unauthorized");
    node.stop().await;
}

#[tokio::test]
async fn a_node_of_no_cluster_has_no_keys_to_recover() {
    let node = Lone::unfounded(|_| {}).await;
    let got = node.call("POST", "/v1/keys/recover", Some(CLUSTER_SECRET), &[], None).await;
    assert!(matches!(got.problem(503), "not_founded" | "no_leader"), "{}", got.body);
    node.stop().await;
}
