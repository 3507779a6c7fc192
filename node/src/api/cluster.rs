//! The cluster: founded, and looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use tidings_contract::PartitionId;
use tidings_machine::control::{Control, NodeInfo};
use utoipa::ToSchema;

use crate::app::Shared;
use crate::auth::{Viewer, not_founded, origin};
use crate::founding::found;
use crate::look::{ClockView, GroupView, Standing, StandingView};
use crate::problem::Problem;
use crate::strict::{Raw, decode};

/// How long a node may take to say how its groups stand. A node that is frozen holds up whoever watches no longer.
const ANSWERS: Duration = Duration::from_millis(800);

/// The cluster as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterShape {
    id: String,
    partitions: u16,
    replication: u16,
    /// The node that answers.
    node: u64,
    nodes: Vec<NodeShape>,
    groups: Vec<GroupShape>,
    /// Nodes that did not say in time how they stand; what only they know is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<u64>,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeShape {
    id: u64,
    peer_addr: String,
    api_addr: String,
    labels: BTreeMap<String, String>,
    /// Whether it answered just now.
    up: bool,
    /// Why it did not, as the node that was asked saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Whether it is to leave: nothing is placed on it, and what it holds moves away.
    draining: bool,
    /// How many partitions it leads.
    leads: usize,
    /// How many partitions it is a member of.
    holds: usize,
    /// Bytes of its database.
    disk_used_bytes: Option<u64>,
    /// Bytes that are free on its disk.
    disk_free_bytes: Option<u64>,
    /// How its clock stands, if it answered just now.
    clock: Option<ClockView>,
}

/// A group.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct GroupShape {
    /// `control`, `p0`, `p1` …
    name: String,
    leader: Option<u64>,
    term: u64,
    /// The nodes that have a replica.
    replicas: Vec<u64>,
    /// Those of them that vote; a new one catches up first.
    voters: Vec<u64>,
    /// The nodes that should have one; the first should lead.
    wanted: Vec<u64>,
    /// Index of the newest entry applied by the leader.
    applied: Option<u64>,
    /// Index of the newest entry in the leader's log.
    last_log: Option<u64>,
    /// How many entries the leader's log holds.
    log_length: Option<u64>,
    /// How many entries each replica is behind the leader.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    lag: BTreeMap<u64, u64>,
}

/// The cluster, its nodes and its groups. Every node is asked how its groups stand.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, body = ClusterShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_cluster(State(app): State<Shared>, _: Viewer) -> Result<Answer<ClusterShape>, Problem> {
    let known = app.ledger.control(|c| {
        let draining = c.departures.draining.clone();
        c.cluster.clone().map(|cluster| (cluster, c.nodes.clone(), draining, wanted(c)))
    });
    let (cluster, nodes, draining, wanted) = known.ok_or_else(not_founded)?;
    let asked = nodes.keys().map(|node| {
        let (app, node) = (app.clone(), *node);
        async move { (node, app.ask_node_within(node, Standing, ANSWERS).await) }
    });
    let mut views = BTreeMap::new();
    let mut troubles = BTreeMap::new();
    for (node, answered) in futures::future::join_all(asked).await {
        let (view, trouble) = answered.map_or_else(|why| (None, Some(why)), |view| (Some(view), None));
        views.insert(node, view);
        troubles.extend(trouble.map(|why| (node, why)));
    }
    let incomplete = troubles.keys().copied().collect();
    let groups: Vec<_> = wanted.into_iter().map(|(name, wanted)| group(name, wanted, &views)).collect();
    let partitions = || groups.iter().filter(|group| group.name != "control");
    let shape = |(id, info): (u64, NodeInfo)| {
        let view = views.get(&id).and_then(Option::as_ref);
        NodeShape {
            up: view.is_some(),
            trouble: troubles.get(&id).cloned(),
            draining: draining.contains_key(&id),
            leads: partitions().filter(|group| group.leader == Some(id)).count(),
            holds: partitions().filter(|group| group.replicas.contains(&id)).count(),
            disk_used_bytes: view.and_then(|view| view.disk_used_bytes),
            disk_free_bytes: view.and_then(|view| view.disk_free_bytes),
            clock: view.map(|view| view.clock.clone()),
            id,
            peer_addr: info.peer_addr,
            api_addr: info.api_addr,
            labels: info.labels,
        }
    };
    Ok(Answer(ClusterShape {
        id: cluster.id,
        partitions: cluster.partitions,
        replication: cluster.replication,
        node: app.ledger.node(),
        nodes: nodes.into_iter().map(shape).collect(),
        groups,
        incomplete,
    }))
}

