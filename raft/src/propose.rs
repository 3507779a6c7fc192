//! The batcher of one group: gathers concurrent proposals into log entries and tells each what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use openraft::error::{ClientWriteError, RaftError};
use parking_lot::Mutex;
use tidings_contract::{Clock, Time};
use tidings_machine::Machine;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::codec::{self, CodecError};
use crate::error::ProposeError;
use crate::group::leads;
use crate::host::{HEADER, Host, Proposal};
use crate::options::{BatchLimits, MAX_ENTRY_BYTES};
use crate::time::{ClusterTime, GroupClock};
use crate::types::{Blob, Raft};

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const ABANDONED: u8 = 2;

/// Commands with their binary form, so that encoding is done once, by whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Commands<M: Machine> {
    typed: Option<Vec<M::Command>>,
    count: u32,
    encoded: Bytes,
}

impl<M: Machine> Commands<M> {
    /// Encodes `commands`, unless they do not fit an entry.
    pub(crate) fn new(commands: Vec<M::Command>) -> Result<Self, ProposeError> {
        let mut encoded = Vec::new();
        for command in &commands {
            let bytes = codec::encode(command).map_err(|e| ProposeError::Refused(e.to_string()))?;
            encoded.extend_from_slice(&bytes);
        }
        let bytes = encoded.len() + HEADER;
        if bytes > MAX_ENTRY_BYTES {
            return Err(ProposeError::TooLarge { bytes, limit: MAX_ENTRY_BYTES });
        }
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        Ok(Self { typed: Some(commands), count, encoded: encoded.into() })
    }

    /// Takes over what another node encoded, checking that it can be read.
    pub(crate) fn from_encoded(count: u32, encoded: Bytes) -> Result<Self, CodecError> {
        let mut commands = Self { typed: None, count, encoded };
        commands.typed = Some(commands.decode()?);
        Ok(commands)
    }

    pub(crate) fn encoded(&self) -> (u32, &Bytes) {
        (self.count, &self.encoded)
    }

    fn decode(&self) -> Result<Vec<M::Command>, CodecError> {
        let mut bytes = &self.encoded[..];
        let commands: Result<Vec<_>, _> = (0..self.count).map(|_| codec::decode_next(&mut bytes)).collect();
        if bytes.is_empty() { commands } else { Err(CodecError::new("bytes left over behind the last command")) }
    }

    /// The commands themselves; the first time without decoding.
    fn take(&mut self) -> Result<Vec<M::Command>, ProposeError> {
        match self.typed.take() {
            Some(typed) => Ok(typed),
            None => self.decode().map_err(|e| ProposeError::Refused(e.to_string())),
        }
    }
}

struct Queued<M: Machine> {
    proposal: Proposal<M>,
    encoded: Bytes,
    /// Decided once: the batcher takes it, or whoever waits gives up and knows that it is not kept.
    claim: Arc<AtomicU8>,
}

/// The queue in front of a group's batcher.
pub(crate) struct Proposer<M: Machine> {
    queue: mpsc::Sender<Queued<M>>,
    hold: watch::Sender<bool>,
    idle: watch::Receiver<bool>,
}

impl<M: Machine> Proposer<M> {
    /// Starts the batcher of a group; it ends with the group.
    /// `born` is the same for all groups of a node.
    pub(crate) fn start(
        raft: Raft,
        host: Arc<Host<M>>,
        (clock, stamps): (Arc<ClusterTime>, Arc<Mutex<GroupClock>>),
        limits: BatchLimits,
        born: Instant,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(limits.queue.max(1));
        let (hold, held) = watch::channel(false);
        let (busy, idle) = watch::channel(true);
        let limits = BatchLimits { bytes: limits.bytes.min(MAX_ENTRY_BYTES), ..limits };
        let batcher = Batcher {
            raft,
            host,
            clock,
            stamps,
            term: 0,
            limits,
            waiting,
            held,
            busy,
            number: 0,
            spare: None,
            crowd: 0,
            takes: Arc::default(),
            born,
        };
        tokio::spawn(batcher.run());
        Self { queue, hold, idle }
    }

    /// How many proposals wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Keeps proposals in the queue (`true`) or lets them go on.
    pub(crate) fn hold(&self, hold: bool) {
        self.hold.send_replace(hold);
    }

    /// Whether proposals are kept in the queue.
    pub(crate) fn held(&self) -> bool {
        *self.hold.borrow()
    }

