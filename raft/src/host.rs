//! A machine and those who wait for it: applies batches, gives answers to proposers, hints to a listener, records to a sink.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tidings_contract::{Time, planted};
use tidings_machine::{Machine, Output};
use tokio::sync::{mpsc, oneshot, watch};

use crate::codec::{self, CodecError};
use crate::error::ProposeError;
use crate::store::{AppendWatch, RecordSink};

/// Boot, number, stamp and count of commands in front of the commands themselves.
pub(crate) const HEADER: usize = 28;

/// A machine whose type only its group knows.
pub(crate) trait Hosted: Send + Sync {
    /// Applies the batch in `payload`, which is the entry at `index`.
    fn apply(&self, index: u64, payload: &[u8]) -> Result<(), CodecError>;
    /// Counts an entry that is not for the machine.
    fn pass(&self, index: u64);
    /// Copies the machine as it stands, and makes what it wrote so far findable after a restart. Blocks.
    fn freeze(&self) -> io::Result<Box<dyn Frozen>>;
    /// Replaces the machine by what `from` holds, as it stood after the entry at `index`. Blocks.
    fn restore(&self, index: u64, from: &mut dyn Read) -> Result<(), CodecError>;
}

/// A copy of a machine, to be written at leisure.
pub(crate) trait Frozen: Send + Sync {
    /// Writes it.
    fn write_to(&self, out: &mut dyn Write) -> Result<(), CodecError>;
}

/// Gives the answers of one proposal to whoever proposed it.
pub(crate) type Reply<M> = oneshot::Sender<Result<Vec<<M as Machine>::Answer>, ProposeError>>;

/// One proposal: some commands and where their answers go.
pub(crate) struct Proposal<M: Machine> {
    pub(crate) commands: Vec<M::Command>,
    pub(crate) reply: Reply<M>,
}

/// A batch that was proposed here and is not applied yet.
pub(crate) struct Flying<M: Machine> {
    at: Time,
    proposals: Vec<Proposal<M>>,
    appended: bool,
}

/// One machine of this node, with everything that hangs on it.
pub(crate) struct Host<M: Machine> {
    /// Drawn when the process started: tells our batches from those of others and of former lives.
    boot: u64,
    machine: RwLock<M>,
    flying: Mutex<HashMap<u64, Flying<M>>>,
    listener: Mutex<Option<mpsc::UnboundedSender<Vec<M::Hint>>>>,
    sink: Option<Arc<dyn RecordSink<M::Record>>>,
    applied: watch::Sender<u64>,
    /// The machine's time. Apart from the machine, so that whoever looks at the machine may ask for it: a second look while
    /// a batch waits for the first to end would never come.
    time: AtomicU64,
    /// Held while a batch changes the machine and its records are written.
    applying: Mutex<()>,
}

impl<M: Machine> Host<M> {
    /// A machine in its first state.
    pub(crate) fn new(boot: u64, sink: Option<Arc<dyn RecordSink<M::Record>>>) -> Self {
        Self {
            boot,
            machine: RwLock::default(),
            flying: Mutex::default(),
            listener: Mutex::default(),
            sink,
            applied: watch::Sender::new(0),
            time: AtomicU64::new(0),
            applying: Mutex::default(),
        }
    }

    /// Shows the machine. `look` must be quick: it holds up the replica.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.machine.read())
    }

    /// The machine's time. May be asked for while the machine is shown.
    pub(crate) fn time(&self) -> Time {
        Time(self.time.load(Ordering::Acquire))
    }

    /// Changes a machine that no group runs: one that is being restored.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut M) -> T) -> T {
        let mut machine = self.machine.write();
        let changed = change(&mut machine);
        self.time.store(machine.now().0, Ordering::Release);
        changed
    }

    /// Replaces the machine by `machine`, as it stood after the entry at `index`.
    pub(crate) fn adopt(&self, index: u64, machine: M) {
        let mut held = self.machine.write();
        *held = machine;
        self.time.store(held.now().0, Ordering::Release);
        drop(held);
        self.applied.send_replace(index + 1);
    }

    /// Returns once no batch is half applied, so that what left the machine has reached the archive.
    pub(crate) fn between_batches(&self) {
        drop(self.applying.lock());
    }

    /// One more than the index of the newest applied entry; 0 before the first.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Sends the hints from now on to a new listener; an older one gets no more.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Vec<M::Hint>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.listener.lock() = Some(sender);
        receiver
    }

    /// Remembers a batch until it is applied, and returns its payload. `encoded` are the commands one after the other.
    pub(crate) fn launch(
        &self,
        number: u64,
        at: Time,
        proposals: Vec<Proposal<M>>,
        encoded: &[bytes::Bytes],
    ) -> Vec<u8> {
        let count: usize = proposals.iter().map(|p| p.commands.len()).sum();
        let mut payload = Vec::with_capacity(HEADER + encoded.iter().map(bytes::Bytes::len).sum::<usize>());
        payload.extend_from_slice(&self.boot.to_le_bytes());
        payload.extend_from_slice(&number.to_le_bytes());
        payload.extend_from_slice(&at.0.to_le_bytes());
        payload.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        encoded.iter().for_each(|bytes| payload.extend_from_slice(bytes));
        self.flying.lock().insert(number, Flying { at, proposals, appended: false });
        payload
    }

    /// Takes back a batch that came to nothing; `None` if it was applied after all.
    /// The flag says whether it ever was in the log, so that it may still be kept.
    pub(crate) fn land(&self, number: u64) -> Option<(Vec<Proposal<M>>, bool)> {
        self.flying.lock().remove(&number).map(|flying| (flying.proposals, flying.appended))
    }

    /// Applies what others proposed.
    fn apply_foreign(
        &self,
        header: &Header,
        mut bytes: &[u8],
        out: &mut Output<M::Hint, M::Record>,
    ) -> Result<(), CodecError> {
        let mut commands = Vec::with_capacity(usize::try_from(header.count).unwrap_or(0).min(4_096));
        for _ in 0..header.count {
            commands.push(codec::decode_next::<M::Command>(&mut bytes)?);
        }
        if !bytes.is_empty() {
            return Err(CodecError::new("bytes left over behind the last command"));
        }
        let mut machine = self.machine.write();
        for command in commands {
            machine.apply(header.at.after_ms(u64::from(planted("clock_of_the_replica"))), command, out);
        }
        self.time.store(machine.now().0, Ordering::Release);
        if planted("archive_of_the_proposer") {
            out.records.clear();
        }
        Ok(())
    }

    /// Applies what was proposed here, without decoding it, and returns the answers with those who wait for them.
    fn apply_own(&self, flying: Flying<M>, out: &mut Output<M::Hint, M::Record>) -> Vec<(Reply<M>, Vec<M::Answer>)> {
        let mut answered = Vec::with_capacity(flying.proposals.len());
        let mut machine = self.machine.write();
        for proposal in flying.proposals {
            let answers = proposal.commands.into_iter().map(|command| machine.apply(flying.at, command, out)).collect();
            answered.push((proposal.reply, answers));
        }
        self.time.store(machine.now().0, Ordering::Release);
        answered
    }

    fn finish(&self, index: u64, at: Time, out: Output<M::Hint, M::Record>) -> Result<(), CodecError> {
        if let Some(sink) = &self.sink {
            sink.record(index, at, out.records).map_err(|e| CodecError::new(e.to_string()))?;
        }
        self.applied.send_replace(index + 1);
        if out.hints.is_empty() {
            return Ok(());
        }
        let mut listener = self.listener.lock();
        if listener.as_ref().is_some_and(|listener| listener.send(out.hints).is_err()) {
            *listener = None;
        }
        Ok(())
    }
}

