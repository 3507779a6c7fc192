//! Strangers who hold connections to a container: they say nothing, or drip a byte now and then, and come again when they are
//! turned away. And somebody who asks for its health on connections of their own meanwhile.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::container::Container;
use crate::Proof;
use crate::health::{self, Asked};

/// How often a dripping connection says one byte more.
const DRIP: Duration = Duration::from_millis(250);
/// How often each node's health is asked.
const ASK: Duration = Duration::from_millis(200);
/// How long a stranger waits for its connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Strangers at work; they go when this is dropped.
#[derive(Debug, Default)]
pub struct Crowd {
    strangers: JoinSet<()>,
    opened: Arc<Mutex<u64>>,
}

impl Crowd {
    /// Lets `count` more strangers loose on a port of a container. Each begins with `first`, and drips if that is not empty.
    ///
    /// # Errors
    /// When the container has no address.
    pub fn gather(&mut self, at: &Container, port: u16, count: usize, first: &'static [u8]) -> Proof {
        let address = format!("{}:{port}", at.address()?);
        for _ in 0..count {
            let (address, opened) = (address.clone(), Arc::clone(&self.opened));
            self.strangers.spawn(async move {
                loop {
                    if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(&address)).await {
                        *opened.lock() += 1;
                        stay(stream, first).await;
                    }
                    sleep(DRIP).await;
                }
            });
        }
        Ok(())
    }

    /// Connections that came about so far.
    pub fn opened(&self) -> u64 {
        *self.opened.lock()
    }
}

/// Stays until the other end has enough.
async fn stay(mut stream: TcpStream, first: &[u8]) {
    if stream.write_all(first).await.is_err() {
        return;
    }
    let mut heard = [0; 64];
    loop {
        match timeout(DRIP, stream.read(&mut heard)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => {}
            Err(_) if first.is_empty() => {}
            Err(_) if stream.write_all(b"x").await.is_err() => return,
            Err(_) => {}
        }
    }
}

/// What was seen of the nodes' health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// How often it was asked.
    pub asked: u64,
    /// The longest time that an answer took.
    pub slowest: Duration,
    /// What was no answer, the first few.
    pub failed: Vec<String>,
}

impl Health {
    fn note(&mut self, address: &str, asked: &Asked) {
        self.asked += 1;
        self.slowest = self.slowest.max(asked.took);
        if let Some(why) = asked.failure.as_ref().filter(|_| self.failed.len() < 5) {
            self.failed.push(format!("{address}: {why}"));
        }
    }
}

/// Somebody who asks.
#[derive(Debug)]
pub struct Prober {
    seen: Arc<Mutex<Health>>,
    // Ends the asking when this is dropped.
    _asking: JoinSet<()>,
}

impl Prober {
    /// Asks each of the `host:port` again and again.
    pub fn start(addresses: Vec<String>) -> Self {
        let seen = Arc::new(Mutex::new(Health::default()));
        let mut asking = JoinSet::new();
        for address in addresses {
            let seen = Arc::clone(&seen);
            asking.spawn(async move {
                loop {
                    let asked = health::ask(&address).await;
                    seen.lock().note(&address, &asked);
                    sleep(ASK).await;
                }
            });
        }
        Self { seen, _asking: asking }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Health {
        self.seen.lock().clone()
    }
}