    /// Whether the batcher ended although somebody may still propose: it panicked.
    pub(crate) fn is_dead(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns when nothing is under way.
    pub(crate) async fn idle(&self) {
        let _ = self.idle.clone().wait_for(|idle| *idle).await;
    }

    /// Proposes on this node. Answers come once the commands are on the disks of a majority and applied here.
    pub(crate) async fn propose(
        &self,
        commands: &mut Commands<M>,
        until: Instant,
    ) -> Result<Vec<M::Answer>, ProposeError> {
        let (reply, mut answer) = oneshot::channel();
        let claim = Arc::new(AtomicU8::new(QUEUED));
        let proposal = Proposal { commands: commands.take()?, reply };
        let queued = Queued { proposal, encoded: commands.encoded.clone(), claim: Arc::clone(&claim) };
        self.queue.try_send(queued).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ProposeError::Full("too many proposals wait".into()),
            mpsc::error::TrySendError::Closed(_) => ProposeError::Shutdown,
        })?;
        match tokio::time::timeout_at(until, &mut answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(ProposeError::Unknown("the group stopped".into())),
            Err(_) if claim.compare_exchange(QUEUED, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok() => {
                Err(ProposeError::Refused("it waited too long for its turn".into()))
            }
            // It may have been answered in this very moment.
            Err(_) => answer
                .try_recv()
                .unwrap_or_else(|_| Err(ProposeError::Unknown("no majority within the deadline".into()))),
        }
    }
}

struct Batcher<M: Machine> {
    raft: Raft,
    host: Arc<Host<M>>,
    clock: Arc<ClusterTime>,
    stamps: Arc<Mutex<GroupClock>>,
    /// In which term something was last stamped here.
    term: u64,
    limits: BatchLimits,
    waiting: mpsc::Receiver<Queued<M>>,
    held: watch::Receiver<bool>,
    busy: watch::Sender<bool>,
    number: u64,
    /// Taken from the queue but too large for the batch it came for.
    spare: Option<Queued<M>>,
    /// Proposals in the newest entry.
    crowd: usize,
    /// How long an entry is under way, in microseconds: a running mean.
    takes: Arc<AtomicU64>,
    /// From when the beats are counted.
    born: Instant,
}

type Flight = BoxFuture<'static, ()>;

impl<M: Machine> Batcher<M> {
    async fn run(mut self) {
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        loop {
            while flights.len() >= self.limits.in_flight.max(1) {
                flights.next().await;
            }
            self.busy.send_if_modified(|idle| std::mem::replace(idle, flights.is_empty()) != flights.is_empty());
            let first = match self.spare.take() {
                Some(spare) => spare,
                None => tokio::select! {
                    first = self.waiting.recv() => match first {
                        Some(first) => first,
                        None => break,
                    },
                    Some(()) = flights.next() => continue,
                },
            };
            // Before looking whether to hold: a hand-over that begins meanwhile must find the batch not sent.
            self.linger(&mut flights).await;
            while *self.held.borrow_and_update() {
                tokio::select! {
                    changed = self.held.changed() => if changed.is_err() { break },
                    Some(()) = flights.next() => {
                        self.busy.send_replace(flights.is_empty());
                    }
                }
            }
            self.catch_up(&mut flights).await;
            let alone = is_alone(&first);
            if alone {
                while flights.next().await.is_some() {}
            }
            if let Some(flight) = self.gather(first).await {
                self.busy.send_if_modified(|idle| std::mem::replace(idle, false));
                flights.push(flight);
            }
            if alone {
                while flights.next().await.is_some() {}
                self.stamps.lock().forget();
            }
        }
        while flights.next().await.is_some() {}
    }

