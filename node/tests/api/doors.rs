//! What stands before every handler: headers for browsers and caches, pages that may need a key, and who is not answered.

use serde_json::json;

use crate::lone::Lone;

#[tokio::test]
async fn every_answer_tells_browsers_and_caches_what_they_may_do_with_it() {
    let node = Lone::start().await;
    let made = node.post("/v1/keys", json!({"name": "new", "role": "viewer"})).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    for (path, status) in [("/v1/templates", 200), ("/v1/templates/none", 404), ("/v1/nothing", 404), ("/metrics", 200)]
    {
        let got = node.get(path).await;
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(got.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(got.header("content-security-policy").is_some_and(|words| words.starts_with("default-src 'none'")));
        assert_eq!(got.header("cache-control").is_some(), path.starts_with("/v1/"), "{path}");
    }
    for path in ["/docs/", "/docs/problems", "/openapi.json", "/docs/swagger-ui.css"] {
        let got = node.get(path).await;
        assert_eq!(got.status, 200, "{path}");
        let words = got.header("content-security-policy").expect("a policy");
        assert!(words.contains("frame-ancestors 'none'") && words.contains("script-src 'self'"), "{path}: {words}");
        assert!(!words.contains("sandbox"), "{path}: {words}");
    }
    node.stop().await;
}

#[tokio::test]
async fn figures_and_documents_can_be_closed_to_whoever_has_no_key() {
    let node = Lone::with(|config| (config.access.open_metrics, config.access.open_docs) = (false, false)).await;
    let viewer = node.post("/v1/keys", json!({"name": "monitoring", "role": "viewer"})).await.expect(201);
    let viewer = viewer["key"].as_str().expect("a key");
    for path in ["/metrics", "/docs", "/docs/", "/docs/problems", "/openapi.json", "/docs/swagger-ui.css"] {
        assert_eq!(node.call("GET", path, None, &[], None).await.problem(401), "unauthorized", "{path}");
        assert!(node.call("GET", path, Some(viewer), &[], None).await.status < 400, "{path}");
    }
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(node.call("GET", path, None, &[], None).await.status, 200, "{path}");
    }
    node.stop().await;
}
