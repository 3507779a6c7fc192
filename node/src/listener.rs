//! Takes connections, and ends in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
#[cfg(not(feature = "sim"))]
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
#[cfg(feature = "sim")]
use turmoil::net::{TcpListener, TcpStream};

use crate::connections::{Connections, Places};

/// Pause after a connection could not be taken for want of descriptors or memory, so that this is no busy loop.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is said at most that connections cannot be taken.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Serves on `listener` until `stop` says how long what is under way may take to finish, and lets it finish.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Connections,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let mut troubles = Troubles::default();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = stop.wait_for(Option::is_some) => break,
        };
        match taken {
            Ok((stream, from)) => connections.serve(without_delay(stream), from),
            Err(error) => troubles.met(&error, &connections.places).await,
        }
    }
    // Callers who are connected already, and only wait to be taken, are answered too.
    while let Some(Ok((stream, from))) = listener.accept().now_or_never() {
        connections.serve(without_delay(stream), from);
    }
    drop(listener);
    let patience = stop.borrow().unwrap_or_default();
    connections.finish(patience).await;
}

/// Connections that could not be taken.
#[derive(Debug, Default)]
struct Troubles {
    since_said: u64,
    said: Option<Instant>,
}

impl Troubles {
    async fn met(&mut self, error: &io::Error, places: &Arc<Places>) {
        self.since_said += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!(%error, times = self.since_said, "connections could not be taken");
            (self.said, self.since_said) = (Some(Instant::now()), 0);
        }
        // The caller went away before it was taken (accept(2)): the next one is not concerned.
        let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if gone.contains(&error.kind()) {
            return;
        }
        places.give_one_up();
        tokio::time::sleep(PAUSE).await;
    }
}

fn without_delay(stream: TcpStream) -> TcpStream {
    // Answers are small and whole; waiting for more to send would only cost time.
    let _ = stream.set_nodelay(true);
    stream
}

/// Binds the address of the API.
pub(crate) async fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
