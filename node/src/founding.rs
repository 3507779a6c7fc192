//! Founding: the first node makes the cluster and its first admin key. And what is left when every admin key is lost.

use data_encoding::HEXLOWER;
use tidings_contract::Secret;
use tidings_machine::control::{Action, Answer, ApiKey, NodeInfo, Refusal, Role};

use crate::api::refused;
use crate::app::App;
use crate::bearer::{Minted, mint};
use crate::problem::{Code, Problem};

/// An id that no other cluster has.
pub(crate) fn draw_cluster_id() -> String {
    format!("clu_{}", HEXLOWER.encode(&rand::random::<[u8; 8]>()))
}

/// Founds a cluster with this node alone; gives its id and its first admin key.
///
/// # Errors
/// `conflict` when it was founded before.
pub(crate) async fn found(app: &App, partitions: u16, replication: u16) -> Result<(String, Secret), Problem> {
    let cluster = draw_cluster_id();
    let minted = mint();
    let now = app.now();
    let key = ApiKey {
        name: "first admin".to_owned(),
        role: Role::Admin,
        hash: minted.hash,
        created_at: now,
        revoked_at: None,
    };
    let info = NodeInfo {
        peer_addr: app.founding.peer_addr.clone(),
        api_addr: app.founding.api_addr.clone(),
        labels: app.founding.labels.clone(),
        joined_at: now,
    };
    let node = app.ledger.node();
    let action =
        Action::Found { cluster: cluster.clone(), partitions, replication, node, info, key_id: minted.id, key };
    match app.ledger.found(action).await? {
        Answer::Refused(Refusal::Founded(id)) => {
            Err(Problem::new(Code::Conflict, format!("the cluster {id} was founded before")))
        }
        Answer::Refused(refusal) => Err(Problem::new(Code::Internal, format!("control refused: {refusal:?}"))),
        _ => Ok((cluster, minted.key)),
    }
}

/// An admin key that was made with the cluster's secret.
pub(crate) struct Recovered {
    /// What the list of keys and the audit log call it.
    pub name: String,
    /// The key.
    pub minted: Minted,
}

/// Makes an admin key for somebody who has shown the cluster's secret, or who runs the node. Control keeps it like any
/// other; its name, and who made it, say where it came from.
///
/// # Errors
/// `not_founded`, `no_leader`, and `conflict` when there are as many keys as there may be.
pub(crate) async fn recover(app: &App) -> Result<Recovered, Problem> {
    let node = app.ledger.node();
    let name = format!("recovered with the cluster's secret on node {node}");
    let minted = mint();
    let (id, hash) = (minted.id.clone(), minted.hash);
    let action = Action::PutKey { id: id.clone(), name: name.clone(), role: Role::Admin, hash };
    match app.ledger.change(&format!("cluster secret, node {node}"), action).await? {
        Answer::Refused(refusal) => Err(refused(refusal)),
        _ => {
            tracing::warn!(id, "an admin key was made with the cluster's secret");
            Ok(Recovered { name, minted })
        }
    }
}
