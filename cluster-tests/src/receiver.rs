//! The provider's end: an HTTP receiver that counts for itself what arrived, how often and when.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::{Failure, Proof, When};

/// The secret that the proofs' webhook accounts sign with.
pub const SECRET: &str = "whsec_dGhpcyBzZWNyZXQgaXMgb25seSBmb3IgcHJvb2Zz";

/// How paths begin that answer 500 and count nothing, until the receiver heals.
pub const BROKEN: &str = "/broken/";

/// What the receiver does with each call.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// Waits so long before it answers.
    pub delay: Duration,
    /// Verifies every signature with [`SECRET`].
    pub verify: bool,
    /// Keeps headers and bodies, for another program to look at.
    pub keep: bool,
}

/// One delivery as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The number in the body.
    pub n: u64,
    /// When each copy came.
    pub copies: Vec<Instant>,
}

/// A call as it came, kept if asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The headers whose names begin with `webhook-`.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

/// Everything seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// By `webhook-id`, which is the delivery's id.
    pub arrivals: HashMap<String, Arrival>,
    /// Calls that came, copies included.
    pub calls: u64,
    /// Calls that should not have come: no id, no number, a wrong signature.
    pub wrong: Vec<String>,
    /// The calls themselves, if kept.
    pub kept: Vec<Kept>,
    /// When the first and the last call came.
    pub span: Option<(Instant, Instant)>,
    /// Whether the broken paths answer like the others by now.
    pub healed: bool,
}

/// What a receiver in another process says of itself at `GET /counts`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that came.
    pub calls: u64,
    /// Different deliveries among them.
    pub distinct: u64,
    /// From the first call to the last, in microseconds.
    pub span_us: u64,
}

/// Everything that a receiver in another process has seen, at `GET /seen`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Calls that came.
    pub calls: u64,
    /// Calls that should not have come.
    pub wrong: Vec<String>,
    /// Deliveries: id, number, and how long ago each copy came, in microseconds.
    pub arrivals: Vec<(String, u64, Vec<u64>)>,
}

/// A running receiver. It stops when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Seen {
    /// Copies beyond the first of each delivery.
    pub fn duplicates(&self) -> u64 {
        self.calls - self.arrivals.len() as u64 - self.wrong.len() as u64
    }

    fn report(&self) -> Report {
        let age = |at: &Instant| u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let arrivals = self.arrivals.iter();
        let arrivals = arrivals.map(|(id, seen)| (id.clone(), seen.n, seen.copies.iter().map(age).collect()));
        Report { calls: self.calls, wrong: self.wrong.clone(), arrivals: arrivals.collect() }
    }

    fn counts(&self) -> Counts {
        let span = self.span.map(|(first, last)| last - first).unwrap_or_default();
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Counts { calls: self.calls, distinct: self.arrivals.len() as u64, span_us }
    }
}