/// Every group there should be, control first, and the nodes that should have a replica of it.
fn wanted(control: &Control) -> Vec<(String, Vec<u64>)> {
    let count = control.cluster.as_ref().map_or(0, |cluster| cluster.partitions);
    let partitions = (0..count).map(PartitionId).map(|partition| {
        let nodes = control.placement.get(&partition).cloned().unwrap_or_default();
        (partition.to_string(), nodes)
    });
    // Every node has a replica of control; which of them vote is the business of its leader.
    std::iter::once(("control".to_owned(), Vec::new())).chain(partitions).collect()
}

/// A group, as the one who leads it in the newest term sees it, or else as whoever knows the newest term does.
fn group(name: String, wanted: Vec<u64>, views: &BTreeMap<u64, Option<StandingView>>) -> GroupShape {
    let known = views.iter().filter_map(|(node, view)| view.as_ref().map(|view| (*node, view)));
    let all = known.flat_map(|(node, view)| view.groups.iter().map(move |group: &GroupView| (node, group)));
    let best =
        all.filter(|(_, view)| view.name == name).max_by_key(|(node, view)| (view.term, view.leader == Some(*node)));
    let Some((_, view)) = best else {
        return GroupShape { name, wanted, ..GroupShape::default() };
    };
    let wanted = if wanted.is_empty() { view.replicas.keys().copied().collect() } else { wanted };
    GroupShape {
        name,
        leader: view.leader,
        term: view.term,
        replicas: view.replicas.keys().copied().collect(),
        voters: view.voters.clone(),
        wanted,
        applied: view.applied,
        last_log: view.last_log,
        log_length: view.log_length,
        lag: view.replicas.iter().filter_map(|(node, lag)| lag.map(|lag| (*node, lag))).collect(),
    }
}

/// What a cluster is founded with; what is left out comes from the node's configuration.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InitShape {
    /// How many partitions, for ever.
    partitions: Option<u16>,
    /// Most replicas of a group.
    replication: Option<u16>,
}

/// A cluster that was founded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Founded {
    /// Its id.
    cluster: String,
    /// The first admin key, shown this once.
    key: String,
}

/// Founds a cluster with this node. The bearer is the cluster's secret.
#[utoipa::path(post, path = "/v1/cluster/init", tag = "cluster", request_body = Option<InitShape>,
    responses((status = 201, body = Founded), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_init(
    State(app): State<Shared>,
    request: Request,
) -> Result<(StatusCode, Answer<Founded>), Problem> {
    app.knows_the_secret(request.headers(), origin(request.extensions()))?;
    // The body may be left out, and its media type with it.
    let asked = match request.headers().contains_key(header::CONTENT_TYPE) {
        true => decode(&Raw::from_request(request, &app).await?.0)?,
        false => InitShape::default(),
    };
    let partitions = asked.partitions.unwrap_or(app.founding.partitions);
    let replication = asked.replication.unwrap_or(app.founding.replication);
    if !(1..=1_024).contains(&partitions) {
        return Err(Problem::field("partitions", "must be between 1 and 1,024"));
    }
    if !(1..=9).contains(&replication) {
        return Err(Problem::field("replication", "must be between 1 and 9"));
    }
    let (cluster, key) = found(&app, partitions, replication).await?;
    Ok((StatusCode::CREATED, Answer(Founded { cluster, key: key.expose().to_owned() })))
}
