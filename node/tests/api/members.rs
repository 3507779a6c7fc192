//! Nodes that leave, and groups that are handed over, as an operator asks for it.

use serde_json::{Value, json};

use crate::cluster::Three;
use crate::lone::until;

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
    three.ask(0, "DELETE", "/v1/cluster/nodes/2", None).await.expect(202);
    assert_eq!(three.ask(0, "DELETE", "/v1/cluster/nodes/1", None).await.problem(409), "conflict");
    three.stop().await;
}
