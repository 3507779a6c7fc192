//! The places for calls in a sender, and how the hosts of recipients share them. Taken by the sender, given back by a drop,
//! wherever that happens.
//!
//! A host may hold so many places as some part of those that are free: the more hosts there are, the fewer each has, and a few
//! are always left for others (dynamic thresholds; Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
//! Packet Switches", 1998). A host whose last call ended promptly may hold three times what is free, one that is new or slow
//! a quarter of it, and never the last eighth of all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::ActorRef;
use tidings_machine::partition::EndpointKey;
use tokio::time::Instant;

use crate::sender::SenderMsg;

/// A call that takes longer makes its host a slow one.
pub(crate) const SLOW: Duration = Duration::from_secs(1);
/// Most hosts that are remembered as prompt; then all are new again.
const PROMPT: usize = 4_096;

/// Counts the places of one sender.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: u64,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Many places given back before the sender looks are one message.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    in_use: usize,
    /// The calls under way to each host, by number, with when each began.
    hosts: HashMap<EndpointKey, BTreeMap<u64, Instant>>,
    /// Hosts whose last call ended promptly.
    prompt: HashSet<EndpointKey>,
}

/// One place.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u64,
    host: Option<EndpointKey>,
    shared: Arc<Shared>,
    sender: ActorRef<SenderMsg>,
}

impl Slots {
    /// Takes a place for a call, to that host if the recipient names one.
    pub(crate) fn take(&mut self, host: Option<EndpointKey>, sender: &ActorRef<SenderMsg>) -> Slot {
        self.taken += 1;
        let mut table = self.shared.table.lock();
        table.in_use += 1;
        if let Some(host) = host {
            table.hosts.entry(host).or_default().insert(self.taken, Instant::now());
        }
        drop(table);
        Slot { number: self.taken, host, shared: Arc::clone(&self.shared), sender: sender.clone() }
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.shared.table.lock().in_use
    }

    /// Whether one of `size` places may be taken for another call to the host.
    pub(crate) fn allow(&self, host: &EndpointKey, size: usize) -> bool {
        let table = self.shared.table.lock();
        let free = size.saturating_sub(table.in_use);
        let mine = table.hosts.get(host).map_or(0, BTreeMap::len);
        if table.is_prompt(host) {
            mine < free * 3 && (mine == 0 || free > 1)
        } else {
            free > size / 8 && mine < (free / 4).max(1)
        }
    }

    /// Whether a call to the host has been under way for long.
    pub(crate) fn is_slow(&self, host: &EndpointKey) -> bool {
        self.shared.table.lock().is_slow(host)
    }

    /// Whether the last call to the host ended promptly and none has been under way for long.
    pub(crate) fn is_prompt(&self, host: &EndpointKey) -> bool {
        self.shared.table.lock().is_prompt(host)
    }

    /// The sender was told, and looks after this.
    pub(crate) fn heard(&self) {
        self.shared.told.store(false, Ordering::SeqCst);
    }
}

impl Table {
    fn is_prompt(&self, host: &EndpointKey) -> bool {
        self.prompt.contains(host) && !self.is_slow(host)
    }

    fn is_slow(&self, host: &EndpointKey) -> bool {
        let oldest = self.hosts.get(host).and_then(|calls| calls.values().next());
        oldest.is_some_and(|began| began.elapsed() >= SLOW)
    }

    fn give_back(&mut self, number: u64, host: EndpointKey) {
        let Some(calls) = self.hosts.get_mut(&host) else { return };
        let prompt = calls.remove(&number).is_some_and(|began| began.elapsed() < SLOW);
        if calls.is_empty() {
            self.hosts.remove(&host);
        }
        if !prompt {
            self.prompt.remove(&host);
            return;
        }
        if self.prompt.len() >= PROMPT {
            self.prompt.clear();
        }
        self.prompt.insert(host);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.shared.table.lock();
        table.in_use = table.in_use.saturating_sub(1);
        if let Some(host) = self.host {
            table.give_back(self.number, host);
        }
        drop(table);
        if !self.shared.told.swap(true, Ordering::SeqCst) {
            // The sender may be gone already; then nobody needs to know.
            let _ = self.sender.send_message(SenderMsg::Ended);
        }
    }
}
