//! The audit log: who changed what, when.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tidings_contract::Time;
use tidings_machine::control::AuditEntry;
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::shapes::limit;
use crate::app::Shared;
use crate::auth::Admin;
use crate::problem::Problem;

/// Which page of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Most entries, 1–500; 50 by default.
    limit: Option<usize>,
    /// Only entries with smaller numbers.
    before: Option<u64>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryShape {
    /// Counted from 1 since the cluster was founded.
    seq: u64,
    #[schema(value_type = String)]
    at: Time,
    /// The API key that asked, or `cluster`.
    by: String,
    action: String,
    subject: String,
}

/// Changes, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Audit {
    entries: Vec<EntryShape>,
    /// What to give as `before` for the next page.
    next: Option<u64>,
}

/// The newest changes, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "people", params(Wanted),
    responses((status = 200, body = Audit), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_audit(
    State(app): State<Shared>,
    _: Admin,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Audit>, Problem> {
    let limit = limit(wanted.limit)?;
    let entries: Vec<EntryShape> = app.ledger.control(|c| {
        let shape = |e: &AuditEntry| EntryShape {
            seq: e.seq,
            at: e.at,
            by: e.by.clone(),
            action: e.action.clone(),
            subject: e.subject.clone(),
        };
        let wanted = c.audit.iter().rev().filter(|entry| wanted.before.is_none_or(|before| entry.seq < before));
        wanted.take(limit).map(shape).collect()
    });
    let next = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.seq);
    Ok(Answer(Audit { entries, next }))
}
