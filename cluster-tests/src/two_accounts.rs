//! A supplier with two accounts behind one address: it tells them apart by a header, and can refuse one of them.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::{Proof, When};

/// What the two accounts call themselves.
pub const USERS: [&str; 2] = ["first", "second"];

/// What came so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls of each account that were taken.
    pub taken: [u64; 2],
    /// Calls of the first account that were refused.
    pub refused: u64,
    /// Different deliveries that were taken.
    pub distinct: HashSet<String>,
    /// Calls of neither account.
    pub wrong: u64,
}

/// The running provider. It stops when this is dropped.
#[derive(Debug)]
pub struct TwoAccounts {
    base: String,
    seen: Arc<Mutex<Seen>>,
    refuses: Arc<AtomicBool>,
    serving: AbortHandle,
}

impl TwoAccounts {
    /// Starts it; both accounts work.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Proof<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.when("binding the provider")?;
        let base = format!("http://{}", listener.local_addr().when("binding the provider")?);
        let (seen, refuses) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let serving = tokio::spawn(serve(listener, Arc::clone(&seen), Arc::clone(&refuses))).abort_handle();
        Ok(Self { base, seen, refuses, serving })
    }

    /// Where it listens: `http://host:port`.
    pub fn base(&self) -> String {
        self.base.clone()
    }

    /// The first account is answered 500 from now on, or taken again.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

impl Drop for TwoAccounts {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>, refuses: Arc<AtomicBool>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (seen, refuses) = (Arc::clone(&seen), Arc::clone(&refuses));
        tokio::spawn(async move {
            let service = service_fn(|request| take(request, &seen, &refuses));
            // A connection that breaks is the caller's to notice.
            let _broken =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    seen: &Mutex<Seen>,
    refuses: &AtomicBool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    // A connection is kept only when the body was read.
    let _body = body.collect().await;
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, user) = (header("x-delivery"), header("x-user"));
    let by = USERS.iter().position(|one| *one == user);
    let mut seen = seen.lock();
    let status = match by {
        Some(0) if refuses.load(Ordering::SeqCst) => {
            seen.refused += 1;
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Some(account) => {
            seen.taken[account] += 1;
            seen.distinct.insert(id.to_owned());
            StatusCode::NO_CONTENT
        }
        None => {
            seen.wrong += 1;
            StatusCode::BAD_REQUEST
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
