//! Takes connections and serves the API on them: bounded in number, bounded in patience, ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
#[cfg(not(feature = "sim"))]
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::util::MapRequest;
#[cfg(feature = "sim")]
use turmoil::net::{TcpListener, TcpStream};

use crate::sign_ins::Origin;

/// Most connections at once; further ones wait in the queue of the operating system.
const CONNECTIONS: usize = 10_000;
/// Longest time the head of a request may take, and a connection may lie idle before one.
const HEAD: Duration = Duration::from_secs(60);
/// Pause after a connection could not be taken, so that a lack of file handles does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop` says how long what is under way may take to finish, and lets it finish.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<Option<Duration>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD).max_concurrent_streams(1_024);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            _ = stop.wait_for(Option::is_some) => break,
        };
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = stop.wait_for(Option::is_some) => break,
        };
        let (Ok(place), (stream, from)) = (
            place,
            match taken {
                Ok(taken) => taken,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        ) else {
            break;
        };
        serve_one(stream, from, &builder, &router, &graceful, place);
    }
    // Callers who are connected already, and only wait to be taken, are answered too.
    while let Some(Ok((stream, from))) = listener.accept().now_or_never() {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
        serve_one(stream, from, &builder, &router, &graceful, place);
    }
    drop(listener);
    let patience = stop.borrow().unwrap_or_default();
    if tokio::time::timeout(patience, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// Serves one connection until it ends.
fn serve_one(
    stream: TcpStream,
    from: SocketAddr,
    builder: &auto::Builder<TokioExecutor>,
    router: &Router,
    graceful: &GracefulShutdown,
    place: OwnedSemaphorePermit,
) {
    let origin = Origin(from.ip());
    let service = TowerToHyperService::new(MapRequest::new(router.clone(), move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(origin);
        request
    }));
    let io = TokioIo::new(without_delay(stream));
    let connection = graceful.watch(builder.serve_connection(io, service).into_owned());
    tokio::spawn(async move {
        // A caller who goes away is no news.
        let _ = connection.await;
        drop(place);
    });
}

fn without_delay(stream: TcpStream) -> TcpStream {
    // Answers are small and whole; waiting for more to send would only cost time.
    let _ = stream.set_nodelay(true);
    stream
}

/// Binds the address of the API.
pub(crate) async fn bind(addr: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
