//! The places for calls in a sender, and how the hosts of recipients share them. Taken by the sender, given back by a drop,
//! wherever that happens.
//!
//! A URL may hold so many places as some part of those that are free: the more there are, the fewer each has, and a few are
//! always left for others (dynamic thresholds; Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
//! Switches", 1998). One whose last call ended promptly may hold three times what is free; one that is new or slow a quarter
//! of it, its host no more than what is free, and never the last eighth of all. A URL that was not called yet is
//! as prompt as its host: some callers have a URL for each message.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ractor::ActorRef;
use tidings_machine::partition::{Endpoint, EndpointKey};
use tokio::time::Instant;

use crate::sender::SenderMsg;

/// A call that takes longer makes its URL a slow one.
pub(crate) const SLOW: Duration = Duration::from_secs(1);
/// Most hosts and URLs whose last call is remembered; then all are new again.
const REMEMBERED: usize = 8_192;

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
    /// The calls under way to each host and URL, by number, with when each began.
    calls: HashMap<EndpointKey, BTreeMap<u64, Instant>>,
    /// Whether the last call to a host or a URL ended promptly.
    prompt: HashMap<EndpointKey, bool>,
}

/// One place.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u64,
    endpoint: Option<Endpoint>,
    shared: Arc<Shared>,
    sender: ActorRef<SenderMsg>,
}

impl Slots {
    /// Takes a place for a call, to that endpoint if the recipient names one.
    pub(crate) fn take(&mut self, endpoint: Option<Endpoint>, sender: &ActorRef<SenderMsg>) -> Slot {
        self.taken += 1;
        let mut table = self.shared.table.lock();
        table.in_use += 1;
        for key in endpoint.iter().flat_map(|endpoint| [endpoint.host, endpoint.url]) {
            table.calls.entry(key).or_default().insert(self.taken, Instant::now());
        }
        drop(table);
        Slot { number: self.taken, endpoint, shared: Arc::clone(&self.shared), sender: sender.clone() }
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.shared.table.lock().in_use
    }

    /// Whether one of `size` places may be taken for another call to the endpoint.
    pub(crate) fn allow(&self, endpoint: &Endpoint, size: usize) -> bool {
        let table = self.shared.table.lock();
        let free = size.saturating_sub(table.in_use);
        let mine = table.under_way(&endpoint.url);
        if table.is_prompt(endpoint) {
            mine < free * 3 && (mine == 0 || free > 1)
        } else {
            free > size / 8 && mine < (free / 4).max(1) && table.under_way(&endpoint.host) < free
        }
    }

    /// Whether the last call to the endpoint ended promptly and none has been under way for long.
    pub(crate) fn is_prompt(&self, endpoint: &Endpoint) -> bool {
        self.shared.table.lock().is_prompt(endpoint)
    }

    /// The sender was told, and looks after this.
    pub(crate) fn heard(&self) {
        self.shared.told.store(false, Ordering::SeqCst);
    }
}

impl Table {
    fn under_way(&self, key: &EndpointKey) -> usize {
        self.calls.get(key).map_or(0, BTreeMap::len)
    }

    fn is_slow(&self, key: &EndpointKey) -> bool {
        let oldest = self.calls.get(key).and_then(|calls| calls.values().next());
        oldest.is_some_and(|began| began.elapsed() >= SLOW)
    }

    fn is_prompt(&self, endpoint: &Endpoint) -> bool {
        match self.prompt.get(&endpoint.url) {
            Some(prompt) => *prompt && !self.is_slow(&endpoint.url),
            None => self.prompt.get(&endpoint.host) == Some(&true) && !self.is_slow(&endpoint.host),
        }
    }

    fn give_back(&mut self, number: u64, key: EndpointKey) {
        let Some(calls) = self.calls.get_mut(&key) else { return };
        let prompt = calls.remove(&number).is_some_and(|began| began.elapsed() < SLOW);
        if calls.is_empty() {
            self.calls.remove(&key);
        }
        if self.prompt.len() >= REMEMBERED {
            self.prompt.clear();
        }
        self.prompt.insert(key, prompt);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.shared.table.lock();
        table.in_use = table.in_use.saturating_sub(1);
        for key in self.endpoint.iter().flat_map(|endpoint| [endpoint.host, endpoint.url]) {
            table.give_back(self.number, key);
        }
        drop(table);
        if !self.shared.told.swap(true, Ordering::SeqCst) {
            // The sender may be gone already; then nobody needs to know.
            let _ = self.sender.send_message(SenderMsg::Ended);
        }
    }
}
