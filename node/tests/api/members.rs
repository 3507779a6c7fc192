//! Nodes that leave, and groups that are handed over, as an operator asks for it.

use serde_json::{Value, json};
use tidings_contract::Secret;

use crate::cluster::Three;
use crate::lone::{Lone, until};

async fn leader_of(three: &Three, group: &str) -> Option<u64> {
    let cluster = three.ask(0, "GET", "/v1/cluster", None).await.body;
    let groups = cluster["groups"].as_array()?;
    groups.iter().find(|found| found["name"] == group)?["leader"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_hands_over_a_group_and_lets_a_node_go() {
    let three = Three::start().await;
    for group in ["p0", "control"] {
        let now = until("somebody leads", async || leader_of(&three, group).await).await;
        let to = now % 3 + 1;
        let handed = until("it is handed over", async || {
            let body = json!({"group": group, "to": to});
            // A node that has just come to lead may not have caught up with everything yet.
            Some(three.ask(1, "POST", "/v1/cluster/transfer", Some(body)).await).filter(|got| got.status == 200)
        })
        .await;
        assert_eq!(handed.body, json!({"group": group, "leader": to}));
        until("all say so", async || (leader_of(&three, group).await == Some(to)).then_some(())).await;
    }
    for (body, status) in [(json!({"group": "q", "to": 1}), 422), (json!({"group": "p0", "to": 9}), 422)] {
        three.ask(0, "POST", "/v1/cluster/transfer", Some(body)).await.expect(status);
    }
    assert_eq!(three.ask(0, "DELETE", "/v1/cluster/nodes/9", None).await.problem(404), "not_found");

    let leaving = three.ask(0, "DELETE", "/v1/cluster/nodes/3", None).await.expect(202);
    assert!(leaving["warning"].as_str().is_some_and(|words| words.contains("2 nodes stay")), "{leaving}");
    let cluster = until("node 3 is forgotten", async || {
        let cluster = three.ask(0, "GET", "/v1/cluster", None).await.body;
        (cluster["nodes"].as_array()?.len() == 2).then_some(cluster)
    })
    .await;
    assert!(cluster["nodes"][0]["disk_used_bytes"].as_u64() > Some(0), "{cluster}");
    let groups = cluster["groups"].as_array().expect("groups");
    let holds = |group: &Value| group["wanted"] != json!([]) && group["name"] != "control";
    assert!(groups.iter().filter(|group| holds(group)).all(|group| group["voters"] == json!([1, 2])), "{groups:?}");
    let again = three.ask(0, "DELETE", "/v1/cluster/nodes/3", None).await.expect(202);
    assert_eq!(again["state"], "removed");
    let back = json!({"id": 3, "peer_addr": "127.0.0.1:7501", "api_addr": "127.0.0.1:7401"});
    assert_eq!(three.ask(0, "POST", "/v1/cluster/nodes", Some(back.clone())).await.problem(409), "conflict");
    let replace = three.ask(0, "POST", "/v1/cluster/nodes/2/replace", Some(back)).await;
    assert_eq!(replace.problem(409), "conflict");
    until("node 3 says that it was removed", async || {
        let ready = three.ask(2, "GET", "/readyz", None).await;
        (ready.status == 503 && ready.body["reasons"][0].as_str()?.contains("was removed")).then_some(())
    })
    .await;
    for (method, path) in
        [("GET", "/v1/templates"), ("GET", "/v1/stats"), ("POST", "/v1/receipts/any"), ("GET", "/v1/cluster")]
    {
        assert_eq!(three.ask(2, method, path, None).await.problem(503), "node_removed", "{path}");
    }
    assert_eq!(three.ask(2, "GET", "/healthz", None).await.status, 200);
    three.ask(0, "DELETE", "/v1/cluster/nodes/2", None).await.expect(202);
    assert_eq!(three.ask(0, "DELETE", "/v1/cluster/nodes/1", None).await.problem(409), "conflict");
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_where_it_is_said_to_be_is_not_taken_in() {
    let node = Lone::start().await;
    let cluster = node.get("/v1/cluster").await.expect(200)["id"].clone();
    let stranger = Lone::unfounded(|config| {
        (config.node.id, config.cluster.secret) = (2, Secret::new("another secret of a cluster"))
    })
    .await;
    let fifth = Lone::unfounded(|config| config.node.id = 5).await;
    let other = Lone::with(|config| config.node.id = 6).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let cases = [
        (2, nobody, "node_unreachable", "no node answers there"),
        (2, stranger.running.peer_addr, "node_mismatch", "secret"),
        (2, fifth.running.peer_addr, "node_mismatch", "node 5"),
        (6, other.running.peer_addr, "node_mismatch", "another cluster"),
        (2, node.running.peer_addr, "node_mismatch", "node 1"),
    ];
    for (id, at, code, words) in cases {
        let body = json!({"id": id, "peer_addr": at.to_string(), "api_addr": "127.0.0.1:1"});
        let got = node.post("/v1/cluster/nodes", body.clone()).await;
        assert_eq!(got.problem(409), code, "{words}: {}", got.body);
        let detail = got.body["detail"].as_str().expect("a detail");
        assert!(detail.contains(words) && detail.contains(cluster.as_str().expect("an id")), "{detail}");
        let got = node.post("/v1/cluster/nodes/1/replace", body).await;
        assert_eq!(got.problem(409), code, "{words}: {}", got.body);
    }
    // Of itself a node knows where it is: nobody moves it elsewhere by asking it.
    let own = node.running.peer_addr;
    for (at, status) in [(nobody, 409), (fifth.running.peer_addr, 409), (own, 202)] {
        let body = json!({"id": 1, "peer_addr": at.to_string(), "api_addr": "127.0.0.1:2"});
        let got = node.post("/v1/cluster/nodes", body).await;
        assert_eq!(got.status, status, "{at}: {}", got.body);
        let shown = node.get("/v1/cluster").await.body["nodes"][0]["peer_addr"].clone();
        assert_eq!(shown, own.to_string(), "after {at}");
    }
    let body = json!({"id": 5, "peer_addr": fifth.running.peer_addr.to_string(), "api_addr": "127.0.0.1:1"});
    let joining = node.post("/v1/cluster/nodes", body).await.expect(202);
    assert_eq!(joining, json!({"id": 5, "cluster": cluster, "asked": 1}));
    fifth.stop().await;
    // The address is kept, and whoever asks how the cluster stands hears what is the matter with it.
    let shown = until("it is seen to be away", async || {
        let cluster = node.get("/v1/cluster").await.body;
        let nodes = cluster["nodes"].as_array()?;
        nodes.iter().find(|node| node["id"] == 5 && node["trouble"].is_string()).cloned()
    })
    .await;
    assert_eq!(shown["up"], false);
    for lone in [stranger, other, node] {
        lone.stop().await;
    }
}
