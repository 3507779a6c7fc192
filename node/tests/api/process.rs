//! Alive, ready, measured, documented.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;
use tidings_node::Code;

use crate::lone::{CLUSTER_SECRET, Lone};

#[tokio::test]
async fn a_node_of_no_cluster_says_so_until_it_is_founded() {
    let mut node = Lone::unfounded(|_| {}).await;
    assert_eq!(node.get("/healthz").await.status, 200);
    let ready = node.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"]), (503, &json!(false)));
    let nobody = format!("tdk_{}", "A".repeat(43));
    let got = node.call("GET", "/v1/templates", Some(&nobody), &[], None).await;
    assert_eq!(got.problem(503), "not_founded");
    assert!(got.header("retry-after").is_some());

    let wrong = node.call("POST", "/v1/cluster/init", Some("wrong"), &[], None).await;
    assert_eq!(wrong.problem(401), "unauthorized");
    let bad = Some(json!({"partitions": 0}).to_string());
    assert_eq!(
        node.call("POST", "/v1/cluster/init", Some(CLUSTER_SECRET), &[], bad).await.problem(422),
        "invalid_request"
    );
    let three = Some(json!({"partitions": 3}).to_string());
    let founded = node.call("POST", "/v1/cluster/init", Some(CLUSTER_SECRET), &[], three).await.expect(201);
    node.key = founded["key"].as_str().expect("a key").to_owned();
    node.ready().await;
    let cluster = node.get("/v1/cluster").await.expect(200);
    assert_eq!((&cluster["id"], &cluster["partitions"]), (&founded["cluster"], &json!(3)));
    assert_eq!(cluster["nodes"][0]["up"], true);
    let names: Vec<_> =
        cluster["groups"].as_array().expect("a list").iter().filter_map(|g| g["name"].as_str()).collect();
    assert_eq!(names, ["control", "p0", "p1", "p2"]);
    assert!(cluster["groups"].as_array().expect("a list").iter().all(|g| g["leader"] == 1), "{cluster}");
    let again = node.call("POST", "/v1/cluster/init", Some(CLUSTER_SECRET), &[], None).await;
    assert_eq!(again.problem(409), "conflict");
    node.stop().await;
}

#[tokio::test]
async fn figures_and_documents_are_there_without_a_key() {
    let node = Lone::ready_to_send().await;
    node.send(json!({"template": "hello", "to": ["13800138000"], "variables": {"name": "Ann"}})).await;
    let figures = node.call("GET", "/metrics", None, &[], None).await;
    assert_eq!(figures.status, 200);
    let text = figures.answer.text();
    for name in ["tidings_http_requests_total", "tidings_pending_deliveries", "tidings_group_leader"] {
        assert!(text.contains(name), "{name} is missing in:\n{text}");
    }
    let document = node.call("GET", "/openapi.json", None, &[], None).await.expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    for path in ["/v1/messages", "/v1/deliveries/{id}", "/v1/dead-letters/redrive", "/v1/cluster", "/readyz"] {
        assert!(document["paths"][path].is_object(), "{path} is not documented");
    }
    let docs = node.call("GET", "/docs/", None, &[], None).await;
    assert_eq!((docs.status, docs.header("content-encoding")), (200, Some("gzip")));
    let mut page = String::new();
    GzDecoder::new(&docs.answer.body[..]).read_to_string(&mut page).expect("it is what it says");
    assert!(page.contains("swagger"), "{page}");
    let problems = node.call("GET", "/docs/problems", None, &[], None).await.answer.text();
    for code in Code::ALL {
        assert!(problems.contains(&format!("id=\"{}\"", code.name())), "{} is missing", code.name());
    }
    assert_eq!(node.call("GET", "/", None, &[], None).await.expect(200)["docs"], "/docs");
    node.stop().await;
}
