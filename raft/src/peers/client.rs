//! Connections to peers: two lanes to each, made when needed, shared by all who ask.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::cipher::{Cipher, Stream};
use super::contact::Contacts;
use super::disks::Party;
use super::handshake::{self, Identity, Met};
use super::introduce::introduce;
use super::wire::{ANSWER, FAILURE, Frame, GONE, Incoming, Kind, MAX_FRAME, Outgoing, write_all};
use crate::base::net::TcpStream;

/// Most frames that wait for one connection.
const QUEUE: usize = 1_024;
/// How long TCP may take to connect: a SYN that was lost is soon followed by one of the next try. What follows has the
/// handshake's limit.
const CONNECT: Duration = Duration::from_millis(500);
/// How long cipher and handshake may take.
const SECURED: Duration = Duration::from_secs(3);
/// A connection on which nothing came back for so long is given up.
const SILENCE: Duration = Duration::from_millis(200);
/// How long a peer that could not be reached is left alone.
const REST: Duration = Duration::from_millis(200);

/// Which connection to use, so that bulk does not hold up heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Raft's small and urgent messages.
    Raft,
    /// Everything else.
    Bulk,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The peer was never asked.
    #[error("not asked: {0}")]
    NotSent(String),
    /// The peer may have been asked; nothing came back.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The peer answered that it could not.
    #[error("{0}")]
    Failed(String),
}

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>>>>;

struct Connection {
    frames: mpsc::Sender<Outgoing>,
    /// `None` once the connection is broken.
    waiting: Waiting,
    /// When something last came in.
    heard: Arc<Mutex<Instant>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    tries: usize,
    rest_until: Option<(Instant, String)>,
}

type Slots = Mutex<HashMap<(u64, Lane), Arc<tokio::sync::Mutex<Slot>>>>;

/// The peers of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    me: Arc<Identity>,
    cipher: Cipher,
    contacts: Contacts,
    book: RwLock<BTreeMap<u64, String>>,
    /// Where nodes said they are when they last met us.
    told: RwLock<BTreeMap<u64, String>>,
    slots: Slots,
    numbers: AtomicU64,
    closed: std::sync::atomic::AtomicBool,
}

impl Peers {
    pub(crate) fn new(me: Arc<Identity>, cipher: Cipher) -> Self {
        let inner = Inner {
            me,
            cipher,
            contacts: Contacts::default(),
            book: RwLock::default(),
            told: RwLock::default(),
            slots: Mutex::default(),
            numbers: AtomicU64::new(1),
            closed: false.into(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn me(&self) -> &Arc<Identity> {
        &self.inner.me
    }

    pub(super) fn cipher(&self) -> &Cipher {
        &self.inner.cipher
    }

    /// The newest error of every peer that cannot be reached now.
    pub(crate) fn trouble(&self) -> BTreeMap<u64, String> {
        self.inner.contacts.trouble()
    }

    /// Where the nodes are, by the latest word of control.
    pub(crate) fn set_book(&self, book: BTreeMap<u64, String>) {
        // Whoever was removed is missed no more.
        self.inner.contacts.retain(|node| book.contains_key(&node));
        *self.inner.book.write() = book;
    }

    /// Remembers where a node that met us says it is.
    pub(crate) fn hear(&self, met: &Met) {
        self.inner.hear(met);
    }

    /// Where a node may be: what it said itself, then control's word, then `known`.
    fn addresses(&self, node: u64, known: Option<&str>) -> Vec<String> {
        let told = self.inner.told.read().get(&node).cloned();
        let book = self.inner.book.read().get(&node).cloned().or_else(|| known.map(str::to_owned));
        let mut found: Vec<String> = told.into_iter().chain(book).collect();
        found.dedup();
        found
    }

    /// Closes all connections and makes no more.
    pub(crate) fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.slots.lock().clear();
    }

    /// Asks a node. `known` is its address where the book has none.
    pub(crate) async fn call(
        &self,
        node: u64,
        known: Option<&str>,
        lane: Lane,
        kind: Kind,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + within;
        let connection = self.connection(node, lane, known, until).await?;
        self.ask(&connection, kind, body, until).await
    }

    /// Asks whoever is at `address`; for joining, when no numbers are known yet.
    pub(crate) async fn call_address(
        &self,
        address: &str,
        kind: Kind,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + within;
        let (connection, _) =
            self.inner.open(address, None).await.map_err(|e| CallError::NotSent(format!("{address}: {e}")))?;
        self.ask(&connection, kind, body, until).await
    }

    /// Meets whoever is at `address`, who has to be `node`, and leaves again.
    pub(crate) async fn probe(&self, address: &str, node: u64) -> std::io::Result<()> {
        self.inner.open(address, Some(node)).await.map(drop)
    }

    async fn ask(&self, connection: &Connection, kind: Kind, body: Bytes, until: Instant) -> Result<Bytes, CallError> {
        if body.len() + 64 > MAX_FRAME {
            return Err(CallError::NotSent(format!("{} bytes do not fit a frame", body.len())));
        }
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match &mut *connection.waiting.lock() {
            Some(waiting) => drop(waiting.insert(number, sender)),
            None => return Err(CallError::NotSent("the connection broke".into())),
        }
        // Whichever way we leave, nobody waits for this number any more.
        let _forget = Forget { waiting: &connection.waiting, number };
        let frame = Frame { number, tag: kind as u8, syncs: self.inner.me.disks.syncs(), body };
        let sent = tokio::time::timeout_at(until, connection.frames.send(frame.into())).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(CallError::NotSent("the connection broke".into())),
            Err(_) => return Err(CallError::NotSent("too much waits for this peer".into())),
        }
        let asked = Instant::now();
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::NoAnswer("the connection broke".into())),
            Err(_) => {
                // Silent for that long, it may hang for ever: the next call makes a new connection. Counted since something
                // came in, because the time limit of one append may be shorter than that.
                let heard = *connection.heard.lock();
                if heard < asked && heard.elapsed() >= SILENCE {
                    connection.waiting.lock().take();
                }
                Err(CallError::NoAnswer("the time ran out".into()))
            }
        }
    }

    async fn connection(
        &self,
        node: u64,
        lane: Lane,
        known: Option<&str>,
        until: Instant,
    ) -> Result<Arc<Connection>, CallError> {
        let slot = Arc::clone(self.inner.slots.lock().entry((node, lane)).or_default());
        let connecting = async {
            let slot = slot.lock_owned().await;
            if let Some(alive) = slot.connection.as_ref().filter(|c| c.waiting.lock().is_some()) {
                return Ok(Arc::clone(alive));
            }
            if let Some((_, why)) = slot.rest_until.as_ref().filter(|(rest, _)| *rest > Instant::now()) {
                return Err(why.clone());
            }
            // A task of its own: cipher and handshake take several round trips, which may be more time than whoever asks
            // has. The next one who asks finds the connection.
            let (inner, addresses) = (Arc::clone(&self.inner), self.addresses(node, known));
            let connected = tokio::spawn(async move { inner.connect(slot, node, &addresses).await }).await;
            connected.unwrap_or_else(|error| Err(error.to_string()))
        };
        match tokio::time::timeout_at(until, connecting).await {
            Ok(connected) => connected.map_err(CallError::NotSent),
            Err(_) => Err(CallError::NotSent(format!("node {node}: no connection in time"))),
        }
    }
}

