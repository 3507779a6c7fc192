//! A node that was away does not know what was accepted meanwhile, and calls nothing missing before it does.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tidings_contract::{MessageId, partition_of};

use crate::cluster::Three;
use crate::lone::until;

/// Nodes of the cluster: control has a majority without two of them.
const NODES: usize = 5;
const TO: &str = "+8613800138000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_denies_nothing_that_was_accepted_meanwhile() {
    let mut five = Three::of(NODES, 3, |_| {}).await;
    five.ask(0, "PUT", "/v1/accounts/demo", Some(json!({"provider": "sandbox"}))).await.expect(200);
    let template = json!({"channel": "sms", "account": "demo", "content": {"text": "Hello"}});
    five.ask(0, "PUT", "/v1/templates/hello", Some(template)).await.expect(200);
    let partition = partition_of(TO, 3).to_string();
    let holders = holders(&five, &partition).await;
    let (away, others) = holders.split_last().expect("three replicas");
    five.end(*away).await;
    let kept = accepted(&five, others[0]).await;
    let bystanders: Vec<usize> = (0..NODES).filter(|at| !holders.contains(at)).collect();
    five.end(others[0]).await;
    five.end(others[1]).await;
    five.begin(*away).await;

    // The one replica of the partition that runs has never heard of these deliveries, and nobody leads.
    for at in [*away, bystanders[0], bystanders[1]] {
        until("the node knows its keys", async || {
            (five.ask(at, "GET", "/v1/templates/hello", None).await.status == 200).then_some(())
        })
        .await;
        let asked = asked(&kept);
        let answers = asked.iter().map(|(method, path)| five.ask(at, method, path, None));
        for (got, (method, path)) in join_all(answers).await.into_iter().zip(&asked) {
            assert_eq!(got.problem(503), "no_leader", "{method} {path} at node {}", at + 1);
            assert!(got.header("retry-after").is_some());
        }
        let listed = five.ask(at, "GET", "/v1/deliveries?recipient=%2B8613800138000", None).await.expect(200);
        assert_eq!(listed["incomplete"], json!([partition]), "{listed}");
        let counted = five.ask(at, "GET", "/v1/stats", None).await.expect(200);
        assert!(counted["incomplete"].as_array().is_some_and(|parts| parts.contains(&json!(partition))), "{counted}");
    }

    // With one of those that know them, it learns before it answers.
    five.begin(others[0]).await;
    until("the returned node knows what was accepted", async || {
        let got = five.ask(*away, "GET", &asked(&kept)[0].1, None).await;
        assert_ne!(got.status, 404, "{}", got.body);
        (got.status == 200).then_some(())
    })
    .await;
    five.stop().await;
}

/// The places of the nodes that hold a partition, the leader first.
async fn holders(five: &Three, partition: &str) -> Vec<usize> {
    let cluster = five.ask(0, "GET", "/v1/cluster", None).await.expect(200);
    let groups = cluster["groups"].as_array().expect("a list");
    let group = groups.iter().find(|group| group["name"] == partition).expect("the partition");
    let wanted = group["wanted"].as_array().expect("a list").iter();
    wanted.map(|node| node.as_u64().and_then(|node| usize::try_from(node - 1).ok()).expect("a node")).collect()
}

/// A delivery that waits, accepted at one node.
async fn accepted(five: &Three, at: usize) -> Value {
    let now = kept(five, at, json!({"template": "hello", "to": [TO]})).await;
    let first: MessageId = now["message_id"].as_str().expect("an id").parse().expect("an id");
    let later = first.time().after(Duration::from_secs(3_600)).to_string();
    kept(five, at, json!({"template": "hello", "to": [TO], "send_at": later})).await
}

/// A message that a majority keeps, however often it has to be asked.
async fn kept(five: &Three, at: usize, body: Value) -> Value {
    until("a majority keeps it", async || {
        let got = five.ask(at, "POST", "/v1/messages", Some(body.clone())).await;
        (got.status == 202).then_some(got.body)
    })
    .await
}

/// Everything that would deny the delivery with a 404.
fn asked(kept: &Value) -> [(&'static str, String); 6] {
    let message = kept["message_id"].as_str().expect("an id");
    let delivery = kept["deliveries"][0]["id"].as_str().expect("an id");
    [
        ("GET", format!("/v1/deliveries/{delivery}")),
        ("GET", format!("/v1/messages/{message}")),
        ("POST", format!("/v1/deliveries/{delivery}/cancel")),
        ("POST", format!("/v1/messages/{message}/cancel")),
        ("POST", format!("/v1/deliveries/{delivery}/recall")),
        ("POST", format!("/v1/messages/{message}/recall")),
    ]
}
