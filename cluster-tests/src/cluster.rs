//! A cluster of real nodes: founded and joined over the API as an operator would, then broken on purpose.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::failure::ensure;
use crate::process::{Node, Plan};
use crate::{Failure, Proof, When, binary};

/// How long a cluster may take to do what it must: elections, joins, draining. A bound, not a measure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Nodes.
    pub nodes: usize,
    /// Partitions.
    pub partitions: u16,
    /// Replicas of each group.
    pub replication: u8,
    /// TOML sections added to every node's config file.
    pub extra: String,
}

impl Shape {
    /// Nodes that each hold every partition.
    pub fn full(nodes: usize, partitions: u16) -> Self {
        let replication = u8::try_from(nodes.min(3)).unwrap_or(3);
        Self { nodes, partitions, replication, extra: String::new() }
    }
}

/// Running nodes, and the admin key of the cluster they form.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of their ids.
    pub nodes: Vec<Node>,
    /// A caller with the admin key.
    pub admin: Client,
    /// The admin key.
    pub key: String,
    dir: TempDir,
    /// What further nodes are started with.
    pub(crate) secret: String,
    pub(crate) extra: String,
}

/// What `GET /v1/cluster` says, as far as proofs need it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The groups.
    pub groups: Vec<Group>,
    /// The nodes.
    pub nodes: Vec<Member>,
    /// The nodes that did not say how they stand.
    #[serde(default)]
    pub incomplete: Vec<u64>,
}

/// One node in [`Status`].
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
}

/// One group in [`Status`].
#[derive(Clone, Debug, Deserialize)]
pub struct Group {
    /// `control`, `p0`, `p1` …
    pub name: String,
    /// The node that leads it, as far as the answering node knows.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// The nodes that vote in it.
    pub voters: Vec<u64>,
    /// The nodes that hold it.
    pub replicas: Vec<u64>,
    /// The nodes that should.
    pub wanted: Vec<u64>,
    /// How many entries each replica is behind the leader, as far as the leader knows.
    #[serde(default)]
    pub lag: BTreeMap<u64, u64>,
}

/// What `GET /v1/stats` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Deliveries accepted.
    pub accepted: u64,
    /// Of them, not yet ended.
    pub pending: u64,
    /// Of them, ended, by final state.
    pub ended: BTreeMap<String, u64>,
    /// Partitions that could not be asked, and so are left out.
    #[serde(default)]
    pub incomplete: Vec<String>,
}

impl Cluster {
    /// Starts the nodes, founds the cluster on the first, joins the others, and waits until all is in place.
    ///
    /// # Errors
    /// When it does not come up; the words hold the end of a node's log.
    pub async fn start(shape: &Shape) -> Proof<Self> {
        let binary = binary::tidings()?;
        let dir = TempDir::with_prefix("tidings-proof-").when("making a temporary folder")?;
        let secret = "the secret of a cluster that lives for one proof".to_owned();
        let mut nodes = Vec::new();
        for id in 1..=shape.nodes as u64 {
            let plan = Plan { id, secret: secret.clone(), extra: shape.extra.clone() };
            nodes.push(Node::start(&binary, dir.path(), &plan)?);
        }
        let extra = shape.extra.clone();
        let admin = Client::new("");
        let mut cluster = Self { nodes, admin, key: String::new(), dir, secret: secret.clone(), extra };
        if let Err(failure) = cluster.form(&secret, shape).await {
            let tails: Vec<_> = cluster.nodes.iter().map(|node| format!("[{}] {}", node.id, node.log_tail())).collect();
            return Err(Failure::new(format!("{failure}\n{}", tails.join("\n"))));
        }
        Ok(cluster)
    }

