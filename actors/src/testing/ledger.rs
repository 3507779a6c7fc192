//! A ledger in memory over the real machine. It can refuse, delay, lose its lead, and not tell whether it kept something.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tidings_contract::{Clock, DeliveryId, PartitionId};
use tidings_machine::control::{self, Control};
use tidings_machine::partition::{Answer, Command, Ended, Hint, Limits, Owner, Partition, Record, What};
use tidings_machine::{Machine, Output};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::{Lease, Ledger, LedgerError};

/// What goes wrong with one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused and not kept.
    Refused,
    /// It is kept, but nobody can tell.
    UnknownButKept,
    /// It is not kept, but nobody can tell.
    UnknownAndLost,
}

/// A ledger in memory, as node 1 sees it.
pub struct FakeLedger {
    clock: Arc<dyn Clock>,
    /// How long a proposal takes.
    latency: Duration,
    state: Mutex<State>,
    leading: watch::Sender<BTreeMap<PartitionId, u64>>,
    version: watch::Sender<u64>,
    /// The partitions whose leases are over though nobody has said so yet.
    lapsed: Arc<Mutex<BTreeSet<PartitionId>>>,
}

/// Holds as long as this node leads and the lease has not lapsed.
struct FakeLease {
    partition: PartitionId,
    epoch: u64,
    leading: watch::Receiver<BTreeMap<PartitionId, u64>>,
    lapsed: Arc<Mutex<BTreeSet<PartitionId>>>,
}

impl Lease for FakeLease {
    fn left(&self) -> Option<Duration> {
        let leads = self.leading.borrow().get(&self.partition) == Some(&self.epoch);
        (leads && !self.lapsed.lock().contains(&self.partition)).then_some(Duration::from_secs(1))
    }
}

type Change = Box<dyn FnOnce(&mut Control) + Send>;

#[derive(Default)]
struct State {
    control: Control,
    partitions: BTreeMap<PartitionId, Partition>,
    listeners: BTreeMap<PartitionId, mpsc::UnboundedSender<Vec<Hint>>>,
    faults: VecDeque<Fault>,
    ended: BTreeMap<DeliveryId, Ended>,
    deaf: bool,
    silent: bool,
    headless: bool,
    /// A change of control that this node has not heard of.
    unheard: Option<Change>,
    proposals: u64,
    commands: u64,
    waits: u64,
}

impl FakeLedger {
    /// A ledger of `partitions` partitions, all led by this node in term 1.
    pub fn new(clock: Arc<dyn Clock>, partitions: u16, latency: Duration) -> Self {
        let ids: Vec<_> = (0..partitions).map(PartitionId).collect();
        let machines = ids.iter().map(|id| (*id, Partition::default())).collect();
        let state = State { partitions: machines, ..State::default() };
        let leading = ids.iter().map(|id| (*id, 1)).collect();
        let (leading, version) = (watch::Sender::new(leading), watch::Sender::new(1));
        Self { clock, latency, state: Mutex::new(state), leading, version, lapsed: Arc::default() }
    }

    /// Changes control.
    pub fn change_control(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.state.lock().control);
        self.version.send_modify(|version| *version += 1);
    }

    /// Changes control, but this node hears of it only when it asks.
    pub fn change_unheard(&self, change: impl FnOnce(&mut Control) + Send + 'static) {
        self.state.lock().unheard = Some(Box::new(change));
    }

    /// Control has no leader from now on, or has one again.
    pub fn without_control(&self, headless: bool) {
        self.state.lock().headless = headless;
    }

    /// The next proposals go wrong in these ways, one each.
    pub fn go_wrong(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().faults.extend(faults);
    }

    /// Hints are lost from now on, or no longer.
    pub fn lose_hints(&self, deaf: bool) {
        self.state.lock().deaf = deaf;
    }

    /// Proposals are refused from now on, as without a leader, or no longer.
    pub fn without_leader(&self, silent: bool) {
        self.state.lock().silent = silent;
    }

    /// This node leads the partition in that term, or does not lead it.
    pub fn lead(&self, partition: PartitionId, term: Option<u64>) {
        self.leading.send_modify(|leading| {
            match term {
                Some(term) => leading.insert(partition, term),
                None => leading.remove(&partition),
            };
        });
    }

    /// The lease of a partition is over from now on though this node was not told, as right after a freeze; or it holds again.
    pub fn lapse(&self, partition: PartitionId, over: bool) {
        let mut lapsed = self.lapsed.lock();
        if over {
            lapsed.insert(partition)
        } else {
            lapsed.remove(&partition)
        };
    }

    /// Another node makes itself the owner in that term.
    pub fn owned_elsewhere(&self, partition: PartitionId, term: u64) {
        let owner = Owner { node: 2, boot: 2 };
        self.apply(partition, vec![Command::TakeOver { owner, epoch: term, limits: Limits::default() }]);
    }

    /// Applies commands at once, as if another node had proposed them.
    pub fn apply(&self, partition: PartitionId, commands: Vec<Command>) -> Vec<Answer> {
        let at = self.clock.now();
        let mut state = self.state.lock();
        state.proposals += 1;
        state.commands += commands.len() as u64;
        state.waits += commands.iter().filter(|command| matches!(command, Command::Wait { .. })).count() as u64;
        let mut out = Output::default();
        let machine = state.partitions.entry(partition).or_default();
        let answers = commands.into_iter().map(|command| machine.apply(at, command, &mut out)).collect();
        Self::keep(&mut state, partition, out);
        answers
    }

    fn keep(state: &mut MutexGuard<'_, State>, partition: PartitionId, out: Output<Hint, Record>) {
        for record in out.records {
            match record {
                Record::Ended(ended) => {
                    let id = ended.delivery.id;
                    let before = state.ended.insert(id, *ended);
                    assert!(before.is_none(), "{id} ended twice");
                }
                Record::Amend { delivery, event } => {
                    if let Some(ended) = state.ended.get_mut(&delivery) {
                        if let What::Ended { state, .. } = event.what {
                            ended.delivery.state = state;
                        }
                        ended.delivery.events.push(event);
                    }
                }
                _ => {}
            }
        }
        if !out.hints.is_empty() && !state.deaf {
            // Nobody listens while nobody leads.
            let _ = state.listeners.get(&partition).map(|listener| listener.send(out.hints));
        }
    }

    /// How often a wait for a limit was told by a command of its own.
    pub fn waits(&self) -> u64 {
        self.state.lock().waits
    }

    /// The deliveries that ended, with how.
    pub fn ended(&self) -> BTreeMap<DeliveryId, Ended> {
        self.state.lock().ended.clone()
    }

    /// How many deliveries ended.
    pub fn ended_count(&self) -> usize {
        self.state.lock().ended.len()
    }

    /// How many proposals were applied, and how many commands.
    pub fn applied(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.proposals, state.commands)
    }
}

