//! Nodes that come, leave, are replaced, and lead what an operator wants them to lead.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_machine::control::{self, Action, NodeInfo};
use tidings_raft::{GroupId, ProbeError};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::refused;
use crate::app::{App, Shared};
use crate::auth::Admin;
use crate::look::HandOver;
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// How long handing over a group may take: what is under way, a lease, an election.
const HAND_OVER: Duration = Duration::from_secs(12);

/// How long a node that is to be taken in may take to answer its peers: it may be just starting.
const PROBE: Duration = Duration::from_secs(5);

/// How long a hand-over that began before may still take.
const UNDER_WAY: Duration = Duration::from_secs(5);

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
    /// Labels for placement: replicas of a partition avoid sharing a `zone`.
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// A node that is being taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Joining {
    id: u64,
    /// The cluster it joins.
    cluster: String,
    /// The node that was asked.
    asked: u64,
}

/// A node that leaves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leaving {
    id: u64,
    /// `draining` until nothing is on it any more, then `removed`; `coming` for one that comes back with a new disk.
    state: &'static str,
    /// The cluster it is, or was, a node of.
    cluster: String,
    /// The node that was asked.
    asked: u64,
    /// What the operator should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// A group to be led by another node.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferShape {
    /// `control`, `p0`, `p1` …
    group: String,
    /// The node that is to lead it: one of its replicas.
    to: u64,
}

/// A group that was handed over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transferred {
    group: String,
    /// Who leads it now.
    leader: u64,
}

impl JoinShape {
    fn checked(self, app: &App) -> Result<(u64, NodeInfo), Problem> {
        let Self { id, peer_addr, api_addr, labels } = self;
        if id == 0 {
            return Err(Problem::field("id", "must be at least 1"));
        }
        for (field, addr) in [("peer_addr", &peer_addr), ("api_addr", &api_addr)] {
            let port = addr.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
            if !matches!(port, Some(Ok(1..))) {
                return Err(Problem::field(field, "must be host:port"));
            }
        }
        Ok((id, NodeInfo { peer_addr, api_addr, labels, joined_at: app.now() }))
    }
}

/// Meets the node before anything is changed: with an address that nobody answers at, or somebody else, every partition
/// would wait for a replica that never comes.
async fn meet(app: &App, id: u64, info: &NodeInfo) -> Result<(), Problem> {
    // Control says better what is wrong with such a number.
    if app.ledger.control(|control| control.departures.removed.contains_key(&id)) {
        return Ok(());
    }
    let (address, me, cluster) = (&info.peer_addr, app.ledger.node(), cluster_id(app));
    if id == me {
        // No node can meet itself, so it takes no address for its own but the one that it tells its peers.
        let own = &app.founding.peer_addr;
        if address == own {
            return Ok(());
        }
        let detail = format!(
            "this is node {me} of cluster {cluster}, and it tells its peers that it is reached at {own}, not at {address}; \
             ask another node, which looks whether node {me} is there, or set `node.peer_addr` of node {me}"
        );
        return Err(Problem::new(Code::NodeMismatch, detail));
    }
    let Err(error) = app.ledger.probe(id, address, PROBE).await else { return Ok(()) };
    let code = match &error {
        ProbeError::Unreachable(_) => Code::NodeUnreachable,
        ProbeError::Mismatch(_) => Code::NodeMismatch,
    };
    let detail = format!("node {id} was looked for at {address} from node {me} of cluster {cluster}: {error}");
    Err(Problem::new(code, detail))
}

fn cluster_id(app: &App) -> String {
    app.ledger.control(|control| control.cluster.as_ref().map_or_else(String::new, |cluster| cluster.id.clone()))
}

