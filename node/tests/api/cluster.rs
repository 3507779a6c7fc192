//! Several nodes in one process: any of them answers for all, and without a majority none pretends.

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_channels::http::Client;
use tidings_config::Config;
use tidings_node::{Running, serve};

use crate::lone::{CLUSTER_SECRET, Got, call, client, config, until};

pub(crate) struct Three {
    pub(crate) nodes: Vec<Option<Running>>,
    pub(crate) key: String,
    configs: Vec<Config>,
    http: Client,
    _dir: TempDir,
}

impl Three {
    pub(crate) async fn start() -> Self {
        Self::with_replicas(3).await
    }

    /// Three nodes; each partition is on so many of them.
    pub(crate) async fn with_replicas(replication: u16) -> Self {
        Self::changed(replication, |_| {}).await
    }

    /// Three nodes with another configuration.
    pub(crate) async fn changed(replication: u16, change: impl Fn(&mut Config)) -> Self {
        Self::of(3, replication, change).await
    }

    /// So many nodes; each partition is on `replication` of them.
    pub(crate) async fn of(count: usize, replication: u16, change: impl Fn(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (mut nodes, mut configs) = (Vec::new(), Vec::new());
        for id in (1..).take(count) {
            let mut config = config(id, dir.path().join(id.to_string()));
            config.cluster.replication = replication;
            config.cluster.partitions = 3;
            config.intake.deadline_ms = 3_000;
            change(&mut config);
            let node = serve(config.clone()).await.expect("the node starts");
            // Whoever comes back is where it was.
            config.node.peer_listen = node.peer_addr;
            nodes.push(Some(node));
            configs.push(config);
        }
        let mut three = Self { nodes, key: String::new(), configs, http: client(), _dir: dir };
        let init = three.with(0, "POST", "/v1/cluster/init", Some(CLUSTER_SECRET), None).await.expect(201);
        three.key = init["key"].as_str().expect("a key").to_owned();
        for at in 1..count {
            let node = three.nodes[at].as_ref().expect("it runs");
            let body =
                json!({"id": at + 1, "peer_addr": node.peer_addr.to_string(), "api_addr": node.api_addr.to_string()});
            until("the first node takes another", async || {
                let got = three.ask(0, "POST", "/v1/cluster/nodes", Some(body.clone())).await;
                (got.status == 202).then_some(())
            })
            .await;
        }
        until("every node is ready and every group has three replicas", async || {
            let cluster = three.ask(0, "GET", "/v1/cluster", None).await.body;
            let groups = cluster["groups"].as_array()?;
            let whole = |group: &Value| {
                let wanted = if group["name"] == "control" { count } else { usize::from(replication) };
                let settled = group["name"] == "control" || group["leader"] == group["wanted"][0];
                group["replicas"].as_array().is_some_and(|r| r.len() == wanted) && group["leader"].is_u64() && settled
            };
            let mut ready = groups.iter().all(whole)
                && cluster["nodes"].as_array().is_some_and(|n| n.iter().all(|n| n["up"] == true));
            for at in 0..count {
                ready &= three.ask(at, "GET", "/readyz", None).await.status == 200;
            }
            ready.then_some(())
        })
        .await;
        three
    }

    pub(crate) async fn ask(&self, at: usize, method: &str, path: &str, body: Option<Value>) -> Got {
        self.with(at, method, path, Some(&self.key), body).await
    }

    /// Ends one node.
    pub(crate) async fn end(&mut self, at: usize) {
        self.nodes[at].take().expect("it runs").stop().await;
    }

    /// Starts one that was ended again, at the same address.
    pub(crate) async fn begin(&mut self, at: usize) {
        let config = &self.configs[at];
        let started = until("its address is free", async || serve(config.clone()).await.ok()).await;
        self.nodes[at] = Some(started);
    }

    pub(crate) async fn stop(self) {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await;
        }
    }