impl<M: Machine> Hosted for Host<M> {
    fn apply(&self, index: u64, payload: &[u8]) -> Result<(), CodecError> {
        let (header, commands) = Header::read(payload)?;
        let own = if header.boot == self.boot { self.flying.lock().remove(&header.number) } else { None };
        let mut out = Output::default();
        let applying = self.applying.lock();
        let answered = match own {
            Some(flying) => self.apply_own(flying, &mut out),
            None => self.apply_foreign(&header, commands, &mut out).map(|()| Vec::new())?,
        };
        self.finish(index, header.at, out)?;
        drop(applying);
        for (reply, answers) in answered {
            // Whoever waited may have given up meanwhile.
            let _ = reply.send(Ok(answers));
        }
        Ok(())
    }

    fn pass(&self, index: u64) {
        self.applied.send_replace(index + 1);
    }

    fn freeze(&self) -> io::Result<Box<dyn Frozen>> {
        if let Some(sink) = &self.sink {
            sink.flush()?;
        }
        Ok(Box::new(Copy(self.machine.read().clone())))
    }

    fn restore(&self, index: u64, from: &mut dyn Read) -> Result<(), CodecError> {
        self.adopt(index, codec::read_from(from)?);
        Ok(())
    }
}

impl<M: Machine> AppendWatch for Host<M> {
    fn appended(&self, payload: &[u8]) {
        if let Ok((header, _)) = Header::read(payload)
            && header.boot == self.boot
            && let Some(flying) = self.flying.lock().get_mut(&header.number)
        {
            flying.appended = true;
        }
    }
}

struct Copy<M>(M);

impl<M: Machine> Frozen for Copy<M> {
    fn write_to(&self, out: &mut dyn Write) -> Result<(), CodecError> {
        codec::write_to(&self.0, out)
    }
}

/// The time that a leader stamped on a batch.
pub(crate) fn stamp_of(payload: &[u8]) -> Option<Time> {
    Header::read(payload).ok().map(|(header, _)| header.at)
}

/// How many commands a batch holds.
pub(crate) fn count_of(payload: &[u8]) -> Option<u32> {
    Header::read(payload).ok().map(|(header, _)| header.count)
}

struct Header {
    boot: u64,
    number: u64,
    at: Time,
    count: u32,
}

impl Header {
    fn read(payload: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let short = || CodecError::new("a batch shorter than its header");
        let (boot, rest) = payload.split_first_chunk().ok_or_else(short)?;
        let (number, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (at, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (count, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let header = Self {
            boot: u64::from_le_bytes(*boot),
            number: u64::from_le_bytes(*number),
            at: Time(u64::from_le_bytes(*at)),
            count: u32::from_le_bytes(*count),
        };
        Ok((header, rest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Sum;

    #[test]
    fn whoever_holds_the_machine_may_ask_for_its_time() {
        let host = Host::<Sum>::new(1, None);
        host.adopt(0, Sum { total: 0, at: Time(7) });
        let (told, asked) = std::sync::mpsc::channel();
        // On a thread of its own, which a time that waits for the machine would keep for ever.
        std::thread::spawn(move || {
            host.edit(|sum| {
                sum.at = Time(9);
                told.send(host.time())
            })
            .expect("somebody listens");
            told.send(host.time())
        });
        let soon = Duration::from_secs(10);
        assert_eq!(asked.recv_timeout(soon), Ok(Time(7)), "what was there when the change began");
        assert_eq!(asked.recv_timeout(soon), Ok(Time(9)), "and what it left");
    }
}
