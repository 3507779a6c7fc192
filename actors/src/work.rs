//! What travels between actors: a delivery with its ticket, first as it stands in the state, then rendered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tidings_contract::{Time, planted};
use tidings_machine::control::Account;
use tidings_machine::partition::{Delivery, Endpoint, Masked, OnUnknown, Sheet, Via};

use crate::flight::Ticket;
use crate::limited::Held;
use crate::pause::Calling;
use crate::slot::Slot;

/// A delivery that wants an attempt now.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) ticket: Ticket,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) sheet: Arc<Sheet>,
    /// When the suppression list was looked up for it.
    pub(crate) looked: Time,
    /// What its recipient's URL names, if it is one.
    pub(crate) endpoint: Option<Endpoint>,
    /// Whether it was taken up as the one attempt at an endpoint that is half-open.
    pub(crate) probes: bool,
    /// An owner before may have died of it: its content is filled apart.
    pub(crate) suspect: bool,
}

impl Work {
    /// Whether it is worth nothing any more, so that no attempt is made.
    pub(crate) fn is_too_late(&self, now: Time) -> bool {
        self.sheet.has_expired(now) && !(self.delivery.due <= now && planted("expiry_ignored"))
    }

    /// Whether it goes on by another leg where this one cannot be used now.
    pub(crate) fn may_fall(&self) -> bool {
        let certain = self.delivery.unknown_attempts == 0 || self.sheet.failover_on_unknown;
        certain && self.delivery.next_leg(&self.sheet).is_some()
    }

    /// Until when it may wait: `at`, or when it expires if that is sooner.
    pub(crate) fn within_life(&self, at: Time) -> Time {
        if planted("expiry_ignored") { at } else { self.sheet.within_life(at) }
    }
}

/// A delivery ready to be sent: rendered, with its account.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) work: Work,
    pub(crate) content: Arc<Value>,
    /// What goes out after it, where a text is too long for one message.
    pub(crate) further: Arc<[Arc<Value>]>,
    /// Where words were masked in it.
    pub(crate) masked: Arc<[Masked]>,
    pub(crate) account_name: Arc<str>,
    pub(crate) account: Arc<Account>,
    /// How the account was chosen; `None` where nothing of it is worth keeping.
    pub(crate) via: Option<Box<Via>>,
    /// Longest time of its call, where that is shorter than the provider's own deadline.
    pub(crate) timeout: Option<Duration>,
    /// What limits it, each with the permit that was taken for it.
    pub(crate) limits: Vec<Held>,
    /// Whether the attempt stands in the log already.
    pub(crate) begun: bool,
    /// The place that its call has in the sender, from before its attempt is claimed to the end of the call.
    pub(crate) slot: Option<Slot>,
    /// Counts it at its desk, from before its attempt is claimed until what came of it waits to be recorded.
    pub(crate) calling: Option<Calling>,
}

impl Letter {
    /// Which attempt this is, from 1.
    pub(crate) fn attempt(&self) -> u16 {
        self.work.delivery.attempts.saturating_add(1)
    }

    /// Whether the attempt must stand in the log before it is made.
    pub(crate) fn wants_begin(&self) -> bool {
        self.work.sheet.policy.on_unknown == OnUnknown::Stop && !self.begun
    }

    /// Whether there is no sense in an attempt any more: it was cancelled meanwhile, its time ran out, or
    /// quiet hours have begun. An attempt that
    /// stands in the log already is made nevertheless: whoever reads the log must believe that it was.
    pub(crate) fn is_stale(&self, now: Time) -> bool {
        let Work { sheet, delivery, .. } = &self.work;
        !self.begun
            && (self.work.is_too_late(now) || delivery.is_hushed(sheet, now) || self.work.ticket.is_called_back())
    }

    /// Whether its attempt must not begin here and now: its partition pauses, or is led by somebody else or anew. One that
    /// stands in the log already is made nevertheless.
    pub(crate) fn is_held(&self) -> bool {
        let desk = self.work.ticket.desk();
        !self.begun && (desk.is_paused() || desk.epoch.load(Ordering::SeqCst) != self.work.ticket.epoch())
    }

    /// Whether all the permits it needs hold at `now`.
    pub(crate) fn may_go(&self, now: Time) -> bool {
        self.limits.iter().all(|held| held.holds(now))
    }
}