    async fn with(&self, at: usize, method: &str, path: &str, key: Option<&str>, body: Option<Value>) -> Got {
        let addr = self.nodes[at].as_ref().expect("it runs").api_addr;
        call(&self.http, addr, method, path, key, &[], body.map(|body| body.to_string())).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_answers_for_all_and_without_a_majority_none_pretends() {
    let mut three = Three::start().await;
    three.ask(1, "PUT", "/v1/accounts/demo", Some(json!({"provider": "sandbox"}))).await.expect(200);
    let template = json!({"channel": "sms", "account": "demo", "content": {"text": "Hello"}});
    three.ask(2, "PUT", "/v1/templates/hello", Some(template)).await.expect(200);
    // A template written on one node a moment ago is known on every other.
    let to: Vec<String> = (0..20).map(|n| format!("+86138001380{n:02}")).collect();
    for at in 0..3 {
        let sent =
            three.ask(at, "POST", "/v1/messages", Some(json!({"template": "hello", "to": to}))).await.expect(202);
        assert_eq!(sent["rejected"], json!([]), "{sent}");
        let path = format!("/v1/messages/{}", sent["message_id"].as_str().expect("an id"));
        for reader in 0..3 {
            until("all are delivered", async || {
                let message = three.ask(reader, "GET", &path, None).await.body;
                (message["states"] == json!({"delivered": 20})).then_some(())
            })
            .await;
        }
    }
    let inbox = three.ask(0, "GET", "/v1/sandbox?limit=500", None).await.expect(200);
    assert_eq!(inbox["messages"].as_array().map(Vec::len), Some(60), "each node's inbox is in the answer");

    for at in [1, 2] {
        three.nodes[at].take().expect("it runs").stop().await;
    }
    let body = json!({"template": "hello", "to": ["+8613800138000"]});
    let got = three.ask(0, "POST", "/v1/messages", Some(body)).await;
    // Either nobody leads, or a leader that does not know yet cannot tell; never a 202.
    assert_eq!(got.status, 503, "{}", got.body);
    assert!(matches!(got.problem(503), "no_leader" | "timeout"), "{}", got.body);
    assert!(got.header("retry-after").is_some());
    let refused = until("the node knows that nobody leads", async || {
        let got =
            three.ask(0, "POST", "/v1/messages", Some(json!({"template": "hello", "to": ["+8613800138000"]}))).await;
        (got.problem(503) == "no_leader").then_some(got)
    })
    .await;
    assert_eq!(refused.body["rejected"][0]["code"], "no_leader");
    assert_eq!(refused.body["rejected"][0]["retryable"], true);
    until("the node no longer calls itself ready", async || {
        (three.ask(0, "GET", "/readyz", None).await.status == 503).then_some(())
    })
    .await;
    three.nodes[0].take().expect("it runs").stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_answer_is_named_and_does_not_hold_up_the_others() {
    let mut three = Three::start().await;
    let gone = three.nodes[2].take().expect("it runs");
    let peer_addr = gone.peer_addr;
    gone.stop().await;
    // In its place somebody takes connections and says nothing, as the system does for a process that is frozen.
    let mute = until("its address is free", async || tokio::net::TcpListener::bind(peer_addr).await.ok()).await;
    let muted = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = mute.accept().await {
            held.push(stream);
        }
    });
    let cluster = until("the others lead everything", async || {
        let cluster = three.ask(0, "GET", "/v1/cluster", None).await.expect(200);
        let groups = cluster["groups"].as_array()?;
        groups.iter().all(|group| group["leader"] != 3 && group["leader"].is_u64()).then_some(cluster)
    })
    .await;
    assert_eq!(cluster["incomplete"], json!([3]), "{cluster}");
    let up: Vec<_> = cluster["nodes"].as_array().expect("a list").iter().map(|node| node["up"].clone()).collect();
    assert_eq!(up, [true, true, false]);
    muted.abort();
    three.stop().await;
}
