//! Asks a node for its health as a prober does: on a connection of its own, and for as long as it takes.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer is waited for longer than it may take, so that the report says how long it took.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of one question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How long it took.
    pub took: Duration,
    /// What came instead of a 200, and after how long; `None` if the node is well.
    pub failure: Option<String>,
}

/// Asks the node at `address` (`host:port`) once.
pub async fn ask(address: &str) -> Asked {
    let began = Instant::now();
    let answer = timeout(PATIENCE, healthz(address)).await;
    let took = began.elapsed();
    let failure = match answer {
        Ok(Ok(text)) if text.starts_with("HTTP/1.1 200") => None,
        other => Some(format!("/healthz after {took:?}: {other:?}")),
    };
    Asked { took, failure }
}

async fn healthz(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}
