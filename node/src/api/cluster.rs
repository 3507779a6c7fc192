//! The cluster: founded, joined, looked at.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tidings_contract::PartitionId;
use tidings_machine::control::{self, Action, Control, NodeInfo};
use utoipa::ToSchema;

use super::refused;
use crate::app::Shared;
use crate::auth::{Admin, Viewer, bearer_text, not_founded};
use crate::founding::found;
use crate::look::{GroupView, Groups};
use crate::problem::{Code, Problem};
use crate::strict::{Json, Raw, decode};

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
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupShape {
    /// `control`, `p0`, `p1` …
    name: String,
    leader: Option<u64>,
    term: u64,
    /// The nodes that have a replica.
    replicas: Vec<u64>,
    /// The nodes that should have one.
    wanted: Vec<u64>,
    /// Index of the newest entry applied by the leader.
    applied: Option<u64>,
    /// Index of the newest entry in the leader's log.
    last_log: Option<u64>,
    /// How many entries each replica is behind the leader.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    lag: BTreeMap<u64, u64>,
}

/// The cluster, its nodes and its groups. Every node is asked how its groups stand.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    responses((status = 200, body = ClusterShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_cluster(State(app): State<Shared>, _: Viewer) -> Result<Answer<ClusterShape>, Problem> {
    let known = app.ledger.control(|c| c.cluster.clone().map(|cluster| (cluster, c.nodes.clone(), wanted(c))));
    let (cluster, nodes, wanted) = known.ok_or_else(not_founded)?;
    let asked = nodes.keys().map(|node| {
        let (app, node) = (app.clone(), *node);
        async move { (node, app.ask_node(node, Groups).await.ok()) }
    });
    let views: BTreeMap<u64, Option<Vec<GroupView>>> = futures::future::join_all(asked).await.into_iter().collect();
    let shape = |(id, info): (u64, NodeInfo)| NodeShape {
        up: views.get(&id).is_some_and(Option::is_some),
        id,
        peer_addr: info.peer_addr,
        api_addr: info.api_addr,
        labels: info.labels,
    };
    Ok(Answer(ClusterShape {
        id: cluster.id,
        partitions: cluster.partitions,
        replication: cluster.replication,
        node: app.ledger.node(),
        groups: wanted.into_iter().map(|(name, wanted)| group(name, wanted, &views)).collect(),
        nodes: nodes.into_iter().map(shape).collect(),
    }))
}

/// Every group there should be, control first, and the nodes that should have a replica of it.
fn wanted(control: &Control) -> Vec<(String, Vec<u64>)> {
    let count = control.cluster.as_ref().map_or(0, |cluster| cluster.partitions);
    let partitions = (0..count).map(PartitionId).map(|partition| {
        let nodes = control.placement.get(&partition).cloned().unwrap_or_default();
        (partition.to_string(), nodes)
    });
    // Control lives on as many nodes as a group has replicas; which ones is the business of its leader.
    std::iter::once(("control".to_owned(), Vec::new())).chain(partitions).collect()
}

/// A group, as the one who leads it in the newest term sees it, or else as whoever knows the newest term does.
fn group(name: String, wanted: Vec<u64>, views: &BTreeMap<u64, Option<Vec<GroupView>>>) -> GroupShape {
    let all = views.iter().flat_map(|(node, views)| views.iter().flatten().map(move |view| (*node, view)));
    let best =
        all.filter(|(_, view)| view.name == name).max_by_key(|(node, view)| (view.term, view.leader == Some(*node)));
    let Some((_, view)) = best else {
        let (replicas, lag) = (Vec::new(), BTreeMap::new());
        return GroupShape { name, leader: None, term: 0, replicas, wanted, applied: None, last_log: None, lag };
    };
    let wanted = if wanted.is_empty() { view.replicas.keys().copied().collect() } else { wanted };
    GroupShape {
        name,
        leader: view.leader,
        term: view.term,
        replicas: view.replicas.keys().copied().collect(),
        wanted,
        applied: view.applied,
        last_log: view.last_log,
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
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Answer<Founded>), Problem> {
    let given = bearer_text(&headers).unwrap_or("");
    // The secret is compared itself, not its hash, so the time must not tell how much of it was right.
    if !bool::from(given.as_bytes().ct_eq(app.founding.secret.expose().as_bytes())) {
        return Err(Problem::new(Code::Unauthorized, "the bearer must be the secret of the cluster"));
    }
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

/// A node to be taken in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinShape {
    /// Its number.
    id: u64,
    /// Where its peers reach it: `host:port`.
    peer_addr: String,
    /// Where callers reach it: `host:port`.
    api_addr: String,
    /// Labels for placement.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A node that is being taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Joining {
    id: u64,
}

/// Takes a node in, or notes its new addresses. Its replicas follow by themselves.
#[utoipa::path(post, path = "/v1/cluster/nodes", tag = "cluster", request_body = JoinShape,
    responses((status = 202, body = Joining), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_node(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Json(joining): Json<JoinShape>,
) -> Result<(StatusCode, Answer<Joining>), Problem> {
    let JoinShape { id, peer_addr, api_addr, labels } = joining;
    if id == 0 {
        return Err(Problem::field("id", "must be at least 1"));
    }
    for (field, addr) in [("peer_addr", &peer_addr), ("api_addr", &api_addr)] {
        let port = addr.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
        if !matches!(port, Some(Ok(1..))) {
            return Err(Problem::field(field, "must be host:port"));
        }
    }
    let info = NodeInfo { peer_addr, api_addr, labels, joined_at: app.now() };
    match app.ledger.change(&caller.key_id, Action::PutNode { node: id, info }).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok((StatusCode::ACCEPTED, Answer(Joining { id }))),
    }
}
