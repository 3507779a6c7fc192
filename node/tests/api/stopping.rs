//! A node that stops: it turns callers away at once, ends what it began, gives away what it leads, and loses nothing. And
//! what a node says about partitions that only others hold.

use serde_json::{Value, json};

use crate::cluster::Three;
use crate::lone::{Got, Lone, until};

/// The index of the node that leads the most partitions.
async fn leader_of_most(three: &Three) -> usize {
    let cluster = three.ask(0, "GET", "/v1/cluster", None).await.expect(200);
    let groups = cluster["groups"].as_array().expect("a list");
    let led = |id: u64| groups.iter().filter(|group| group["name"] != "control" && group["leader"] == id).count();
    (0..3).max_by_key(|at| led(*at as u64 + 1)).expect("three nodes")
}

/// Whether calls of a pool are under way. The figures are those of the process, so of every test in it: each test that asks
/// has a pool of its own.
fn calls_under_way(figures: &Got, pool: &str) -> Option<()> {
    let text = figures.answer.text();
    let of = |line: &&str| line.starts_with("tidings_in_flight{") && line.contains(pool);
    text.lines().find(of).filter(|line| !line.ends_with(" 0")).map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_turns_callers_away_and_its_attempts_end_before_others_lead() {
    let mut three = Three::with_replicas(3).await;
    three
        .ask(0, "PUT", "/v1/accounts/slow", Some(json!({"provider": "sandbox", "settings": {"delay_ms": 2_500}})))
        .await
        .expect(200);
    let content = json!({"subject": "Hello", "text": "Hello"});
    let template = json!({"channel": "email", "account": "slow", "message_type": "auth_code", "content": content});
    three.ask(0, "PUT", "/v1/templates/slow", Some(template)).await.expect(200);
    let leaving = leader_of_most(&three).await;
    let other = (leaving + 1) % 3;
    let to: Vec<String> = (0..30).map(|n| format!("ann{n}@example.com")).collect();
    let sent = three.ask(other, "POST", "/v1/messages", Some(json!({"template": "slow", "to": to}))).await.expect(202);
    let path = format!("/v1/messages/{}", sent["message_id"].as_str().expect("an id"));
    until("its calls are under way", async || {
        calls_under_way(&three.ask(leaving, "GET", "/metrics", None).await, "email/auth_code")
    })
    .await;
    let running = three.nodes[leaving].take().expect("it runs");
    let addr = running.api_addr;
    let stopping = tokio::spawn(running.stop());
    let http = crate::lone::client();
    let (key, body) = (three.key.clone(), json!({"template": "slow", "to": ["ann@example.com"]}).to_string());
    let refused = until("it turns callers away", async || {
        let got = crate::lone::call(&http, addr, "POST", "/v1/messages", Some(&key), &[], Some(body.clone())).await;
        (got.status == 503).then_some(got)
    })
    .await;
    assert_eq!(refused.problem(503), "stopping");
    assert_eq!((refused.header("connection"), refused.header("retry-after")), (Some("close"), Some("1")));
    let ready = crate::lone::call(&http, addr, "GET", "/readyz", None, &[], None).await;
    assert_eq!((ready.status, &ready.body["reasons"][0]), (503, &json!("the node is stopping")));
    assert_eq!(crate::lone::call(&http, addr, "GET", "/healthz", None, &[], None).await.status, 200);
    stopping.await.expect("it stops");
    // The others lead everything at once, and nothing was attempted twice.
    let got = three.ask(other, "POST", "/v1/messages", Some(json!({"template": "slow", "to": to}))).await.expect(202);
    assert_eq!(got["rejected"], json!([]), "{got}");
    let message = until("all are delivered", async || {
        let message = three.ask(other, "GET", &path, None).await.body;
        (message["states"] == json!({"delivered": 30})).then_some(message)
    })
    .await;
    for delivery in message["deliveries"].as_array().expect("a list") {
        let trace = format!("/v1/deliveries/{}", delivery["id"].as_str().expect("an id"));
        let trace = three.ask(other, "GET", &trace, None).await.expect(200);
        assert_eq!(trace["attempts"], 1, "{trace}");
    }
    for at in [other, (leaving + 2) % 3] {
        three.nodes[at].take().expect("it runs").stop().await;
    }
}

#[tokio::test]
async fn a_lone_node_ends_its_attempts_before_it_stops() {
    let node = Lone::start().await;
    node.account("slow", json!({"delay_ms": 1_000})).await;
    let content = json!({"subject": "hi", "text": "hi"});
    let spec = json!({"channel": "email", "account": "slow", "message_type": "marketing", "content": content});
    node.template("slow", spec).await;
    let sent = node.send(json!({"template": "slow", "to": ["ann@example.com"]})).await;
    let id = sent["deliveries"][0]["id"].as_str().expect("an id").to_owned();
    node.until("its call is under way", async || calls_under_way(&node.get("/metrics").await, "email/marketing")).await;
    let node = node.restart().await;
    let trace = node.ended(&id).await;
    assert_eq!((&trace["state"], &trace["attempts"]), (&json!("delivered"), &json!(1)), "{trace}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_asks_the_holders_of_partitions_that_it_has_no_replica_of() {
    let mut three = Three::with_replicas(1).await;
    let cluster = three.ask(0, "GET", "/v1/cluster", None).await.expect(200);
    let groups = cluster["groups"].as_array().expect("a list");
    let control = groups.iter().find(|group| group["name"] == "control").expect("control")["leader"].clone();
    let elsewhere = |group: &&Value| group["name"] != "control" && group["leader"] != 1 && group["leader"] != control;
    let gone = groups.iter().find(elsewhere).expect("another node leads a partition");
    let (name, holder) = (gone["name"].as_str().expect("a name"), gone["leader"].as_u64().expect("a leader"));
    assert_eq!(three.ask(0, "GET", "/readyz", None).await.status, 200);
    let at = usize::try_from(holder - 1).expect("small");
    three.nodes[at].take().expect("it runs").stop().await;
    let said = until("the first node knows that nobody leads it", async || {
        let ready = three.ask(0, "GET", "/readyz", None).await;
        (ready.status == 503).then_some(ready.body)
    })
    .await;
    assert_eq!(said["reasons"], json!([format!("{name} has no known leader")]));
    for node in three.nodes.iter_mut().filter_map(Option::take) {
        node.stop().await;
    }
}
