//! The one HTTP client: pooled, bounded, without redirects or proxies, and exact about what certainly was not sent.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, Url};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_contract::{Blame, Outcome, Secret};
use tokio::time::Instant;
use url::Host;

use crate::address::{Forbidden, is_public};
use crate::barrier::Barrier;
use crate::{resolving, show};

/// How Tidings names itself in requests.
pub const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tidings/", env!("CARGO_PKG_VERSION")));
/// Most of an answer's body that a provider reads, in bytes.
pub const PROVIDER_BODY_LIMIT: usize = 64 * 1_024;

/// Longest time for the name, the connection and the TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed before most servers close them, so that few requests meet a connection being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept for one host.
const IDLE_PER_HOST: usize = 1_024;
/// How long the body of an answer is waited for whose head is all that counts.
const GLANCE: Duration = Duration::from_secs(1);

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Longest time of one call, from the name's look-up to the last byte of the answer. At least 100 ms.
    pub timeout: Duration,
    /// Most of an answer's body that is read, in bytes; the rest is left and [`Answer::cut`] says so.
    pub body_limit: usize,
    /// Whether hosts outside the public internet are refused, by name and by number.
    pub public_only: bool,
    /// Whether compressed answers are asked for.
    pub gzip: bool,
}

/// An HTTP client with its own pool of connections. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    options: ClientOptions,
}

/// An answer, read to its end or to the limit.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most as long as the client's limit.
    pub body: Bytes,
    /// Whether the body was longer than the limit.
    pub cut: bool,
}

/// An answer whose body is read bit by bit, however long it is.
#[derive(Debug)]
pub struct Download {
    /// The status code.
    pub status: u16,
    /// The longest silence that is waited for.
    patience: Duration,
    response: reqwest::Response,
}

impl Download {
    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// `Broken` when the connection ended before the body did, or was silent for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(self.patience, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(truncated),
            Err(_) => Err(Failure::Broken { code: "timeout", words: "no more came in time".to_owned() }),
        }
    }
}

/// A call without an answer, classed by what it means for what was to be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing of the request went out.
    #[error("{code}: {words}")]
    NotSent {
        /// `connect`, `dns`, `tls` or `request`.
        code: &'static str,
        /// What was seen.
        words: String,
    },
    /// Nothing went out because the host is one that must not be called.
    #[error("{words}")]
    Forbidden {
        /// Why.
        words: String,
    },
    /// The request went out, whole or in part, and no whole answer came back.
    #[error("{code}: {words}")]
    Broken {
        /// `timeout`, `broken` (no answer) or `truncated` (the answer began).
        code: &'static str,
        /// What was seen.
        words: String,
    },
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent { code, words } => Self::later(code, words),
            Failure::Forbidden { words } => Self::never(Blame::Recipient, "address_forbidden", words),
            Failure::Broken { code, words } => Self::unknown(code, words),
        }
    }
}

impl Answer {
    /// A header, if it is there and is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// What the JSON reader says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Whether the status is 2xx.
    pub const fn is_success(&self) -> bool {
        self.status / 100 == 2
    }
}

impl ClientOptions {
    /// For a provider: answers of at most 64 KiB, not compressed, because they are short.
    pub const fn provider(timeout: Duration, public_only: bool) -> Self {
        Self { timeout, body_limit: PROVIDER_BODY_LIMIT, public_only, gzip: false }
    }
}