impl Receiver {
    /// Starts one on a thread of its own, so that a busy load generator does not slow it.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(manners: Manners) -> Proof<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().when("making a runtime")?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).when("binding the receiver")?;
        listener.set_nonblocking(true).when("binding the receiver")?;
        let addr = listener.local_addr().when("binding the receiver")?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                // Only fails without a reactor, and this runtime has one.
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = serve(listener, manners, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { addr, seen, stop: Some(stop), thread: Some(thread) })
    }

    /// Where recipient number `n` receives: recipients spread over partitions by their URL.
    pub fn url(&self, n: u64) -> String {
        format!("http://{}/r/{n}", self.addr)
    }

    /// Where it listens: `http://host:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// How much was seen so far.
    pub fn counts(&self) -> Counts {
        self.seen.lock().counts()
    }

    /// The broken paths take everything from now on.
    pub fn heal(&self) {
        self.seen.lock().healed = true;
    }

    /// Waits until nothing has come for `quiet`.
    pub async fn wait_quiet(&self, quiet: Duration) {
        let mut last = (self.counts().calls, Instant::now());
        while last.1.elapsed() < quiet {
            tokio::time::sleep(quiet / 10).await;
            let calls = self.counts().calls;
            if calls != last.0 {
                last = (calls, Instant::now());
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ended_already = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Takes calls for ever.
pub async fn serve(listener: TcpListener, manners: Manners, seen: Arc<Mutex<Seen>>) {
    let manners = Arc::new(manners);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _slower = stream.set_nodelay(true);
        let (manners, seen) = (Arc::clone(&manners), Arc::clone(&seen));
        tokio::spawn(async move {
            let service = service_fn(|request| take(request, &manners, &seen));
            // A connection that breaks is the caller's to notice.
            let _broken =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    manners: &Manners,
    seen: &Mutex<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = |status: StatusCode, body: Bytes| {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        Ok(response)
    };
    if request.method() == Method::GET {
        let seen = seen.lock();
        let whole = request.uri().path() == "/seen";
        let body = if whole { serde_json::to_vec(&seen.report()) } else { serde_json::to_vec(&seen.counts()) };
        return reply(StatusCode::OK, body.unwrap_or_default().into());
    }
    if request.method() == Method::DELETE {
        *seen.lock() = Seen::default();
        return reply(StatusCode::NO_CONTENT, Bytes::new());
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return reply(StatusCode::BAD_REQUEST, Bytes::new());
    };
    if parts.uri.path().starts_with(BROKEN) && !seen.lock().healed {
        return reply(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new());
    }
    count(&parts.headers, &body, manners, seen);
    if !manners.delay.is_zero() {
        tokio::time::sleep(manners.delay).await;
    }
    reply(StatusCode::NO_CONTENT, Bytes::new())
}

fn count(headers: &hyper::HeaderMap, body: &Bytes, manners: &Manners, seen: &Mutex<Seen>) {
    let now = Instant::now();
    let read = read(headers, body, manners.verify);
    let mut seen = seen.lock();
    seen.calls += 1;
    seen.span = Some((seen.span.map_or(now, |(first, _)| first), now));
    if manners.keep {
        let named = headers.iter().filter(|(name, _)| name.as_str().starts_with("webhook-"));
        let headers = named.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        seen.kept.push(Kept { headers: headers.collect(), body: String::from_utf8_lossy(body).into() });
    }
    match read {
        Ok((id, n)) => {
            let arrival = seen.arrivals.entry(id).or_insert(Arrival { n, copies: Vec::with_capacity(1) });
            arrival.copies.push(now);
        }
        Err(failure) => seen.wrong.push(failure.to_string()),
    }
}

/// The delivery's id and the number in the body.
fn read(headers: &hyper::HeaderMap, body: &Bytes, verify: bool) -> Proof<(String, u64)> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).when(format!("reading {name}"));
    let id = header("webhook-id")?;
    if verify {
        let signed = sign(SECRET, id, header("webhook-timestamp")?, body)?;
        let matches = header("webhook-signature")?.split(' ').any(|given| given == signed);
        crate::failure::ensure(matches, || format!("the signature of {id} is wrong"))?;
    }
    let body: Value = serde_json::from_slice(body).when("reading a body")?;
    let n = &body["n"];
    let n = n.as_u64().or_else(|| n.as_str()?.parse().ok()).when(format!("finding the number in {body}"))?;
    Ok((id.to_owned(), n))
}

/// The signature that Standard Webhooks 1.0.0 ("Signature scheme") asks for.
///
/// # Errors
/// When the secret is not one.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Proof<String> {
    let key = secret.strip_prefix("whsec_").ok_or_else(|| Failure::new("the secret lacks whsec_"))?;
    let key = STANDARD.decode(key).when("reading the secret")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).when("reading the secret")?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_has_the_published_signature() {
        // The example of the specification's reference libraries.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed.expect("the secret is one"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_call_without_id_number_or_right_signature_is_wrong() {
        let seen = Mutex::new(Seen::default());
        let manners = Manners { verify: true, ..Manners::default() };
        let body = Bytes::from_static(br#"{"n":"7"}"#);
        let mut headers = hyper::HeaderMap::new();
        count(&headers, &body, &manners, &seen);
        let signed = sign(SECRET, "dlv_1", "1", &body).expect("the secret is one");
        for (name, value) in [("webhook-id", "dlv_1"), ("webhook-timestamp", "1"), ("webhook-signature", &signed)] {
            headers.insert(name, value.parse().expect("it is plain text"));
        }
        count(&headers, &body, &manners, &seen);
        count(&headers, &body, &manners, &seen);
        count(&headers, &Bytes::from_static(br#"{"n":"8"}"#), &manners, &seen);
        let seen = seen.into_inner();
        assert_eq!((seen.calls, seen.wrong.len(), seen.duplicates()), (4, 2, 1));
        assert_eq!(seen.arrivals["dlv_1"].n, 7);
    }
}
