//! An HTTP/1.1 server that answers what a test told it to, well or badly, and records what it was sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Most of a request's body that is read, in bytes.
const BODY_LIMIT: usize = 16 * 1_024 * 1_024;

/// The head of a yes, and the beginning of its body.
const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"errcode\":0,";

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum HttpReply {
    /// Answers.
    Answer {
        /// The status code.
        status: u16,
        /// Headers beside `Content-Length`.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Waits before it goes on with the other reply.
    After(Duration, Box<HttpReply>),
    /// Reads the request and never answers.
    Hang,
    /// Resets the connection before reading anything.
    ResetUnread,
    /// Reads the request, then resets the connection.
    Reset,
    /// Reads the request, begins a 200 answer and closes in the middle of the body.
    Truncate,
    /// Reads the request, begins a 200 answer and never ends its body.
    Stall,
    /// Reads the request and answers with what is not HTTP.
    Garbage,
    /// Reads the request and answers with this status and a body that never ends.
    Flood(u16),
}

/// A request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The server. Stops when it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    usual: Mutex<HttpReply>,
    next: Mutex<VecDeque<HttpReply>>,
    requests: Mutex<Vec<HttpRequest>>,
    connections: AtomicUsize,
}

impl HttpReply {
    /// An empty answer.
    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Self::Answer { status, headers, body: body.to_string().into_bytes() }
    }

    /// A text answer.
    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn wire(&self) -> Option<Vec<u8>> {
        let Self::Answer { status, headers, body } = self else { return None };
        let mut wire = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            wire.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.push_str("\r\n");
        let mut wire = wire.into_bytes();
        if *status != 204 && *status != 304 {
            wire.extend_from_slice(body);
        }
        Some(wire)
    }
}

impl HttpRequest {
    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl HttpServer {
    /// Listens on a free port of 127.0.0.1 and gives `usual` to every request.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(usual: HttpReply) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            usual: Mutex::new(usual),
            next: Mutex::default(),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { addr, state, accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `path`, which begins with a slash, as a URL on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Changes what every further request is given.
    pub fn set(&self, usual: HttpReply) {
        *self.state.usual.lock() = usual;
    }

    /// What the next requests are given, one each, before the usual reply comes back.
    pub fn then(&self, replies: impl IntoIterator<Item = HttpReply>) {
        self.state.next.lock().extend(replies);
    }

    /// Every request that was read, in order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.state.requests.lock().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How many requests were read.
    pub fn count(&self) -> usize {
        self.state.requests.lock().len()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn next(&self) -> HttpReply {
        self.next.lock().pop_front().unwrap_or_else(|| self.usual.lock().clone())
    }

    fn is_reset_unread(&self) -> bool {
        let next = self.next.lock();
        matches!(next.front().unwrap_or(&*self.usual.lock()), HttpReply::ResetUnread)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropping the set ends the connections with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(stream, Arc::clone(&state)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if state.is_reset_unread() {
        state.next();
        return stream.set_zero_linger();
    }
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        state.requests.lock().push(request);
        let mut reply = state.next();
        while let HttpReply::After(wait, then) = reply {
            tokio::time::sleep(wait).await;
            reply = *then;
        }
        let begun: &[u8] = match reply {
            HttpReply::Hang => std::future::pending().await,
            HttpReply::Reset | HttpReply::ResetUnread => return stream.get_ref().set_zero_linger(),
            HttpReply::Flood(status) => return flood(stream.get_mut(), status).await,
            HttpReply::Truncate => BEGUN,
            HttpReply::Stall => {
                stream.get_mut().write_all(BEGUN).await?;
                std::future::pending().await
            }
            HttpReply::Garbage => b"\x00\x01 is this HTTP?\r\n\r\n",
            HttpReply::Answer { .. } | HttpReply::After(..) => {
                stream.get_mut().write_all(&reply.wire().unwrap_or_default()).await?;
                continue;
            }
        };
        stream.get_mut().write_all(begun).await?;
        return stream.get_mut().shutdown().await;
    }
    Ok(())
}

/// Sends a body without end, until the client closes the connection.
async fn flood(stream: &mut TcpStream, status: u16) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} Scripted\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    loop {
        stream.write_all(chunk.as_bytes()).await?;
    }
}

/// Reads one request; `None` when the client has closed the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<HttpRequest>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or(0).min(BODY_LIMIT);
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(HttpRequest { method, target, headers, body }))
}