impl Client {
    /// A client with its own pool.
    ///
    /// The system's root certificates are read by the first client of the process and kept for all.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(options: ClientOptions) -> Result<Self, Failure> {
        Self::build(options, false)
    }

    /// The same, but it speaks HTTP/2 and nothing else, for the suppliers that want it.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new_http2(options: ClientOptions) -> Result<Self, Failure> {
        Self::build(options, true)
    }

    fn build(options: ClientOptions, http2: bool) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(http2)?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .gzip(options.gzip)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(60))
            .connect_timeout(CONNECT_TIMEOUT.min(options.timeout / 2))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST);
        builder = if http2 { builder.http2_prior_knowledge() } else { builder.http1_only() };
        builder = builder.dns_resolver(Resolver { public_only: options.public_only });
        let inner = builder.build().map_err(|error| not_sent("request", &error))?;
        Ok(Self { inner, options })
    }

    /// Makes one call. Dropping the future closes the connection it uses.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call(&self, method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        self.call_within(self.options.timeout, method, url, headers, body).await
    }

    /// The same with a time limit of its own, for what is larger than the calls that the client is for.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call_within(
        &self,
        timeout: Duration,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let limit = self.options.body_limit;
        self.ask(timeout, (method, url, headers, body), async |response| read(response, limit).await).await
    }

    /// Makes one call whose answer is its head: a yes is a yes, however slowly its body comes, and whether it comes at all. Of
    /// the body is read what comes within a moment, for people.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call_for_head(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let limit = self.options.body_limit;
        let glance = async |response| Ok(glance(response, limit).await);
        self.ask(self.options.timeout + GLANCE, (method, url, headers, body), glance).await
    }

    async fn ask(
        &self,
        timeout: Duration,
        (method, url, headers, body): (Method, Url, HeaderMap, Bytes),
        read: impl AsyncFnOnce(reqwest::Response) -> Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        if self.options.public_only && literal(&url).is_some_and(|ip| !is_public(ip)) {
            return Err(Failure::Forbidden { words: Forbidden.to_string() });
        }
        if let Some(shown) = show::http(&method, &url, &headers, &body) {
            return Err(shown);
        }
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        let barrier = Barrier::around();
        if !barrier.opens() {
            return Err(barrier.failure());
        }
        *request.body_mut() = (!body.is_empty()).then(|| reqwest::Body::wrap(barrier.before(body)));
        let whole = async { read(self.inner.execute(request).await.map_err(classify)?).await };
        match tokio::time::timeout(timeout, whole).await {
            // What the library makes of a body that was held back does not tell that nothing went out; the barrier does.
            _ if barrier.is_shut() => Err(barrier.failure()),
            Ok(result) => result,
            // Connecting has a shorter limit of its own, so by now the request may well be out.
            Err(_) => Err(Failure::Broken { code: "timeout", words: "no answer in time".to_owned() }),
        }
    }

    /// Begins to read what is at `url`. The client's time limit is that of the first answer and of every silence after it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn download(&self, url: Url, bearer: Option<&Secret>) -> Result<Download, Failure> {
        let mut request = reqwest::Request::new(Method::GET, url);
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        if let Some(token) = bearer {
            request.headers_mut().insert(header::AUTHORIZATION, authorization(token)?);
        }
        let patience = self.options.timeout;
        match tokio::time::timeout(patience, self.inner.execute(request)).await {
            Ok(Ok(response)) => Ok(Download { status: response.status().as_u16(), patience, response }),
            Ok(Err(error)) => Err(classify(error)),
            Err(_) => Err(Failure::Broken { code: "timeout", words: "no answer in time".to_owned() }),
        }
    }

    /// Sends the bytes of a file and asks for JSON.
    ///
    /// # Errors
    /// See [`Failure`]; a bearer token that cannot stand in a header is `NotSent`.
    pub async fn upload(
        &self,
        url: Url,
        bearer: Option<&Secret>,
        media_type: HeaderValue,
        bytes: Bytes,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::CONTENT_TYPE, media_type);
        if let Some(token) = bearer {
            headers.insert(header::AUTHORIZATION, authorization(token)?);
        }
        self.call(Method::POST, url, headers, bytes).await
    }

    /// Sends JSON and asks for JSON: what a caller of Tidings' own API needs.
    ///
    /// `headers` are added to `Accept`, `User-Agent` and, where given, `Authorization` and `Content-Type`.
    ///
    /// # Errors
    /// See [`Failure`]; a bearer token that cannot stand in a header or a body that is not JSON is `NotSent`.
    pub async fn json<T: Serialize + Sync + ?Sized>(
        &self,
        method: Method,
        url: Url,
        bearer: Option<&Secret>,
        headers: HeaderMap,
        body: Option<&T>,
    ) -> Result<Answer, Failure> {
        let mut all = HeaderMap::with_capacity(4 + headers.len());
        all.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        all.insert(header::USER_AGENT, USER_AGENT);
        if let Some(token) = bearer {
            all.insert(header::AUTHORIZATION, authorization(token)?);
        }
        let body = match body {
            None => Bytes::new(),
            Some(body) => {
                all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                serde_json::to_vec(body).map_err(|error| not_sent("request", &error))?.into()
            }
        };
        all.extend(headers);
        self.call(method, url, all, body).await
    }
}

