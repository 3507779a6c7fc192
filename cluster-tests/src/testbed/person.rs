//! The testbed of a person: brought up, founded, shown with a first message, and left running until it is taken down.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::compose::Compose;
use super::container::Container;
use super::provider::{INSIDE, Provider};
use super::stand::CLUSTER_SECRET;
use crate::cluster::{Cluster, PATIENCE, Shape, eventually};
use crate::failure::ensure;
use crate::process::Node;
use crate::receiver::SECRET;
use crate::{Failure, Proof, When};

/// The project's name, and so the prefix of containers, volumes and the network.
const PROJECT: &str = "tidings-testbed";
/// Where the compose file publishes the provider double.
const RECEIVER: &str = "127.0.0.1:7480";

/// Starts it, founds the cluster, sends a message, and says how to go on.
///
/// # Errors
/// When it is up already or does not come up; what was started is taken away then.
pub async fn up() -> Proof<String> {
    let mut compose = Compose::new(PROJECT, BTreeMap::new());
    if compose.is_up()? {
        compose.keep();
        return Err(Failure::new("the testbed is up already: just testbed-down"));
    }
    compose.up(&["node-1", "node-2", "node-3", "receiver"])?;
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let service = format!("node-{id}");
        let published = format!("127.0.0.1:740{id}");
        nodes.push(Node::contained(id, Container { id: compose.container(&service)?, service, published, up: true })?);
    }
    let mut cluster = Cluster::over(nodes)?;
    cluster.form(CLUSTER_SECRET, &Shape::full(3, 8)).await?;
    cluster.teach_webhook(SECRET).await?;
    let delivery = first_message(&cluster).await?;
    compose.keep();
    Ok(how_to(&cluster.key, &delivery))
}

/// Stops it and removes everything that it was made of.
///
/// # Errors
/// When compose says no.
pub fn down() -> Proof {
    Compose::new(PROJECT, BTreeMap::new()).down()
}

async fn first_message(cluster: &Cluster) -> Proof<String> {
    let body = json!({"template": "hook", "to": [{"to": format!("{INSIDE}/hello"), "variables": {"n": "1"}}]});
    let url = format!("{}/v1/messages", cluster.url(1));
    let answer = cluster.admin.send(Method::POST, &url, &body).await?.expect_status(202)?;
    let answer: Value = answer.json()?;
    let provider = Provider::at(RECEIVER);
    eventually("the first message has arrived", PATIENCE, async || {
        ensure(provider.counts().await?.calls > 0, || "it has not".to_owned())
    })
    .await?;
    provider.wait_quiet(Duration::from_millis(200)).await?;
    Ok(answer["deliveries"][0]["id"].as_str().when("reading the delivery's id")?.to_owned())
}

fn how_to(key: &str, delivery: &str) -> String {
    format!(
        "three nodes on http://127.0.0.1:7401, :7402 and :7403 (docs below /docs), the provider double on \
         http://{RECEIVER}; one message was sent and has arrived.

export TIDINGS_URL=http://127.0.0.1:7401 TIDINGS_KEY={key}
tidings cluster status
tidings trace {delivery}
tidings send --help                     # the template is called hook and wants a variable n
curl -s http://{RECEIVER}/counts       # what the provider double has counted
docker kill -s KILL {PROJECT}_node-1_1  # with compose v2: {PROJECT}-node-1-1; `docker start` brings it back

A Prometheus in the network {PROJECT}_cluster can scrape every node: see prometheus.yml.
just testbed-down                       # stops and removes all of it"
    )
}
