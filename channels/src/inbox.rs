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

/// Most bytes that all kept contents take; the oldest give way before their number does.
const MOST_BYTES: usize = 64 << 20;

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
    bytes: usize,
    entries: VecDeque<InboxEntry>,
}

impl InboxEntry {
    /// About what it takes in memory, in bytes.
    fn weight(&self) -> usize {
        size_of::<Self>() + self.account.len() + self.channel.len() + self.to.len() + weight(&self.content)
    }
}

/// About what a value takes in memory, in bytes.
fn weight(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + weight(value)).sum(),
        _ => 0,
    };
    size_of::<Value>() + inside
}

impl Ring {
    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(oldest.weight());
        }
    }
}

impl SandboxInbox {
    pub(crate) fn new() -> Self {
        Self { ring: RwLock::new(Ring { capacity: DEFAULT_CAPACITY, last: 0, bytes: 0, entries: VecDeque::new() }) }
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
        let weight = entry.weight();
        while !ring.entries.is_empty() && (ring.entries.len() >= ring.capacity || ring.bytes + weight > MOST_BYTES) {
            ring.drop_oldest();
        }
        ring.bytes += weight;
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
    fn large_contents_take_bounded_memory_however_many_may_be_kept() {
        let inbox = SandboxInbox::new();
        inbox.reserve(MOST_CAPACITY);
        let large = Arc::new(serde_json::json!({"parts": ["x".repeat(1 << 20), {"more": "y".repeat(1 << 20)}]}));
        for _ in 0..50 {
            inbox.push(InboxEntry { content: Arc::clone(&large), ..entry("a") });
        }
        let kept = inbox.list(0, usize::MAX).len();
        assert!((30..=32).contains(&kept), "{kept} of 2 MiB each are kept in 64 MiB");
        for _ in 0..kept {
            inbox.push(entry("b"));
        }
        assert_eq!((inbox.list(0, usize::MAX).len(), inbox.count()), (2 * kept, 50 + kept as u64));
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
