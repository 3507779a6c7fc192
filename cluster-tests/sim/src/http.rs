//! A caller's HTTP over the simulated network, one connection for each call. Tells *not sent* from *no answer*.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use turmoil::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// What became of a call.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    /// An answer.
    Answer(u16, Value),
    /// The node was never asked.
    NotSent,
    /// It may have been asked.
    NoAnswer(String),
}

/// One call.
pub(crate) async fn call(
    node: usize,
    bearer: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Got {
    let connecting = TcpStream::connect((crate::host::name(node), 7_400));
    let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, connecting).await else { return Got::NotSent };
    let mut request = Request::builder().method(method).uri(path).header("host", "sim");
    request = request.header("authorization", format!("Bearer {bearer}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let Ok(request) = request.body(Full::new(body)) else { return Got::NotSent };
    match tokio::time::timeout(PATIENCE, exchange(stream, request)).await {
        Ok(Ok((status, body))) => Got::Answer(status, body),
        Ok(Err(error)) => Got::NoAnswer(error.to_string()),
        Err(_) => Got::NoAnswer("the time ran out".to_owned()),
    }
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<(u16, Value), hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let talking = tokio::spawn(connection);
    let answering = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    };
    let answer = answering.await;
    talking.abort();
    answer
}
