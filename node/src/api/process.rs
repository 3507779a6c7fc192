//! The process: alive, ready, measured.

use std::sync::atomic::Ordering;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::Shared;

/// Whether the node can do its work, and why not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    /// What stands in the way.
    reasons: Vec<String>,
}

/// Alive. 503 when the process cannot go on: its storage failed, or one of its groups died. It is about to end by itself then.
#[utoipa::path(get, path = "/healthz", tag = "process", security(()),
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(crate) async fn healthz(State(app): State<Shared>) -> (StatusCode, String) {
    match app.ledger.failure() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("the process has to start again: {why}")),
    }
}

/// Ready: founded, every partition has a known leader, the disk takes writes, the clock is right, the node is not stopping. Partitions of which
/// the node has no replica are asked of those who have one.
#[utoipa::path(get, path = "/readyz", tag = "process", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn readyz(State(app): State<Shared>) -> (StatusCode, Answer<Ready>) {
    let reasons = in_the_way(&app).await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Answer(Ready { ready: reasons.is_empty(), reasons }))
}

async fn in_the_way(app: &Shared) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.stopping.load(Ordering::SeqCst) {
        reasons.push("the node is stopping".to_owned());
    }
    reasons.extend(app.ledger.dismissed().map(|why| {
        format!(
            "{why}: stop this process; to come back, join with an empty data directory and a number never used before"
        )
    }));
    reasons.extend(app.ledger.unaccepted());
    if reasons.is_empty() {
        // It may have been frozen, or have just been started: then this finds out.
        reasons.extend(app.believes_control().await.err().and_then(|_| app.cut_off_why()));
    }
    let partitions = app.partitions();
    if partitions.is_empty() {
        reasons.push("the node is of no cluster yet".to_owned());
    }
    let elsewhere = app.ledger.elsewhere(&partitions);
    let here: Vec<_> = partitions.into_iter().filter(|partition| !elsewhere.contains(partition)).collect();
    let mut leaderless = app.ledger.leaderless(&here, app.limits().election);
    // A node that stops is not ready, whatever others say.
    if reasons.is_empty() {
        leaderless.extend(app.leaderless_elsewhere(elsewhere).await);
    }
    reasons.extend(leaderless.into_iter().map(|partition| format!("{partition} has no known leader")));
    reasons.extend(app.ledger.failure().map(|why| format!("the process has to start again: {why}")));
    reasons.extend(app.ledger.apart().into_iter().map(|why| format!("nothing is taken from a leader: {why}")));
    reasons.extend(crate::api::repairing::clock_trouble(app));
    reasons.extend(app.ledger.disk_trouble().map(|trouble| format!("the disk takes no writes: {trouble}")));
    reasons
}

/// Figures in the text form of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "process", security(()), responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    crate::meters::gauge(&app);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}