    /// Nodes that run already, and are of no cluster yet.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn over(nodes: Vec<Node>) -> Proof<Self> {
        let dir = TempDir::with_prefix("tidings-proof-").when("making a temporary folder")?;
        // Nothing is started beside nodes that run already, so neither the secret nor further sections are needed.
        let (secret, extra) = (String::new(), String::new());
        Ok(Self { nodes, admin: Client::new(""), key: String::new(), dir, secret, extra })
    }

    /// Founds the cluster on the first node, joins the others, and waits until all is in place.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn form(&mut self, secret: &str, shape: &Shape) -> Proof {
        for node in &self.nodes {
            let url = format!("{}/healthz", node.url());
            let anyone = Client::new("");
            eventually("a node answers", PATIENCE, async || {
                anyone.call(Method::GET, &url, &[], Default::default()).await.when("asking")?.expect_status(200)
            })
            .await?;
        }
        let body = json!({"partitions": shape.partitions, "replication": shape.replication});
        let url = format!("{}/v1/cluster/init", self.nodes[0].url());
        let answer = Client::new(secret).send(Method::POST, &url, &body).await?.expect_status(201)?;
        let founded: Value = answer.json()?;
        self.key = founded["key"].as_str().when("reading the admin key")?.to_owned();
        self.admin = Client::new(&self.key);
        for node in &self.nodes[1..] {
            self.take_in(node).await?;
        }
        self.wait_placed(shape).await?;
        self.wait_ready().await
    }

    /// Lets a running node join, asking the first that takes it in.
    ///
    /// # Errors
    /// When none does within [`PATIENCE`].
    pub async fn take_in(&self, node: &Node) -> Proof {
        let body = node.shape();
        eventually("a node is taken in", PATIENCE, async || {
            let mut last = Failure::new("no node runs");
            for asked in self.nodes.iter().filter(|node| node.answers()) {
                let url = format!("{}/v1/cluster/nodes", asked.url());
                let answer = self.admin.send(Method::POST, &url, &body).await;
                match answer.and_then(|answer| answer.expect_status(202)) {
                    Ok(_) => return Ok(()),
                    Err(failure) => last = failure,
                }
            }
            Err(last)
        })
        .await
    }

    /// Waits until every group has a leader and as many replicas as it should.
    ///
    /// # Errors
    /// When one has not within [`PATIENCE`].
    pub async fn wait_placed(&self, shape: &Shape) -> Proof {
        let groups = usize::from(shape.partitions) + 1;
        let replicas = usize::from(shape.replication).min(shape.nodes);
        eventually("every group has its replicas and a leader", PATIENCE, async || {
            let status = self.status().await?;
            let placed = |group: &&Group| {
                let wanted = if group.name == "control" { group.replicas.len() } else { replicas };
                group.leader.is_some()
                    && group.replicas.len() == wanted
                    && sorted(&group.replicas) == sorted(&group.wanted)
            };
            let ready = status.groups.iter().filter(placed).count();
            ensure(ready == groups, || format!("{ready} of {groups} are: {:?}", status.groups))
        })
        .await
    }

    /// The URL of the node at `index`, counted from 0.
    pub fn url(&self, index: usize) -> String {
        self.nodes[index % self.nodes.len()].url()
    }

    /// The URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// The temporary folder that everything is in.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The cluster as the first node that answers sees it.
    ///
    /// # Errors
    /// When none answers.
    pub async fn status(&self) -> Proof<Status> {
        self.ask("/v1/cluster").await
    }

    /// The totals of all partitions.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn stats(&self) -> Proof<Stats> {
        self.ask("/v1/stats").await
    }

    /// `GET` of `path` from the first node that answers it.
    ///
    /// # Errors
    /// When none does.
    pub async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> Proof<T> {
        let mut last = Failure::new("no node runs");
        for node in self.nodes.iter().filter(|node| node.answers()) {
            match self.admin.get(&format!("{}{path}", node.url())).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Waits until every running node says that it is ready.
    ///
    /// # Errors
    /// When one does not within [`PATIENCE`].
    pub async fn wait_ready(&mut self) -> Proof {
        for node in self.nodes.iter_mut() {
            if !node.runs() {
                continue;
            }
            let url = format!("{}/readyz", node.url());
            let ready = eventually("a node is ready", PATIENCE, async || {
                let answer = self.admin.call(Method::GET, &url, &[], Default::default()).await;
                answer.when("asking")?.expect_status(200)
            });
            ready.await.when(format!("node {}: {}", node.id, node.log_tail()))?;
        }
        Ok(())
    }

    /// The index of the running node that leads the most partitions.
    ///
    /// # Errors
    /// When no node knows a leader.
    pub async fn leader_of_most(&self) -> Proof<usize> {
        let status = self.status().await?;
        let mut led: BTreeMap<u64, usize> = BTreeMap::new();
        for leader in status.groups.iter().filter(|group| group.name != "control").filter_map(|group| group.leader) {
            *led.entry(leader).or_default() += 1;
        }
        let (most, _) = led.into_iter().max_by_key(|(_, count)| *count).when("looking for a leader")?;
        self.nodes.iter().position(|node| node.id == most).when("looking for the leader's process")
    }

    /// Puts a webhook account that may call this machine, and a template whose body carries the number `n`.
    ///
    /// # Errors
    /// When either is refused, or is not seen by every node.
    pub async fn teach_webhook(&self, secret: &str) -> Proof {
        let account = json!({"provider": "webhook", "settings": {"secret": secret, "allow_private": true}});
        let template = json!({
            "channel": "webhook", "account": "hook", "content": {"n": "{{ n }}"},
            "retry": {"max_attempts": 20, "first_ms": 200, "longest_ms": 2_000, "give_up_after_ms": 600_000},
        });
        self.teach("hook", &account, &template).await
    }

    /// Puts an account and a template, both called `name`, and waits until every running node knows the template.
    ///
    /// # Errors
    /// When either is refused, or a node does not come to know it.
    pub async fn teach(&self, name: &str, account: &Value, template: &Value) -> Proof {
        self.teach_as(name, account, name, template).await
    }

    /// The same with two names, so that several templates can share an account.
    ///
    /// # Errors
    /// When either is refused, or a node does not come to know the template.
    pub async fn teach_as(&self, of: &str, account: &Value, name: &str, template: &Value) -> Proof {
        for (kind, name, body) in [("accounts", of, account), ("templates", name, template)] {
            let url = format!("{}/v1/{kind}/{name}", self.url(0));
            self.admin
                .send(Method::PUT, &url, body)
                .await?
                .expect_status(200)
                .when(format!("putting {kind}/{name}"))?;
        }
        for url in self.urls() {
            let url = format!("{url}/v1/templates/{name}");
            eventually("a node knows the template", PATIENCE, async || self.admin.get::<Value>(&url).await).await?;
        }
        Ok(())
    }

    /// Waits until nothing is pending in any partition, and gives the totals.
    ///
    /// # Errors
    /// When something still is after [`PATIENCE`].
    pub async fn wait_drained(&self) -> Proof<Stats> {
        eventually("nothing is pending", PATIENCE, async || {
            let stats = self.stats().await?;
            let all = stats.pending == 0 && stats.incomplete.is_empty();
            ensure(all, || format!("{} are, without {:?}", stats.pending, stats.incomplete))?;
            Ok(stats)
        })
        .await
    }
}

/// Asks again and again until it is so.
///
/// # Errors
/// The last failure, once `patience` is over.
pub async fn eventually<T, F: Future<Output = Proof<T>>>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Proof<T> {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(failure) if began.elapsed() > patience => return Err(failure).when(format!("waiting until {what}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}
