//! Changing the nodes of a running cluster over its API, as an operator would, and waiting until it is done.

use hyper::Method;
use serde_json::Value;

use crate::cluster::{Cluster, Group, PATIENCE, eventually};
use crate::failure::ensure;
use crate::process::{Node, Plan};
use crate::{Proof, When, binary};

impl Cluster {
    /// Starts another node, which is of no cluster yet.
    fn start_another(&mut self, id: u64) -> Proof<Value> {
        let plan = Plan { id, secret: self.secret.clone(), extra: self.extra.clone() };
        let node = Node::start(&binary::tidings()?, self.dir(), &plan)?;
        let shape = node.shape();
        self.nodes.push(node);
        Ok(shape)
    }

    /// Starts a node with an empty directory and has it join.
    ///
    /// # Errors
    /// When it cannot be started or is refused.
    pub async fn join(&mut self, id: u64) -> Proof {
        let shape = self.start_another(id)?;
        let url = format!("{}/v1/cluster/nodes", self.url(0));
        self.admin.send(Method::POST, &url, &shape).await?.expect_status(202).map(drop)
    }

    /// Asks for a node to leave.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn remove(&self, id: u64) -> Proof {
        let url = format!("{}/v1/cluster/nodes/{id}", self.url(0));
        let answer = self.admin.call(Method::DELETE, &url, &[], Default::default()).await;
        answer.when("removing a node")?.expect_status(202).map(drop)
    }

    /// Starts a node with an empty directory and has it take the place of another.
    ///
    /// # Errors
    /// When it cannot be started or is refused.
    pub async fn replace(&mut self, old: u64, id: u64) -> Proof {
        let shape = self.start_another(id)?;
        let url = format!("{}/v1/cluster/nodes/{old}/replace", self.url(0));
        self.admin.send(Method::POST, &url, &shape).await?.expect_status(202).map(drop)
    }

    /// Waits until every partition has the replicas it should, all of them voting, and is led by the first.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_settled(&self) -> Proof {
        eventually("every partition is in its place", PATIENCE * 2, async || {
            let groups = self.status().await?.groups;
            let adrift: Vec<_> = groups.iter().filter(|group| group.name != "control" && !in_place(group)).collect();
            ensure(adrift.is_empty(), || format!("{adrift:?} are not"))
        })
        .await
    }

    /// Waits until a node that was asked to leave is no member any more.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_dismissed(&self, id: u64) -> Proof {
        eventually("the node is forgotten", PATIENCE, async || {
            let member = self.status().await?.nodes.iter().any(|node| node.id == id);
            ensure(!member, || format!("node {id} is still a member"))
        })
        .await
    }
}

fn in_place(group: &Group) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let wanted = sorted(&group.wanted);
    sorted(&group.replicas) == wanted
        && sorted(&group.voters) == wanted
        && group.leader == group.wanted.first().copied()
}
