//! The cluster's time: what stands in its way, and the command that repairs it.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use tidings_contract::Time;
use tidings_machine::control::{self, Action};
use tidings_machine::repair::Repair;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::{Admin, not_founded};
use crate::look::{RepairTime, RepairedView};
use crate::problem::{Code, Problem};

/// How long a node may take to repair what it leads.
const WITHIN: Duration = Duration::from_secs(20);

/// What a repair of the cluster's time did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Repaired {
    /// The time that a majority of the machines' clocks agrees on.
    #[schema(value_type = String)]
    now: Time,
    /// The nodes that took it over.
    nodes: Vec<u64>,
    /// The groups whose time was in the future.
    groups: Vec<RepairedView>,
    /// What could not be repaired: repeat the command once it can.
    left: Vec<String>,
}

/// What the node's clock keeps it from, for `/readyz`.
pub(crate) fn clock_trouble(app: &App) -> Option<String> {
    let report = app.ledger.time_report();
    let ahead = report.ahead_ms.filter(|_| report.astray)?;
    let (by, side) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
    Some(format!(
        "this machine's clock is {by} ms {side} the time that a majority of the nodes agrees on: the node leads nothing until \
         it is right; set the clock (NTP)"
    ))
}

/// Sets the cluster's time to what a majority of the machines' clocks agrees on, on every node and in every group. Only for a
/// cluster whose time went wrong. What was stamped in the future counts as made now: limits, caps and dedup hold longer, never
/// shorter. Times of sending stay. Ids do not go back. Refused with `conflict` while no majority agrees. Doing so again
/// changes nothing.
#[utoipa::path(post, path = "/v1/cluster/repair-time", tag = "cluster",
    responses((status = 200, body = Repaired), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_repair_time(
    State(app): State<Shared>,
    Admin(caller): Admin,
) -> Result<Answer<Repaired>, Problem> {
    let nodes: Vec<u64> = app.ledger.control(|control| control.staying().collect());
    if nodes.is_empty() {
        return Err(not_founded());
    }
    let nobody = "no majority of the machines' clocks agrees: set them (NTP), and repair the time then";
    let to = app.ledger.agreed_time().ok_or_else(|| Problem::new(Code::Conflict, nobody))?;
    let was = app.ledger.control_time();
    let action = Action::RepairTime { repair: Repair { was, to }, latest: app.latest() };
    // First of all, so that the audit log has it whatever becomes of the rest, and new ids keep clear of the old ones.
    if let control::Answer::Refused(refusal) = app.ledger.change(&caller.key_id, action).await? {
        return Err(super::refused(refusal));
    }
    let asked = nodes.into_iter().map(|node| {
        let app = app.clone();
        async move { (node, app.ask_node_within(node, RepairTime, WITHIN).await) }
    });
    let mut repaired = Repaired { now: to, nodes: Vec::new(), groups: Vec::new(), left: Vec::new() };
    for (node, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(groups) => {
                repaired.nodes.push(node);
                repaired.groups.extend(groups);
            }
            Err(why) => repaired.left.push(format!("node {node}: {why}")),
        }
    }
    let failed = repaired.groups.iter().filter_map(|one| Some(format!("{}: {}", one.group, one.error.as_ref()?)));
    let failed: Vec<String> = failed.collect();
    repaired.left.extend(failed);
    Ok(Answer(repaired))
}