#[async_trait]
impl Ledger for FakeLedger {
    fn node(&self) -> u64 {
        1
    }

    async fn propose(&self, partition: PartitionId, commands: Vec<Command>) -> Result<Vec<Answer>, LedgerError> {
        let (fault, silent) = {
            let mut state = self.state.lock();
            (state.faults.pop_front(), state.silent)
        };
        if self.latency > Duration::ZERO {
            sleep(self.latency).await;
        }
        match fault {
            _ if silent => Err(LedgerError::Refused("there is no leader".to_owned())),
            Some(Fault::Refused) => Err(LedgerError::Refused("a test says so".to_owned())),
            Some(Fault::UnknownAndLost) => Err(LedgerError::Unknown("a test says so".to_owned())),
            Some(Fault::UnknownButKept) => {
                self.apply(partition, commands);
                Err(LedgerError::Unknown("a test says so".to_owned()))
            }
            None => Ok(self.apply(partition, commands)),
        }
    }

    async fn change(&self, action: control::Action) -> Result<control::Answer, LedgerError> {
        if self.latency > Duration::ZERO {
            sleep(self.latency).await;
        }
        if self.state.lock().silent {
            return Err(LedgerError::Refused("there is no leader".to_owned()));
        }
        let command = control::Command { by: "cluster".to_owned(), action };
        let answer = self.state.lock().control.apply(self.clock.now(), command, &mut Output::default());
        self.version.send_modify(|version| *version += 1);
        Ok(answer)
    }

    async fn fresh_control(&self) -> Result<(), LedgerError> {
        if self.latency > Duration::ZERO {
            sleep(self.latency).await;
        }
        if self.state.lock().headless {
            return Err(LedgerError::Refused("nobody leads control".to_owned()));
        }
        let unheard = self.state.lock().unheard.take();
        if let Some(change) = unheard {
            self.change_control(change);
        }
        Ok(())
    }

    fn with_partition(&self, partition: PartitionId, look: &mut dyn FnMut(&Partition)) -> bool {
        self.state.lock().partitions.get(&partition).map(look).is_some()
    }

    fn with_control(&self, look: &mut dyn FnMut(&Control)) {
        look(&self.state.lock().control);
    }

    fn leading(&self) -> watch::Receiver<BTreeMap<PartitionId, u64>> {
        self.leading.subscribe()
    }

    fn lease(&self, partition: PartitionId, epoch: u64) -> Option<Arc<dyn Lease>> {
        let leads = self.leading.borrow().get(&partition) == Some(&epoch);
        let (leading, lapsed) = (self.leading.subscribe(), Arc::clone(&self.lapsed));
        leads.then(|| Arc::new(FakeLease { partition, epoch, leading, lapsed }) as Arc<dyn Lease>)
    }

    fn control_version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn hints(&self, partition: PartitionId) -> mpsc::UnboundedReceiver<Vec<Hint>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().listeners.insert(partition, sender);
        receiver
    }
}

impl std::fmt::Debug for FakeLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeLedger").finish_non_exhaustive()
    }
}
