//! The places for calls in a sender. Taken by the sender, given back by a drop, wherever that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ractor::ActorRef;

use crate::sender::SenderMsg;

/// Counts the places of one sender.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: usize,
    given_back: Arc<GivenBack>,
}

/// Many places given back before the sender looks are one message.
#[derive(Debug, Default)]
struct GivenBack {
    count: AtomicUsize,
    told: AtomicBool,
}

/// One place.
#[derive(Debug)]
pub(crate) struct Slot {
    given_back: Arc<GivenBack>,
    sender: ActorRef<SenderMsg>,
}

impl Slots {
    /// Takes a place.
    pub(crate) fn take(&mut self, sender: &ActorRef<SenderMsg>) -> Slot {
        self.taken += 1;
        Slot { given_back: Arc::clone(&self.given_back), sender: sender.clone() }
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.taken - self.given_back.count.load(Ordering::SeqCst)
    }

    /// The sender was told, and looks after this.
    pub(crate) fn heard(&self) {
        self.given_back.told.store(false, Ordering::SeqCst);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.given_back.count.fetch_add(1, Ordering::SeqCst);
        if !self.given_back.told.swap(true, Ordering::SeqCst) {
            // The sender may be gone already; then nobody needs to know.
            let _ = self.sender.send_message(SenderMsg::Ended);
        }
    }
}