/// The header that shows `token`.
fn authorization(token: &Secret) -> Result<HeaderValue, Failure> {
    let text = format!("Bearer {}", token.expose());
    let mut value = HeaderValue::from_str(&text).map_err(|error| not_sent("request", &error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The TLS settings of all clients: the system's roots, ring, TLS 1.2 and 1.3, one version of HTTP.
fn tls(http2: bool) -> Result<ClientConfig, Failure> {
    static CONFIG: OnceLock<Result<ClientConfig, String>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match builder.clone().with_platform_verifier() {
            Ok(builder) => builder.with_no_client_auth(),
            Err(error) => {
                // A machine without root certificates can still call plain HTTP; HTTPS then fails as `tls`.
                tracing::warn!(%error, "no root certificates were found: HTTPS calls will fail");
                builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
            }
        };
        Ok(config)
    });
    let mut config = made.clone().map_err(|words| Failure::NotSent { code: "tls", words })?;
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

/// The address in a URL whose host is a number. The resolver is never asked about those.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// Looks names up, and gives public addresses only where that is wished. The connection is made to the very addresses that were
/// judged, so a name that changes its answer between check and use gains nothing.
struct Resolver {
    public_only: bool,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let public_only = self.public_only;
        Box::pin(async move {
            // The port is a stand-in; the client puts the URL's in its place.
            let found = resolving::addresses(name.as_str()).await?;
            let right = |found: &&SocketAddr| !public_only || is_public(found.ip());
            let usable: Vec<SocketAddr> = found.iter().filter(right).copied().collect();
            if usable.is_empty() && !found.is_empty() {
                return Err(Forbidden.into());
            }
            let usable: reqwest::dns::Addrs = Box::new(usable.into_iter());
            Ok(usable)
        })
    }
}

/// What comes of an answer within a moment, up to the limit.
async fn glance(mut response: reqwest::Response, limit: usize) -> Answer {
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let (mut body, until) = (BytesMut::new(), Instant::now() + GLANCE);
    let whole = loop {
        match tokio::time::timeout_at(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) if body.len() < limit => {
                body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
            }
            Ok(Ok(None)) => break true,
            _ => break false,
        }
    };
    Answer { status, headers, body: body.freeze(), cut: !whole }
}

/// Reads an answer up to the limit.
async fn read(mut response: reqwest::Response, limit: usize) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = BytesMut::new();
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(truncated)? {
        let room = limit - body.len();
        cut = chunk.len() > room;
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if cut {
            break;
        }
    }
    Ok(Answer { status, headers, body: body.freeze(), cut })
}

fn truncated(error: reqwest::Error) -> Failure {
    Failure::Broken { code: "truncated", words: deepest(&error) }
}

/// What an error of the HTTP library means for what was to be sent.
fn classify(error: reqwest::Error) -> Failure {
    if has::<Forbidden>(&error) {
        return Failure::Forbidden { words: Forbidden.to_string() };
    }
    match () {
        () if error.is_builder() => not_sent("request", &error),
        () if error.is_dns() => not_sent("dns", &error),
        () if error.is_connect() && has::<rustls::Error>(&error) => not_sent("tls", &error),
        () if error.is_connect() => not_sent("connect", &error),
        () => Failure::Broken { code: "broken", words: deepest(&error) },
    }
}

fn not_sent(code: &'static str, error: &(dyn Error + 'static)) -> Failure {
    Failure::NotSent { code, words: deepest(error) }
}

/// The words of the innermost error. The outer ones name the URL, whose query may hold a token.
fn deepest(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// Whether an error of type `E` is among the causes.
fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.is::<E>())
}

/// The error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        // An I/O error names the cause of what it wraps as its own, so what it wraps must be asked for.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Runs one call per target, in order. Providers that carry one recipient a call are written with it.
pub(crate) async fn each<'a, T, F: Future<Output = T> + Send>(
    call: &'a tidings_contract::Call,
    send: impl Fn(&'a tidings_contract::Target) -> F,
) -> Vec<T> {
    let mut outcomes = Vec::with_capacity(call.targets.len());
    for target in &call.targets {
        outcomes.push(send(target).await);
    }
    outcomes
}
