//! The sandbox's inbox: what it was given to send, on all nodes.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::shapes::limit;
use crate::app::Shared;
use crate::auth::Viewer;
use crate::look::{Inbox, Seen};
use crate::problem::{Code, Problem};

/// Which contents are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Of this account.
    account: Option<String>,
    /// For this recipient, normalised.
    to: Option<String>,
    /// Only after this number, oldest first; without it the newest ones. Every node counts for itself.
    after: Option<u64>,
    /// Most contents, 1–500; 50 by default.
    limit: Option<usize>,
    /// Only of this node.
    node: Option<u64>,
}

/// What the sandbox was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Contents {
    /// In the order of time.
    messages: Vec<Seen>,
    /// Nodes that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<u64>,
}

/// What the sandbox was given to send. It is in memory: bounded, and gone after a restart.
#[utoipa::path(get, path = "/v1/sandbox", tag = "look", params(Wanted),
    responses((status = 200, body = Contents), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_sandbox(
    State(app): State<Shared>,
    _: Viewer,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Contents>, Problem> {
    let limit = limit(wanted.limit)?;
    let question = Inbox { account: wanted.account, to: wanted.to, after: wanted.after, limit };
    let nodes: Vec<u64> = app.ledger.control(|c| c.nodes.keys().copied().collect());
    let asked: Vec<u64> = nodes.into_iter().filter(|node| wanted.node.is_none_or(|only| only == *node)).collect();
    if asked.is_empty() {
        return Err(Problem::new(Code::NotFound, "there is no such node"));
    }
    let answers = asked.into_iter().map(|node| {
        let (app, question) = (app.clone(), question.clone());
        async move { (node, app.ask_node(node, question).await) }
    });
    let mut messages = Vec::new();
    let mut incomplete = Vec::new();
    for (node, answer) in futures::future::join_all(answers).await {
        match answer {
            Ok(seen) => messages.extend(seen),
            Err(_) => incomplete.push(node),
        }
    }
    messages.sort_by(|a: &Seen, b| (&a.at, a.node, a.seq).cmp(&(&b.at, b.node, b.seq)));
    if wanted.after.is_some() {
        messages.truncate(limit);
    } else {
        messages.drain(..messages.len().saturating_sub(limit));
    }
    Ok(Answer(Contents { messages, incomplete }))
}
