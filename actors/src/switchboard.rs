//! Where every part finds every other: current references, desks, settings, the world. Nothing here decides anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use ractor::{ActorRef, MessagingErr};
use tidings_contract::{PartitionId, Time};
use tidings_machine::control::Account;
use tokio::sync::watch;

use crate::bell::Post;
use crate::breakers::BreakersMsg;
use crate::dedup::DedupMsg;
use crate::desk::Desk;
use crate::dispatcher::DispatcherMsg;
use crate::health::Healths;
use crate::in_force::{Cached, InForce};
use crate::limited::{Held, Limited, Subject};
use crate::opened::OpenAccounts;
use crate::outbox::Entry;
use crate::pool::{PoolId, Pools};
use crate::rate_limiter::RateLimiterMsg;
use crate::recorder::RecorderMsg;
use crate::sender::SenderMsg;
use crate::status::Register;
use crate::supervisor::SupervisorMsg;
use crate::template::TemplateMsg;
use crate::token_cache::TokenCache;
use crate::tokens::TokensMsg;
use crate::work::{Letter, Work};
use crate::{Parts, Settings};

/// Shared by all actors of a process.
pub(crate) struct Switchboard {
    pub(crate) parts: Parts,
    pub(crate) pools: Pools,
    pub(crate) register: Register,
    pub(crate) supervisor: Post<SupervisorMsg>,
    pub(crate) template: Post<TemplateMsg>,
    pub(crate) dedup: Post<DedupMsg>,
    pub(crate) rate_limiter: Post<RateLimiterMsg>,
    pub(crate) breakers: Post<BreakersMsg>,
    /// How the accounts stand.
    pub(crate) healths: Healths,
    pub(crate) tokens_actor: Post<TokensMsg>,
    /// The access tokens this process knows.
    pub(crate) tokens: TokenCache,
    /// The suppliers' ids of files that this process knows.
    pub(crate) media: TokenCache,
    /// Accounts whose suppliers call back.
    pub(crate) called_back: Mutex<OpenAccounts>,
    /// Recipients whose fingerprints wait.
    pub(crate) fingerprints: AtomicUsize,
    /// Most provider calls of a pool at once; may change at any time.
    pub(crate) pool_size: AtomicUsize,
    /// Most deliveries of one pool and one partition in motion; may change at any time.
    pub(crate) in_motion: AtomicUsize,
    /// How many recipients a call can carry, by account, as far as it was opened here.
    loads: RwLock<HashMap<Arc<str>, usize>>,
    senders: RwLock<HashMap<PoolId, ActorRef<SenderMsg>>>,
    desks: RwLock<BTreeMap<PartitionId, Arc<Desk>>>,
    stopping: AtomicBool,
    /// Grows with every change of control.
    control: watch::Receiver<u64>,
    cached: RwLock<Cached>,
}

impl Switchboard {
    pub(crate) fn new(parts: Parts) -> Self {
        let Settings { pool_size, in_motion, .. } = parts.settings;
        let control = parts.ledger.control_version();
        Self {
            parts,
            pools: Pools::default(),
            register: Register::default(),
            supervisor: Post::default(),
            template: Post::default(),
            dedup: Post::default(),
            rate_limiter: Post::default(),
            breakers: Post::default(),
            healths: Healths::default(),
            tokens_actor: Post::default(),
            tokens: TokenCache::default(),
            media: TokenCache::default(),
            called_back: Mutex::default(),
            fingerprints: AtomicUsize::new(0),
            pool_size: AtomicUsize::new(pool_size),
            in_motion: AtomicUsize::new(in_motion),
            loads: RwLock::default(),
            senders: RwLock::default(),
            desks: RwLock::default(),
            stopping: AtomicBool::new(false),
            control,
            // No version of control: the first look reads it.
            cached: RwLock::new(Cached { version: u64::MAX, ..Cached::default() }),
        }
    }

    /// The present, as the cluster agrees on it.
    pub(crate) fn now(&self) -> Time {
        self.parts.clock.now()
    }