    /// A leader that was elected a moment ago waits until it has applied what was agreed on before: before that it does not
    /// know what the group's time is.
    async fn catch_up(&mut self, flights: &mut FuturesUnordered<Flight>) {
        let (mut server, mut data) = (self.raft.server_metrics(), self.raft.data_metrics());
        loop {
            let leader = server.borrow_and_update().state.is_leader();
            data.borrow_and_update();
            if !leader || leads(&self.raft).is_some() {
                return;
            }
            let changed = tokio::select! {
                changed = server.changed() => changed,
                changed = data.changed() => changed,
                Some(()) = flights.next() => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// The group's time for the next entry.
    fn stamp(&mut self) -> Time {
        let term = self.raft.server_metrics().borrow().vote.leader_id.term;
        let mut stamps = self.stamps.lock();
        if std::mem::replace(&mut self.term, term) != term {
            stamps.forget();
        }
        stamps.stamp(self.clock.elapsed_ms(), self.host.time(), self.clock.now())
    }

    /// In a crowd, waits for more of it: an entry costs the same for one proposal as for many. Who proposes alone never waits.
    ///
    /// It waits for the next *beat*. All groups of a node have the same, so their entries share syncs and frames. A beat is
    /// the longest power of two of milliseconds within half the time an entry takes: slow entries are worth more company.
    async fn linger(&mut self, flights: &mut FuturesUnordered<Flight>) {
        if self.crowd < 2 || self.limits.linger.is_zero() || self.waiting.len() >= self.crowd * 2 {
            return;
        }
        let takes = Duration::from_micros(self.takes.load(Ordering::Relaxed));
        let next = next_beat(self.born, Instant::now(), takes / 2, self.limits.linger);
        let mut over = std::pin::pin!(tokio::time::sleep_until(next));
        loop {
            tokio::select! {
                () = &mut over => return,
                Some(()) = flights.next() => {}
            }
        }
    }

    /// Makes one entry of what waits, and sends it off.
    async fn gather(&mut self, first: Queued<M>) -> Option<Flight> {
        let (mut proposals, mut encoded) = (Vec::new(), Vec::new());
        let (mut count, mut bytes) = (0, HEADER);
        let alone = is_alone(&first);
        let mut next = Some(first);
        while let Some(one) = next {
            let full = count > 0
                && (alone
                    || is_alone(&one)
                    || count + one.proposal.commands.len() > self.limits.commands
                    || bytes + one.encoded.len() > self.limits.bytes);
            if full {
                self.spare = Some(one);
                break;
            }
            if one.claim.compare_exchange(QUEUED, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                count += one.proposal.commands.len();
                bytes += one.encoded.len();
                proposals.push(one.proposal);
                encoded.push(one.encoded);
            }
            next = self.waiting.try_recv().ok();
        }
        if proposals.is_empty() {
            return None;
        }
        self.crowd = proposals.len();
        self.number += 1;
        let number = self.number;
        let stamp = self.stamp();
        let payload = self.host.launch(number, stamp, proposals, &encoded);
        let sent = self.raft.client_write_ff(Blob(payload.into())).await;
        let (host, takes, began) = (Arc::clone(&self.host), Arc::clone(&self.takes), Instant::now());
        Some(Box::pin(async move {
            let outcome = match sent {
                Ok(receiver) => receiver.await.map_err(|_| Lost::Stopped).and_then(|written| written.map_err(Lost::of)),
                Err(_) => Err(Lost::Stopped),
            };
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            takes.store(takes.load(Ordering::Relaxed).saturating_mul(7).saturating_add(took) / 8, Ordering::Relaxed);
            if let Err(lost) = outcome {
                tell(&host, number, &lost);
            }
        }))
    }
}

/// Whether a proposal must be alone in its entry; see [`Machine::sets_time_back`].
fn is_alone<M: Machine>(queued: &Queued<M>) -> bool {
    queued.proposal.commands.iter().any(M::sets_time_back)
}

/// The next beat after `now`; beats are counted from `born`, so that all who count find the same.
fn next_beat(born: Instant, now: Instant, wished: Duration, most: Duration) -> Instant {
    let mut beat = most.min(Duration::from_millis(1)).max(Duration::from_micros(1));
    while beat * 2 <= wished.min(most) {
        beat *= 2;
    }
    let into = now.saturating_duration_since(born).as_nanos() % beat.as_nanos();
    now + beat - Duration::from_nanos(u64::try_from(into).unwrap_or(0))
}

/// Why openraft gave a batch back.
enum Lost {
    Forward(Option<(u64, String)>),
    Stopped,
}

impl Lost {
    fn of(error: ClientWriteError<u64, crate::types::Peer>) -> Self {
        match error {
            ClientWriteError::ForwardToLeader(to) => {
                Self::Forward(to.leader_id.map(|id| (id, to.leader_node.map(|n| n.api_addr).unwrap_or_default())))
            }
            ClientWriteError::ChangeMembershipError(_) => Self::Stopped,
        }
    }
}

/// Tells everybody in a batch that it came to nothing here.
fn tell<M: Machine>(host: &Host<M>, number: u64, lost: &Lost) {
    let Some((proposals, appended)) = host.land(number) else { return };
    for proposal in proposals {
        // An entry that was in our log may be in others', even if ours was cut off since.
        let error = match lost {
            _ if appended => ProposeError::Unknown("the leader changed while it was under way".into()),
            Lost::Forward(leader) => ProposeError::NotLeader { leader: leader.clone() },
            Lost::Stopped => ProposeError::Shutdown,
        };
        let _ = proposal.reply.send(Err(error));
    }
}

/// The leader a Raft error points to, if it does.
pub(crate) fn leader_in<E>(error: &RaftError<u64, E>) -> Option<u64>
where
    E: openraft::TryAsRef<openraft::error::ForwardToLeader<u64, crate::types::Peer>> + std::fmt::Debug,
{
    error.forward_to_leader().and_then(|to| to.leader_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_the_same_for_all_and_as_long_as_entries_are_worth() {
        let ms = Duration::from_millis;
        let born = Instant::now();
        let cases = [
            ("a quick entry has the shortest beat", ms(5), ms(0), ms(4), ms(6)),
            ("a beat has passed at its very moment", ms(6), ms(1), ms(4), ms(7)),
            ("a slower one has two", ms(5), ms(2), ms(4), ms(6)),
            ("a power of two, so that beats meet", ms(5), ms(7), ms(8), ms(8)),
            ("the limit holds", ms(5), ms(50), ms(2), ms(6)),
            ("also below a millisecond", ms(5), ms(50), Duration::from_micros(500), Duration::from_micros(5_500)),
        ];
        for (what, now, wished, most, expected) in cases {
            assert_eq!(next_beat(born, born + now, wished, most), born + expected, "{what}");
        }
    }
}
