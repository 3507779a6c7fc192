//! Looks whether a node is where somebody says it is, before it is taken in.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::ledgers::Ledgers;

/// Pause between two tries: the node may be just starting.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a node was not met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No node answers there.
    #[error("no node answers there: {0}")]
    Unreachable(String),
    /// Somebody else answers there: another node, one with another secret or of another cluster, no node at all.
    #[error("who answers there is not that node: {0}")]
    Mismatch(String),
}

impl Ledgers {
    /// Meets whoever is at `address`, with the whole handshake, and leaves again. Tries for `within` while nobody answers.
    /// This node itself cannot be met.
    ///
    /// # Errors
    /// See [`ProbeError`].
    pub async fn probe(&self, node: u64, address: &str, within: Duration) -> Result<(), ProbeError> {
        let until = Instant::now() + within;
        loop {
            let met = timeout_at(until, self.inner.peers.probe(address, node)).await;
            let error = match met {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(ProbeError::Unreachable("the time ran out".to_owned())),
            };
            if is_mismatch(&error) {
                return Err(ProbeError::Mismatch(error.to_string()));
            }
            if Instant::now() + PAUSE >= until {
                return Err(ProbeError::Unreachable(error.to_string()));
            }
            sleep(PAUSE).await;
        }
    }
}

/// Whether somebody was there and did not say what a node of this cluster says.
fn is_mismatch(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::InvalidData
    )
}
