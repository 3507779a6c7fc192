//! What the sandbox was given to send: a bounded ring in memory that operators and tests can look at.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;
use serde_json::Value;
use tidings_contract::{DeliveryId, MessageType, Time};

/// Entries kept unless an account asks for more.
pub(crate) const DEFAULT_CAPACITY: usize = 1_000;
/// Most entries an account can ask for.
pub(crate) const MOST_CAPACITY: usize = 100_000;

/// One content that the sandbox took, or may have taken.
#[derive(Clone, Debug, Serialize)]
pub struct InboxEntry {
    /// Counts up from 1 in this process.
    pub seq: u64,
    /// When the call was made.
    pub at: Time,
    /// The account.
    pub account: String,
    /// The template's channel.
    pub channel: String,
    /// What the message is for.
    pub message_type: MessageType,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which attempt at it, counted from 1.
    pub attempt: u16,
    /// The recipient.
    pub to: String,
    /// The rendered content.
    pub content: Arc<Value>,
}

/// The last contents that all sandbox accounts of this process took; the oldest give way.
#[derive(Debug)]
pub struct SandboxInbox {
    ring: RwLock<Ring>,
}

#[derive(Debug)]
struct Ring {
    capacity: usize,
    last: u64,
    entries: VecDeque<InboxEntry>,
}

impl SandboxInbox {
    pub(crate) fn new() -> Self {
        Self { ring: RwLock::new(Ring { capacity: DEFAULT_CAPACITY, last: 0, entries: VecDeque::new() }) }
    }

    /// Makes room for at least `capacity` entries; never less than was asked for before.
    pub(crate) fn reserve(&self, capacity: usize) {
        let mut ring = self.ring.write();
        ring.capacity = ring.capacity.max(capacity.min(MOST_CAPACITY));
    }

    /// Keeps `entry` under the next number, which it returns.
    pub(crate) fn push(&self, mut entry: InboxEntry) -> u64 {
        let mut ring = self.ring.write();
        ring.last += 1;
        entry.seq = ring.last;
        if ring.entries.len() >= ring.capacity {
            ring.entries.pop_front();
        }
        ring.entries.push_back(entry);
        ring.last
    }

    /// Up to `limit` entries whose number is above `after`, oldest first; 0 begins with the oldest kept.
    pub fn list(&self, after: u64, limit: usize) -> Vec<InboxEntry> {
        let ring = self.ring.read();
        let start = ring.entries.partition_point(|entry| entry.seq <= after);
        ring.entries.iter().skip(start).take(limit).cloned().collect()
    }

    /// The last `limit` entries, newest first.
    pub fn latest(&self, limit: usize) -> Vec<InboxEntry> {
        self.ring.read().entries.iter().rev().take(limit).cloned().collect()
    }

    /// How many contents were ever taken in this process; the number of the newest entry.
    pub fn count(&self) -> u64 {
        self.ring.read().last
    }
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn entry(to: &str) -> InboxEntry {
        InboxEntry {
            seq: 0,
            at: Time(1),
            account: "demo".to_owned(),
            channel: "sms".to_owned(),
            message_type: MessageType::Notice,
            delivery: DeliveryId::new(MessageId::first_at(Time(1)), 0, PartitionId(0)),
            attempt: 1,
            to: to.to_owned(),
            content: Arc::new(Value::Null),
        }
    }

    #[test]
    fn the_inbox_pages_in_order_and_forgets_the_oldest() {
        let inbox = SandboxInbox::new();
        for n in 1..=DEFAULT_CAPACITY + 2 {
            assert_eq!(inbox.push(entry(&n.to_string())), n as u64);
        }
        let seqs = |entries: Vec<InboxEntry>| entries.iter().map(|e| e.seq).collect::<Vec<_>>();
        assert_eq!(seqs(inbox.list(0, 2)), [3, 4]);
        assert_eq!(seqs(inbox.list(4, 2)), [5, 6]);
        assert_eq!(seqs(inbox.list(1_001, 9)), [1_002]);
        assert_eq!(seqs(inbox.latest(2)), [1_002, 1_001]);
        assert_eq!((inbox.list(0, usize::MAX).len(), inbox.count()), (DEFAULT_CAPACITY, 1_002));
    }
}
