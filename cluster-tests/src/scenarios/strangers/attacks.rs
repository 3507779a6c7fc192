//! What is done to the node. Plain sockets, so that nothing of a client's good manners stands in the way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::failure::ensure;
use crate::{Proof, When};

/// What is attacked.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `host:port`.
    pub(super) address: String,
    /// An admin key.
    pub(super) key: String,
    /// A material of 10 MB.
    pub(super) file: String,
    /// By then the node has ended what says or reads nothing.
    pub(super) idle: Duration,
}

impl Target {
    async fn connect(&self) -> Option<TcpStream> {
        timeout(Duration::from_secs(2), TcpStream::connect(&self.address)).await.ok()?.ok()
    }
}

/// Connections that begin with `first` and go on byte by byte, or not at all. Gives how many there were.
pub(super) async fn silent(target: &Target, count: usize, first: &[u8]) -> Proof<usize> {
    let mut held = Vec::new();
    for _ in 0..count {
        let Some(mut stream) = target.connect().await else { continue };
        // The node may have ended it already.
        let _ended = stream.write_all(first).await;
        held.push(stream);
    }
    ensure(held.len() >= count * 9 / 10, || format!("only {} connections came about", held.len()))?;
    let until = Instant::now() + target.idle;
    while Instant::now() < until {
        sleep(Duration::from_millis(250)).await;
        if !first.is_empty() {
            for stream in &mut held {
                let _ended = stream.try_write(b"x");
            }
        }
    }
    for stream in &mut held {
        let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
        ensure(matches!(read, Ok(Ok(0) | Err(_))), || format!("a connection is still there: {read:?}"))?;
    }
    Ok(held.len())
}

/// Bodies that stop before their end, for an account. Gives how many were answered at once, with `status` if that is not 0.
pub(super) async fn bodies(target: &Target, account: &str, count: usize, status: u16) -> Proof<usize> {
    let head = format!("POST /v1/receipts/{account} HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..count {
        let Some(mut stream) = target.connect().await else { continue };
        let body = [head.as_bytes(), &[b'x'; 900_000]].concat();
        // A node that does not read is not waited for.
        let _stuck = timeout(Duration::from_millis(50), stream.write_all(&body)).await;
        held.push(stream);
    }
    let mut answered = 0;
    for stream in &mut held {
        let mut start = [0; 12];
        let read = timeout(Duration::from_millis(200), stream.read_exact(&mut start)).await;
        let came = String::from_utf8_lossy(&start).into_owned();
        if matches!(read, Ok(Ok(_))) {
            ensure(status == 0 || came.ends_with(&status.to_string()), || format!("{came} came"))?;
            answered += 1;
        }
    }
    Ok(answered)
}

/// HTTP/2 connections, each with so many streams of bodies that never end. Gives how many streams were asked for.
pub(super) async fn streams(target: &Target, connections: usize, streams: usize) -> Proof<usize> {
    let mut asked = JoinSet::new();
    for _ in 0..connections {
        let Some(stream) = target.connect().await else { continue };
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.when("beginning HTTP/2")?;
        asked.spawn(async move { drop(connection.await) });
        for n in 0..streams {
            let mut sender = sender.clone();
            // Some go to an account that hears callbacks, most to none.
            let uri = if n % 8 == 0 { "supplier".to_owned() } else { format!("nobody-{n}") };
            let uri = format!("http://node/v1/receipts/{uri}");
            asked.spawn(async move {
                let request = Request::builder().method(Method::POST).uri(uri).body(Endless { left: 60 });
                if let Ok(request) = request {
                    drop(sender.send_request(request).await);
                }
            });
        }
    }
    sleep(target.idle).await;
    Ok(connections * streams)
}

/// A body of some pieces, after which nothing comes and no end.
struct Endless {
    left: usize,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Pending };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16_384])))))
    }
}

/// Readers that ask for a large file and never read it. Gives how many asked.
pub(super) async fn readers(target: &Target, count: usize) -> Proof<usize> {
    let Target { key, file, .. } = target;
    let head =
        format!("GET /v1/materials/{file}/content HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {key}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..count {
        let Some(mut stream) = target.connect().await else { continue };
        stream.write_all(head.as_bytes()).await.when("asking for a file")?;
        held.push(stream);
    }
    sleep(target.idle).await;
    for stream in &mut held {
        let mut all = Vec::new();
        let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
        ensure(end.is_ok(), || format!("a reader is still there after {} bytes", all.len()))?;
        ensure(all.len() < 10_000_000, || "what nobody read came whole".to_owned())?;
    }
    Ok(held.len())
}

/// The largest batch: 4 MB of recipients that cannot be sent to. Gives the length of the answer.
pub(super) async fn batch(target: &Target) -> Proof<usize> {
    let message = json!({"template": "hello", "to": vec!["x"; 10_000]});
    let batch = json!({"messages": vec![&message; 100]});
    let url = format!("http://{}/v1/messages/batch", target.address);
    let answer = Client::new(&target.key).send(Method::POST, &url, &batch).await?;
    ensure(answer.body.len() <= 4 << 20, || format!("an answer of {} bytes came", answer.body.len()))?;
    Ok(answer.body.len())
}