    /// When it is, by the present, that a partition's time will be `at`. A partition whose time is ahead counts its waits in
    /// its own time.
    pub(crate) fn by_present(&self, partition: PartitionId, at: Time) -> Time {
        let ahead = self.parts.ledger.ahead(partition);
        if ahead.is_zero() {
            at
        } else {
            Time(at.0.saturating_sub(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX)))
        }
    }

    /// Nothing new is to be begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From now on nothing new is begun.
    pub(crate) fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// The desk of a partition; made when it is asked for first.
    pub(crate) fn desk(&self, partition: PartitionId) -> Arc<Desk> {
        if let Some(desk) = self.desks.read().get(&partition) {
            return Arc::clone(desk);
        }
        Arc::clone(self.desks.write().entry(partition).or_insert_with(|| Arc::new(Desk::new(partition))))
    }

    /// Every desk there is.
    pub(crate) fn desks(&self) -> Vec<Arc<Desk>> {
        self.desks.read().values().cloned().collect()
    }

    /// The sender of a pool runs.
    pub(crate) fn sender_runs(&self, pool: PoolId, sender: ActorRef<SenderMsg>) {
        self.senders.write().insert(pool, sender);
    }

    /// Has every sender and every dispatcher look around: a bound has changed, or a partition pauses.
    pub(crate) fn look_around(&self) {
        for sender in self.senders.read().values() {
            // One that died looks around when it is started again.
            let _ = sender.send_message(SenderMsg::Look);
        }
        for desk in self.desks() {
            desk.dispatcher.ring(DispatcherMsg::Wake);
        }
    }

    /// Hands letters to the sender of their pool; gives them back if there is none.
    pub(crate) fn sender_if_any(&self, pool: PoolId, letters: Vec<Letter>) -> Option<Vec<Letter>> {
        let Some(sender) = self.senders.read().get(&pool).cloned() else { return Some(letters) };
        match sender.send_message(SenderMsg::Letters(letters)) {
            Err(MessagingErr::SendErr(SenderMsg::Letters(letters))) => Some(letters),
            _ => None,
        }
    }

    /// Hands letters of any pools to their senders; through the supervisor, which makes one, where there is none.
    pub(crate) fn to_senders(&self, letters: Vec<Letter>) {
        let mut pools: Vec<(PoolId, Vec<Letter>)> = Vec::new();
        for letter in letters {
            let pool = letter.work.ticket.pool();
            match pools.iter_mut().find(|(id, _)| *id == pool) {
                Some((_, letters)) => letters.push(letter),
                None => pools.push((pool, vec![letter])),
            }
        }
        for (pool, letters) in pools {
            if let Some(letters) = self.sender_if_any(pool, letters) {
                self.supervisor.send(SupervisorMsg::Sender { pool, letters });
            }
        }
    }

    /// How many partitions there are; 1 while this node has not heard of them.
    pub(crate) fn partitions(&self) -> u16 {
        let mut partitions = 1;
        self.parts.ledger.with_control(&mut |control| {
            partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
        });
        partitions
    }

    /// Grows with every change of control that this node hears of.
    pub(crate) fn control_version(&self) -> u64 {
        *self.control.borrow()
    }

    /// The account of that name, as this node's control has it at this moment.
    pub(crate) fn account(&self, name: &str) -> Option<Arc<Account>> {
        let mut found = None;
        self.parts.ledger.with_control(&mut |control| found = control.accounts.get(name).cloned());
        found
    }

    /// An account was opened whose calls carry so many recipients.
    pub(crate) fn carries(&self, account: &Arc<str>, load: usize) {
        self.loads.write().insert(Arc::clone(account), load);
    }

    /// How many recipients a call of that account can carry, as far as is known.
    pub(crate) fn load_of(&self, account: &str) -> usize {
        self.loads.read().get(account).copied().unwrap_or(1).max(1)
    }

    /// The policies that are in force, as this node's control has them at this moment.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        let version = self.control_version();
        {
            let cached = self.cached.read();
            if cached.version == version {
                return Arc::clone(&cached.in_force);
            }
        }
        let known = Arc::clone(&self.cached.read().in_force);
        let mut fresh = Arc::clone(&known);
        self.parts.ledger.with_control(&mut |control| fresh = InForce::read(control, &known));
        let changed = !Arc::ptr_eq(&known, &fresh);
        *self.cached.write() = Cached { version, in_force: Arc::clone(&fresh) };
        if changed {
            // A pool may have grown, and a limit may be gone.
            self.look_around();
        }
        fresh
    }

    /// How many calls of a pool may be under way at a time, and how many of its deliveries of a partition in motion.
    pub(crate) fn bounds(&self, pool: PoolId) -> (usize, usize) {
        let configured = (self.pool_size.load(Ordering::Relaxed), self.in_motion.load(Ordering::Relaxed));
        let Some(pool) = self.pools.get(pool) else { return configured };
        let (size, in_motion) = self.in_force().bounds(&pool.channel, pool.message_type);
        (size.unwrap_or(configured.0), in_motion.unwrap_or(configured.1))
    }

    /// What limits a delivery that goes out with that account, on the leg it is on.
    pub(crate) fn limits_of(&self, work: &Work, name: &str, account: &Account) -> Vec<Held> {
        let (sheet, delivery) = (&work.sheet, &work.delivery);
        let leg = sheet.leg(delivery.leg());
        let limited = Limited {
            account: name,
            channel: leg.channel,
            template: leg.template,
            key: &sheet.key_id,
            to: delivery.address(),
        };
        let in_force = self.in_force();
        let rules = in_force.limits(leg.channel, sheet.message_type, leg.template, &sheet.tags);
        let rules = rules.map(|(policy, rule)| Subject::of_rule(rule, policy, &limited));
        Subject::of_account(name, account).into_iter().chain(rules).map(Held::of).collect()
    }

    /// Leaves something to be recorded at the desk it belongs to.
    pub(crate) fn record(&self, desk: &Desk, entries: impl IntoIterator<Item = Entry>) {
        desk.outbox.put(entries);
        desk.recorder.ring(RecorderMsg::Wake);
    }
}

impl std::fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchboard").finish_non_exhaustive()
    }
}