impl Inner {
    /// Tries one address after the other.
    async fn connect(
        &self,
        mut slot: tokio::sync::OwnedMutexGuard<Slot>,
        node: u64,
        addresses: &[String],
    ) -> Result<Arc<Connection>, String> {
        slot.connection = None;
        let mut why = format!("no address of node {node}");
        for _ in 0..addresses.len() {
            let address = &addresses[slot.tries % addresses.len()];
            slot.tries = slot.tries.wrapping_add(1);
            match self.open(address, Some(node)).await {
                Ok((connection, met)) => {
                    self.hear(&met);
                    self.contacts.reached(node, Instant::now());
                    slot.tries = 0;
                    let connection = Arc::new(connection);
                    (slot.connection, slot.rest_until) = (Some(Arc::clone(&connection)), None);
                    return Ok(connection);
                }
                Err(error) => why = format!("node {node} at {address}: {error}"),
            }
        }
        if !self.closed.load(Ordering::Acquire) {
            self.contacts.lost(node, &why, Instant::now());
        }
        slot.rest_until = Some((Instant::now() + REST, why.clone()));
        Err(why)
    }

    fn hear(&self, met: &Met) {
        if let Some(address) = &met.address {
            self.told.write().insert(met.node, address.clone());
        }
    }

    async fn open(&self, address: &str, wanted: Option<u64>) -> std::io::Result<(Connection, Met)> {
        if self.closed.load(Ordering::Acquire) {
            return Err(std::io::Error::other("this node is closing"));
        }
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        super::settle(&stream);
        let secured = async {
            let (mut stream, binding) = self.cipher.connect(stream).await?;
            let met = handshake::connect(&mut stream, &self.me, &binding, wanted).await?;
            Ok::<_, std::io::Error>((stream, met))
        };
        let secured = tokio::time::timeout(SECURED, secured).await;
        let (mut stream, met) = secured.map_err(|_| std::io::Error::other("it does not answer"))??;
        let party = introduce(&mut stream, &self.me, met.node).await?;
        Ok((Connection::over(stream, Arc::clone(&self.me), party), met))
    }
}

impl Connection {
    fn over(stream: Stream, me: Arc<Identity>, party: Party) -> Self {
        let (read, write) = tokio::io::split(stream);
        let (frames, queued) = mpsc::channel(QUEUE);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (incoming, writing) = (Incoming::new(read), write_all(write, queued));
        let reader = tokio::spawn(converse(incoming, writing, Arc::clone(&waiting), Arc::clone(&heard), me, party));
        Self { frames, waiting, heard, reader }
    }
}

struct Forget<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut *self.waiting.lock() {
            waiting.remove(&self.number);
        }
    }
}

/// Writes and reads one connection until either ends; then nobody waits on it any more.
async fn converse<R: tokio::io::AsyncRead + Unpin>(
    mut incoming: Incoming<R>,
    writing: impl Future<Output = ()>,
    waiting: Waiting,
    heard: Arc<Mutex<Instant>>,
    me: Arc<Identity>,
    party: Party,
) {
    let reading = async {
        while let Some(frame) = incoming.next().await {
            *heard.lock() = Instant::now();
            // Before the answer counts, and never if its disk does not count any more.
            if !me.disks.hear(&party, frame.syncs) && frame.tag != GONE {
                return;
            }
            let asker = waiting.lock().as_mut().and_then(|waiting| waiting.remove(&frame.number));
            let answer = match frame.tag {
                ANSWER => Ok(frame.body),
                FAILURE => Err(CallError::Failed(String::from_utf8_lossy(&frame.body).into_owned())),
                GONE => {
                    let why = String::from_utf8_lossy(&frame.body).into_owned();
                    me.roll.tell(&why);
                    Err(CallError::Failed(why))
                }
                _ => return,
            };
            if let Some(asker) = asker {
                let _ = asker.send(answer);
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    waiting.lock().take();
}
