//! The listening side: takes connections, checks who they are, and answers each question in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::client::Peers;
use super::handshake;
use super::wire::{ANSWER, FAILURE, Frame, GONE, Incoming, Kind, write_all};
use crate::base::net::{TcpListener, TcpStream};

/// Most connections at once; each peer has two.
const CONNECTIONS: usize = 256;
/// Most questions of one connection that are worked on at once.
const QUESTIONS: usize = 1_024;

/// Answers the questions of peers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers node `from`; an error goes back as text.
    fn answer(&self, from: u64, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, peers: Peers, service: Arc<dyn Service>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) if connections.len() < CONNECTIONS => {
                    tracing::trace!(%from, "a peer connects");
                    connections.spawn(attend(stream, peers.clone(), Arc::clone(&service)));
                }
                Ok((_, from)) => tracing::warn!(%from, "too many peer connections; one was refused"),
                Err(error) => {
                    // Out of file descriptors, most likely: others may end soon.
                    tracing::warn!(%error, "a peer connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn attend(mut stream: TcpStream, peers: Peers, service: Arc<dyn Service>) {
    let from = match handshake::accept(&mut stream, peers.me()).await {
        Ok(met) => {
            peers.hear(&met);
            met.node
        }
        Err(error) => {
            tracing::warn!(%error, peer = ?stream.peer_addr().ok(), "a peer was refused");
            return;
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers to a peer may be slow");
    }
    let (read, write) = stream.into_split();
    let (answers, queued) = mpsc::channel(QUESTIONS);
    let mut incoming = Incoming::new(read);
    let permits = Arc::new(Semaphore::new(QUESTIONS));
    let mut tasks = JoinSet::new();
    let reading = async {
        while let Some(frame) = incoming.next().await {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            while tasks.try_join_next().is_some() {}
            let Some(kind) = Kind::from_tag(frame.tag) else { return };
            // Looked at with every question: it may be removed while it is connected.
            let gone = peers.me().roll.dismissal(from);
            let answering = gone.is_none().then(|| service.answer(from, kind, frame.body));
            let answers = answers.clone();
            tasks.spawn(async move {
                let (tag, body) = match answering {
                    None => (GONE, Bytes::from(gone.unwrap_or_default())),
                    Some(answering) => match answering.await {
                        Ok(body) => (ANSWER, body),
                        Err(why) => (FAILURE, Bytes::from(why)),
                    },
                };
                let _ = answers.send(Frame { number: frame.number, tag, body }).await;
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = reading => {}
        () = write_all(write, queued) => {}
    }
}