/// Takes a node in, or notes its new addresses and labels. Its replicas follow by themselves. It is met first: a
/// node that cannot be reached, has another secret or another number, or is of another cluster, is refused. So is the number
/// of a node that was removed, and that of a member whose disk is not the one that is found there.
#[utoipa::path(post, path = "/v1/cluster/nodes", tag = "cluster", request_body = JoinShape,
    responses((status = 202, body = Joining), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_node(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Json(joining): Json<JoinShape>,
) -> Result<(StatusCode, Answer<Joining>), Problem> {
    let (id, info) = joining.checked(&app)?;
    meet(&app, id, &info).await?;
    change(&app, &caller.key_id, Action::PutNode { node: id, info }).await?;
    Ok((StatusCode::ACCEPTED, Answer(Joining { id, cluster: cluster_id(&app), asked: app.ledger.node() })))
}

/// Has a node leave: its replicas move to the others, then it is forgotten, and its number is never used again. It may be
/// dead. Asking again tells how far it is.
#[utoipa::path(delete, path = "/v1/cluster/nodes/{id}", tag = "cluster", params(("id" = u64, Path)),
    responses((status = 202, body = Leaving), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_node(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(id): Path<u64>,
) -> Result<(StatusCode, Answer<Leaving>), Problem> {
    change(&app, &caller.key_id, Action::RemoveNode { node: id }).await?;
    Ok((StatusCode::ACCEPTED, Answer(leaving(&app, id))))
}

/// Has a node, which may be dead, leave and a new one with another number take over exactly what it held. With its own
/// number, a node whose disk is lost comes back at another address, with an empty data directory.
#[utoipa::path(post, path = "/v1/cluster/nodes/{id}/replace", tag = "cluster", params(("id" = u64, Path)),
    request_body = JoinShape,
    responses((status = 202, body = Leaving), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn replace_node(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Path(old): Path<u64>,
    Json(joining): Json<JoinShape>,
) -> Result<(StatusCode, Answer<Leaving>), Problem> {
    let (node, info) = joining.checked(&app)?;
    if node == old {
        lost_its_disk(&app, node).await?;
        change(&app, &caller.key_id, Action::PutNode { node, info }).await?;
        return Ok((StatusCode::ACCEPTED, Answer(Leaving { state: "coming", warning: None, ..leaving(&app, node) })));
    }
    meet(&app, node, &info).await?;
    change(&app, &caller.key_id, Action::ReplaceNode { old, node, info }).await?;
    Ok((StatusCode::ACCEPTED, Answer(leaving(&app, old))))
}

/// Hands a group to another of its replicas, which stays its preferred leader until nodes come or go. Requests of that
/// group wait meanwhile; none is refused because of it.
#[utoipa::path(post, path = "/v1/cluster/transfer", tag = "cluster", request_body = TransferShape,
    responses((status = 200, body = Transferred), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_transfer(
    State(app): State<Shared>,
    Admin(caller): Admin,
    Json(wanted): Json<TransferShape>,
) -> Result<Answer<Transferred>, Problem> {
    let TransferShape { group, to } = wanted;
    let id: GroupId = group.parse().map_err(|()| Problem::field("group", "must be control, p0, p1 …"))?;
    if let GroupId::Partition(partition) = id {
        change(&app, &caller.key_id, Action::PreferLeader { partition, node: to }).await?;
    }
    let no_leader = || Problem::new(Code::NoLeader, format!("nobody is known to lead {group}"));
    let leader = app.ledger.group_leader(id).ok_or_else(no_leader)?;
    if leader != to {
        let question = HandOver { group: group.clone(), to };
        let handed = app.ask_node_within(leader, question, HAND_OVER).await;
        // Control hands a partition to its preferred leader by itself, perhaps in this very moment.
        if let Err(why) = handed
            && !comes_to_lead(&app, id, to).await
        {
            return Err(Problem::new(Code::Conflict, format!("node {leader} still leads {group}: {why}")));
        }
    }
    Ok(Answer(Transferred { group, leader: to }))
}

/// Whether `to` is seen to lead the group within a while.
async fn comes_to_lead(app: &App, group: GroupId, to: u64) -> bool {
    let until = Instant::now() + UNDER_WAY;
    while app.ledger.group_leader(group) != Some(to) {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Whether the node may come back elsewhere with a new disk.
async fn lost_its_disk(app: &App, node: u64) -> Result<(), Problem> {
    let known = app.known(|control| control.nodes.get(&node).map(drop)).await?;
    known.ok_or_else(|| refused(control::Refusal::NotFound))?;
    if app.ledger.disk_is_quiet(node) {
        return Ok(());
    }
    let detail = format!(
        "node {node} is up with the disk that the cluster knows; one that takes its place needs a number never used before"
    );
    Err(Problem::new(Code::Conflict, detail))
}

async fn change(app: &App, by: &str, action: Action) -> Result<(), Problem> {
    match app.ledger.change(by, action).await? {
        control::Answer::Refused(refusal) => Err(refused(refusal)),
        _ => Ok(()),
    }
}

fn leaving(app: &App, id: u64) -> Leaving {
    let (cluster, asked) = (cluster_id(app), app.ledger.node());
    app.ledger.control(|control| {
        let gone = control.departures.removed.contains_key(&id);
        let (staying, wanted) = (control.staying().count(), control.cluster.as_ref().map_or(0, |c| c.replication));
        let short = staying < usize::from(wanted);
        let warning = short.then(|| {
            format!(
                "{staying} nodes stay and {wanted} replicas are wanted: each partition has {staying} until nodes join"
            )
        });
        Leaving { id, state: if gone { "removed" } else { "draining" }, cluster, asked, warning }
    })
}
