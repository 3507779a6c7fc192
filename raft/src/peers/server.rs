//! The listening side: takes connections, checks who they are, and answers each question in a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cipher::Stream;
use super::client::Peers;
use super::disks::Party;
use super::handshake::{self, Met};
use super::introduce::introduce;
use super::penalties::{Penalties, whose};
use super::places::{Place, Places};
use super::refusals::{Reason, Refusals, Turned};
use super::wire::{ANSWER, FAILURE, Frame, GONE, Incoming, Kind, Outgoing, write_all};
use crate::base::net::{TcpListener, TcpStream};
use crate::seldom::Seldom;

/// Most connections of peers at once.
const CONNECTIONS: usize = 256;
/// Most connections of one peer: two lanes, the questions to an address, and some that are only half closed.
const OF_ONE_PEER: usize = 8;
/// Most connections at once that have proven nothing yet.
const STRANGERS: usize = 64;
/// Most of them from one address.
const OF_ONE_ADDRESS: usize = 16;
/// How long a connection may take, from its beginning, to prove that it is a peer's.
const PROVEN_WITHIN: Duration = Duration::from_secs(3);
/// Most questions of one connection that are worked on at once.
const QUESTIONS: usize = 1_024;
/// Most bytes of questions of one connection that are worked on at once, and of answers that wait to be written.
const BYTES: usize = 32 << 20;

/// Answers the questions of peers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers node `from`; an error goes back as text.
    fn answer(&self, from: u64, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// Who is at the port: strangers have places of their own, so that they take none from peers.
struct Hall {
    strangers: Places<std::net::IpAddr>,
    peers: Places<u64>,
    penalties: Penalties,
    refusals: Refusals,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, peers: Peers, service: Arc<dyn Service>) {
    let hall = Arc::new(Hall {
        strangers: Places::new(STRANGERS),
        peers: Places::new(CONNECTIONS),
        penalties: Penalties::default(),
        refusals: Refusals::default(),
    });
    let troubled = Seldom::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let (who, now) = (whose(from), Instant::now());
                    if hall.penalties.waits(who, now) {
                        let turned = Turned::new(Reason::Slowed, "its address failed before; it has to wait");
                        hall.refusals.note(&turned, from, now);
                        continue;
                    }
                    let place = hall.strangers.crowd_in(who, OF_ONE_ADDRESS);
                    connections.spawn(attend(stream, from, place, Arc::clone(&hall), peers.clone(), Arc::clone(&service)));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others may end soon.
                    if let Some(left_out) = troubled.turn(Instant::now()) {
                        tracing::warn!(%error, left_out, "a connection at the peer port could not be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn attend(
    stream: TcpStream,
    from: SocketAddr,
    mut place: Place<std::net::IpAddr>,
    hall: Arc<Hall>,
    peers: Peers,
    service: Arc<dyn Service>,
) {
    super::settle(&stream);
    let admitted = tokio::select! {
        admitted = admit(stream, &peers) => admitted,
        () = place.taken_away() => Err(Turned::new(Reason::Crowded, "too many connections have proven nothing yet")),
    };
    let who = whose(from);
    let admitted = admitted.and_then(|(stream, met)| {
        // It is a peer, so it is no stranger any more, whether there is room for it or not.
        let connected = hall.penalties.proven(who, Instant::now());
        let seat = hall.peers.sit_down(met.node, OF_ONE_PEER);
        let seat = seat.ok_or_else(|| Turned::new(Reason::Full, "all places for peers are taken").of(met.node))?;
        Ok((stream, met, seat, connected))
    });
    drop(place);
    match admitted {
        Ok((mut stream, met, mut seat, _connected)) => {
            let party = match introduce(&mut stream, peers.me(), met.node).await {
                Ok(party) => party,
                Err(error) => {
                    let turned = Turned::new(Reason::Disk, error.to_string()).of(met.node);
                    hall.refusals.note(&turned, from, Instant::now());
                    return;
                }
            };
            peers.hear(&met);
            tracing::trace!(%from, node = met.node, "a peer connected");
            tokio::select! {
                () = converse(stream, party, &peers, &service) => {}
                () = seat.taken_away() => tracing::debug!(%from, node = met.node, "the oldest connection of a peer was closed"),
            }
        }
        Err(turned) => {
            let now = Instant::now();
            if let Some(longest) = turned.reason.longest_wait() {
                hall.penalties.failed(who, longest, now);
            }
            hall.refusals.note(&turned, from, now);
        }
    }
}

/// Cipher and handshake, within the time a stranger has.
async fn admit(stream: TcpStream, peers: &Peers) -> Result<(Stream, Met), Turned> {
    let until = Instant::now() + PROVEN_WITHIN;
    let silent = || Turned::new(Reason::Silent, "it said nothing, or not enough, in time");
    let ciphered = tokio::time::timeout_at(until, peers.cipher().accept(stream)).await;
    let (mut stream, binding) = ciphered.map_err(|_| silent())??;
    let unproven = || Turned::new(Reason::Unproven, "it proved nothing in time");
    let accepted = tokio::time::timeout_at(until, handshake::accept(&mut stream, peers.me(), &binding)).await;
    let met = accepted.map_err(|_| unproven())??;
    Ok((stream, met))
}

/// Answers one peer until its connection ends.
async fn converse(stream: Stream, party: Party, peers: &Peers, service: &Arc<dyn Service>) {
    let from = party.node;
    let (read, write) = tokio::io::split(stream);
    let (answers, queued) = mpsc::channel(QUESTIONS);
    let mut incoming = Incoming::new(read);
    let (places, asked, answered) = (Semaphore::new(QUESTIONS), Semaphore::new(BYTES), Semaphore::new(BYTES));
    let (places, asked, answered) = (Arc::new(places), Arc::new(asked), Arc::new(answered));
    let mut tasks = JoinSet::new();
    let reading = async {
        while let Some(frame) = incoming.next().await {
            // While answers wait for their turn to wait, nothing more is asked of us.
            if answered.acquire().await.is_err() {
                return;
            }
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok(bytes) = Arc::clone(&asked).acquire_many_owned(weight(&frame.body)).await else { return };
            while tasks.try_join_next().is_some() {}
            let Some(kind) = Kind::from_tag(frame.tag) else { return };
            // Looked at with every question: it may be removed while it is connected.
            let gone = peers.me().roll.dismissal(from);
            if !peers.me().disks.hear(&party, frame.syncs) && gone.is_none() {
                return;
            }
            let answering = gone.is_none().then(|| service.answer(from, kind, frame.body));
            let (answers, answered, me) = (answers.clone(), Arc::clone(&answered), Arc::clone(peers.me()));
            tasks.spawn(async move {
                let (tag, body) = match answering {
                    None => (GONE, Bytes::from(gone.unwrap_or_default())),
                    Some(answering) => match answering.await {
                        Ok(body) => (ANSWER, body),
                        Err(why) => (FAILURE, Bytes::from(why)),
                    },
                };
                let Ok(waits) = answered.acquire_many_owned(weight(&body)).await else { return };
                drop(bytes);
                // What was promised as another disk than ours is now is not said any more.
                if me.disks.own() != party.own {
                    return;
                }
                let frame = Frame { number: frame.number, tag, syncs: me.disks.syncs(), body };
                let _ = answers.send(Outgoing { frame, waits: Some(waits) }).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = reading => {}
        () = write_all(write, queued) => {}
    }
}

/// What a body counts against [`BYTES`]; the largest frame is a part of that.
fn weight(body: &Bytes) -> u32 {
    u32::try_from(body.len().min(BYTES)).unwrap_or(u32::MAX)
}
