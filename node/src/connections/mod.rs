//! Connections to the API: how many there may be, how long each may keep its place, what it may hold.

mod paced;
mod places;
mod pulse;
mod service;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tidings_config::Http;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::bodies::Bodies;
use crate::descriptors;
pub(crate) use places::Places;
use places::{Most, Patiences};
use pulse::Patience;
use service::Requests;
use watched::Watched;

/// Most bytes of the head of a request, and most of an answer that one HTTP/1 connection holds ready.
const HEAD_BYTES: usize = 64 * 1024;
/// Most bytes of the head of an HTTP/2 request, as RFC 9113 §6.5.2 counts them.
const HEADER_LIST_BYTES: u32 = 32 * 1024;
/// Most streams of one HTTP/2 connection (RFC 9113 §5.1.2).
const STREAMS: u32 = 100;
/// What one stream may send before it is read, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What all streams of a connection may send before it is read, in bytes.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What one stream holds of its answer, in bytes.
const STREAM_ANSWER: usize = 64 * 1024;
/// Streams that a connection may reset before they were looked at, and that we may reset, until the connection is ended
/// (CVE-2023-44487).
const RESETS: usize = 100;
/// How often an HTTP/2 connection is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long a connection beyond the limits may take to ask, and may last.
const SHORT_HEAD: Duration = Duration::from_secs(1);
const SHORT_LIFE: Duration = Duration::from_secs(5);

/// What serves connections.
pub(crate) struct Connections {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    bodies: Arc<Bodies>,
    pub(crate) places: Arc<Places>,
    graceful: GracefulShutdown,
}

impl Connections {
    pub(crate) fn new(router: Router, http: &Http, bodies: Arc<Bodies>) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The pulse of the connection bounds the time of heads, so hyper does not.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_LIST_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_ANSWER)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS);
        Self { builder, router, bodies, places: places(http), graceful: GracefulShutdown::new() }
    }

    /// Serves one connection until it ends, by itself or by its pulse.
    pub(crate) fn serve<S>(&self, socket: S, from: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = Arc::new(self.places.take(from.ip()));
        let pulse = Arc::clone(&place.pulse);
        let io = TokioIo::new(Watched::new(socket, Arc::clone(&pulse)));
        let (router, bodies) = (self.router.clone(), Arc::clone(&self.bodies));
        let requests = Requests { router, place: Arc::clone(&place), bodies, from };
        let connection = self.graceful.watch(self.builder.serve_connection(io, requests).into_owned());
        tokio::spawn(async move {
            tokio::select! {
                // A caller who goes away is no news.
                _ = connection => {}
                end = pulse.stops() => {
                    metrics::counter!("tidings_http_connections_ended_total", "reason" => end.name()).increment(1);
                }
            }
            drop(place);
        });
    }

    /// Waits until what is under way has ended, for `patience` at most.
    pub(crate) async fn finish(self, patience: Duration) {
        if tokio::time::timeout(patience, self.graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
    }
}

/// The places, as the configuration and the descriptors of the process allow.
fn places(http: &Http) -> Arc<Places> {
    // The other half is for peers, providers, files and what runs beside.
    let half = usize::try_from(descriptors::limit() / 2).unwrap_or(usize::MAX).saturating_sub(places::SHORT).max(16);
    let connections = http.connections.min(half);
    if connections < http.connections {
        tracing::warn!(
            connections,
            configured = http.connections,
            "the process may have too few descriptors for http.connections; raise the limit of open files (ulimit -n)"
        );
    }
    let per_address = match http.connections_per_address {
        0 => connections,
        most => most.min(connections),
    };
    let full = Patience {
        head: Duration::from_millis(http.head_ms),
        idle: Duration::from_millis(http.idle_ms),
        write: Duration::from_millis(http.write_ms),
        life: None,
    };
    let short = Patience { head: SHORT_HEAD, idle: SHORT_HEAD, write: SHORT_LIFE, life: Some(SHORT_LIFE) };
    Places::new(Most { connections, per_address }, Patiences { full, short })
}
