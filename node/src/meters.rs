//! Figures: the one recorder of the process, requests by route, and how the groups of this node stand.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

use crate::app::App;

/// The recorder of this process, installed by whoever asks first.
pub(crate) fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder may stand already, in a program that embeds a node; then ours stays empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
    handle.clone()
}

/// Counts each request by method, route and status.
pub(crate) async fn count(request: Request, next: Next) -> Response {
    let method = match *request.method() {
        axum::http::Method::GET => "GET",
        axum::http::Method::POST => "POST",
        axum::http::Method::PUT => "PUT",
        axum::http::Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    counter(method, route, response.status().as_u16()).increment(1);
    response
}

/// The counter of a kind of request. Kept after the first time: to look it up by its labels costs more than some requests.
fn counter(method: &'static str, route: Option<MatchedPath>, status: u16) -> metrics::Counter {
    type Kind = (&'static str, u16, Option<String>);
    static KNOWN: RwLock<BTreeMap<Kind, metrics::Counter>> = RwLock::new(BTreeMap::new());
    let kind = (method, status, route.map(|route| route.as_str().to_owned()));
    if let Some(known) = KNOWN.read().get(&kind) {
        return known.clone();
    }
    let route = kind.2.clone().unwrap_or_else(|| "none".to_owned());
    let made = metrics::counter!("tidings_http_requests_total", "method" => method, "route" => route, "status" => status.to_string());
    KNOWN.write().entry(kind).or_insert(made).clone()
}

/// Sets the gauges that are only looked at when somebody asks.
pub(crate) fn gauge(app: &App) {
    let node = app.ledger.node().to_string();
    app.guard.gauge(&node);
    app.bodies.gauge(&node);
    if let Some(places) = app.places.get().and_then(std::sync::Weak::upgrade) {
        let (full, short) = places.count();
        for (class, count) in [("full", full), ("short", short)] {
            let labels = [("node", node.clone()), ("class", class.to_owned())];
            metrics::gauge!("tidings_http_connections", &labels).set(count as f64);
        }
    }
    for view in app.ledger.status() {
        let labels = [("node", node.clone()), ("group", view.name.clone())];
        let leads = view.leader == Some(app.ledger.node());
        metrics::gauge!("tidings_group_leader", &labels).set(if leads { 1.0 } else { 0.0 });
        metrics::gauge!("tidings_group_term", &labels).set(view.term as f64);
        metrics::gauge!("tidings_group_applied_index", &labels).set(view.applied.unwrap_or(0) as f64);
        metrics::gauge!("tidings_group_waiting", &labels).set(view.waiting as f64);
        let lag = view.replicas.values().flatten().max().copied().unwrap_or(0);
        metrics::gauge!("tidings_group_lag_entries", &labels).set(lag as f64);
    }
    gauge_clocks(app, &node);
    for partition in app.partitions() {
        let Some(sizes) = app.ledger.partition(partition, |p| p.sizes()) else { continue };
        let labels = [("node", node.clone()), ("group", partition.to_string())];
        metrics::gauge!("tidings_pending_deliveries", &labels).set(sizes.pending as f64);
        metrics::gauge!("tidings_dead_letters", &labels).set(sizes.dead_letters as f64);
        metrics::gauge!("tidings_idempotency_keys", &labels).set(sizes.idempotency_keys as f64);
        metrics::gauge!("tidings_dedup_slots", &labels).set(sizes.dedup_slots as f64);
        metrics::gauge!("tidings_cap_slots", &labels).set(sizes.cap_slots as f64);
        metrics::gauge!("tidings_suppressions", &labels).set(sizes.suppressions as f64);
        let Some(outside) = app.ledger.partition(partition, |p| p.outside_sizes()) else { continue };
        metrics::gauge!("tidings_access_tokens", &labels).set(outside.tokens as f64);
        metrics::gauge!("tidings_receipts_expected", &labels).set(outside.expected as f64);
        metrics::gauge!("tidings_receipts_parked", &labels).set(outside.parked as f64);
        metrics::gauge!("tidings_recalls_open", &labels).set(outside.recalls as f64);
        metrics::gauge!("tidings_callbacks_pending", &labels).set(outside.callbacks as f64);
    }
}

/// How the clocks of peers stand against this machine's, and the cluster's time against what all of them agree on.
fn gauge_clocks(app: &App, node: &str) {
    let report = app.ledger.time_report();
    for (peer, offset) in &report.peers {
        let labels = [("node", node.to_owned()), ("peer", peer.to_string())];
        metrics::gauge!("tidings_clock_offset_ms", &labels).set(offset.ahead_ms as f64);
        metrics::gauge!("tidings_clock_offset_error_ms", &labels).set(offset.error_ms as f64);
    }
    metrics::gauge!("tidings_clock_astray", "node" => node.to_owned()).set(if report.astray { 1.0 } else { 0.0 });
    if let Some(ahead_ms) = report.present_ahead_ms {
        metrics::gauge!("tidings_cluster_time_ahead_ms", "node" => node.to_owned()).set(ahead_ms as f64);
    }
    let ahead_ms = report.groups_ahead.values().max().copied().unwrap_or(0);
    metrics::gauge!("tidings_group_time_ahead_ms", "node" => node.to_owned()).set(ahead_ms as f64);
}
