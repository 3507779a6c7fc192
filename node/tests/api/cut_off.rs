//! A node that hears nothing from control does not know which keys still count, and says so.

use std::time::Duration;

use crate::cluster::Three;
use crate::lone::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_majority_of_control_answers_nothing_that_needs_a_key() {
    let mut three = Three::changed(3, |config| config.access.stale_after_ms = 2_000).await;
    assert_eq!(three.ask(0, "GET", "/v1/templates", None).await.status, 200);
    for at in [1, 2] {
        three.nodes[at].take().expect("it runs").stop().await;
    }
    let got = until("the node trusts its copy of control no more", async || {
        let got = three.ask(0, "GET", "/v1/templates", None).await;
        (got.status != 200).then_some(got)
    })
    .await;
    assert_eq!(got.problem(503), "cut_off");
    assert!(got.header("retry-after").is_some());
    assert_eq!(three.ask(0, "GET", "/healthz", None).await.status, 200);
    let ready = three.ask(0, "GET", "/readyz", None).await;
    let told = |reason: &serde_json::Value| reason.as_str().is_some_and(|why| why.contains("leader of control for"));
    assert!(ready.body["reasons"].as_array().expect("a list").iter().any(told), "{}", ready.body);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_is_confirmed_again_and_no_request_waits_for_it() {
    let three = Three::changed(3, |config| config.access.stale_after_ms = 1_500).await;
    // Twice as long as a confirmation holds.
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < until {
        for at in 0..3 {
            assert_eq!(three.ask(at, "GET", "/v1/templates", None).await.status, 200, "node {}", at + 1);
        }
    }
    three.stop().await;
}
