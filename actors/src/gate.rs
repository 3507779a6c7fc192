//! The gate of one call: whether its letters may still be attempted, asked when the first byte is about to leave.
//!
//! A letter was looked at when it was taken up and when it got its place. Between that and its call anything may have passed: a
//! connection was made, or the process was frozen for an hour. The gate is asked by whoever holds the open connection. As long
//! as the lease holds, this node has led all along: whatever was cancelled or suppressed meanwhile went through its own log,
//! and is found in its own replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_contract::{Fence, PartitionId, Time, planted};
use tidings_machine::partition::{Delivery, Sheet};

use crate::ledger::Lease;
use crate::switchboard::Switchboard;
use crate::work::{Letter, Work};

/// After so long a look at the replica is repeated: most letters were looked at a moment ago.
pub(crate) const LOOKED_UP_FOR: Duration = Duration::from_millis(200);

/// The gate of one call.
pub(crate) struct Gate {
    board: Arc<Switchboard>,
    /// One for each partition and epoch of the letters; `None` where there is none any more.
    leases: Vec<Option<Arc<dyn Lease>>>,
    /// When the first permit lapses, or the first letter expires.
    before: Option<Time>,
    /// When the replica was last looked at for all letters.
    looked: AtomicU64,
    letters: Vec<Looked>,
}

/// What a further look at a letter needs. Not kept for attempts that stand in the log: those are made.
struct Looked {
    partition: PartitionId,
    delivery: Arc<Delivery>,
    sheet: Arc<Sheet>,
}

impl Gate {
    /// The gate for letters that were found ready at `now`.
    pub(crate) fn of(board: &Arc<Switchboard>, letters: &[Letter]) -> Arc<Self> {
        let mut tenures: Vec<(PartitionId, u64)> = Vec::with_capacity(1);
        let (mut before, mut looked): (Option<Time>, Option<Time>) = (None, None);
        let mut sooner = |time: Time| before = Some(before.map_or(time, |other| other.min(time)));
        for letter in letters {
            let ticket = &letter.work.ticket;
            let tenure = (ticket.desk().partition, ticket.epoch());
            if !tenures.contains(&tenure) {
                tenures.push(tenure);
            }
            letter.limits.iter().filter_map(|held| held.permit).for_each(|permit| sooner(permit.until));
            if !letter.begun {
                letter.work.sheet.expires_at.filter(|_| !planted("expiry_ignored")).into_iter().for_each(&mut sooner);
                looked = Some(looked.map_or(letter.work.looked, |other| other.min(letter.work.looked)));
            }
        }
        let leases = tenures.iter().map(|(partition, epoch)| board.parts.ledger.lease(*partition, *epoch)).collect();
        let letters = letters.iter().filter(|letter| !letter.begun).map(Looked::of).collect();
        let looked = AtomicU64::new(looked.unwrap_or_default().0);
        Arc::new(Self { board: Arc::clone(board), leases, before, looked, letters })
    }

    /// The gate of a call that needs nothing but the lease.
    pub(crate) fn of_lease(board: &Arc<Switchboard>, partition: PartitionId, epoch: u64) -> Arc<Self> {
        let leases = vec![board.parts.ledger.lease(partition, epoch)];
        Arc::new(Self {
            board: Arc::clone(board),
            leases,
            before: None,
            looked: AtomicU64::new(0),
            letters: Vec::new(),
        })
    }

    /// Whether no letter was put on the suppression list, or fell into quiet hours, since it was looked at.
    fn still_wanted(&self, now: Time) -> bool {
        if self.letters.is_empty() || now.since(Time(self.looked.load(Ordering::Relaxed))) < LOOKED_UP_FOR {
            return true;
        }
        self.looked.store(now.0, Ordering::Relaxed);
        self.letters
            .iter()
            .all(|letter| !letter.delivery.is_hushed(&letter.sheet, now) && !letter.is_listed(&self.board, now))
    }
}

impl Looked {
    fn of(letter: &Letter) -> Self {
        let Work { ticket, delivery, sheet, .. } = &letter.work;
        Self { partition: ticket.desk().partition, delivery: Arc::clone(delivery), sheet: Arc::clone(sheet) }
    }

    fn is_listed(&self, board: &Switchboard, now: Time) -> bool {
        is_listed(board, self.partition, &self.delivery, &self.sheet, now)
    }
}

/// Whether an address is on the suppression list by now.
pub(crate) fn is_listed(
    board: &Switchboard,
    partition: PartitionId,
    delivery: &Delivery,
    sheet: &Sheet,
    now: Time,
) -> bool {
    let mut listed = false;
    board.parts.ledger.with_partition(partition, &mut |partition| {
        listed = partition.closed_by_list(delivery, sheet, now).is_some();
    });
    listed
}

impl Fence for Gate {
    /// The lease comes last: what was found before it is believed only if nobody else can have led until after it was found.
    fn holds(&self) -> bool {
        let now = self.board.now();
        self.before.is_none_or(|before| now < before) && self.still_wanted(now) && self.goes_on()
    }

    fn goes_on(&self) -> bool {
        let holds = |lease: &Option<Arc<dyn Lease>>| lease.as_ref().is_some_and(|lease| lease.holds());
        self.leases.iter().all(holds) || planted("lease_not_asked")
    }
}
