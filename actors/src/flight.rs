//! The flight table of a partition, and the tickets that keep a delivery in it.
//!
//! The table belongs to the process, not to an actor: it outlives every restart, and a short loss of leadership. A delivery
//! has at most one live ticket in a process; whoever drops it, however, has the dispatcher look at the delivery again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tidings_contract::{DeliveryId, Time};
use tidings_machine::partition::{Endpoint, EndpointKey};

use crate::desk::Desk;
use crate::dispatcher::DispatcherMsg;
use crate::pool::PoolId;
use crate::queue::Place;

/// What is in motion.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    live: HashMap<DeliveryId, Flight>,
    per_pool: Vec<usize>,
    /// How many are in motion of each host and URL.
    per_endpoint: HashMap<EndpointKey, usize>,
    back: Vec<Back>,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    pool: PoolId,
    /// What its recipient's URL names.
    endpoint: Option<Endpoint>,
    /// Somebody asked to cancel it meanwhile.
    called_back: bool,
}

/// A delivery that came back and is not known to have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back {
    pub(crate) delivery: DeliveryId,
    pub(crate) place: Place,
    pub(crate) when: When,
}

/// When a delivery that came back is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At once: something was recorded about it.
    Now,
    /// Not before.
    At(Time),
    /// After a rest: its ticket was dropped on the way.
    Rested,
}

impl Table {
    fn count_out(&mut self, flight: Flight) {
        if let Some(count) = self.per_pool.get_mut(flight.pool.0 as usize) {
            *count = count.saturating_sub(1);
        }
        for key in flight.endpoint.iter().flat_map(|endpoint| [endpoint.host, endpoint.url]) {
            if let Entry::Occupied(mut count) = self.per_endpoint.entry(key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

impl Flights {
    /// How many are in motion.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().live.len()
    }

    /// How many of a pool are in motion.
    pub(crate) fn of_pool(&self, pool: PoolId) -> usize {
        self.0.lock().per_pool.get(pool.0 as usize).copied().unwrap_or(0)
    }

    /// How many of a host or a URL are in motion.
    pub(crate) fn of_endpoint(&self, key: &EndpointKey) -> usize {
        self.0.lock().per_endpoint.get(key).copied().unwrap_or(0)
    }

    /// Somebody asked to cancel a delivery in motion: it comes back as soon as whoever holds it sees that, unless its
    /// attempt has begun.
    pub(crate) fn call_back(&self, delivery: &DeliveryId) {
        if let Some(flight) = self.0.lock().live.get_mut(delivery) {
            flight.called_back = true;
        }
    }

    /// Takes what came back since the last time.
    pub(crate) fn take_back(&self) -> Vec<Back> {
        std::mem::take(&mut self.0.lock().back)
    }

    fn board(&self, delivery: DeliveryId, pool: PoolId, endpoint: Option<Endpoint>) -> bool {
        let mut table = self.0.lock();
        if table.live.contains_key(&delivery) {
            return false;
        }
        table.live.insert(delivery, Flight { pool, endpoint, called_back: false });
        for key in endpoint.iter().flat_map(|endpoint| [endpoint.host, endpoint.url]) {
            *table.per_endpoint.entry(key).or_default() += 1;
        }
        let slot = pool.0 as usize;
        if table.per_pool.len() <= slot {
            table.per_pool.resize(slot + 1, 0);
        }
        table.per_pool[slot] += 1;
        true
    }

    fn land(&self, ticket: &Ticket, when: Option<When>) {
        let mut table = self.0.lock();
        if let Some(flight) = table.live.remove(&ticket.delivery) {
            table.count_out(flight);
        }
        if let Some(when) = when {
            table.back.push(Back { delivery: ticket.delivery, place: ticket.place, when });
        }
    }
}

/// The right to move one delivery on. Dropping it gives the delivery back.
#[derive(Debug)]
pub(crate) struct Ticket {
    desk: Arc<Desk>,
    delivery: DeliveryId,
    epoch: u64,
    place: Place,
    /// What the drop says; nothing if the delivery has ended or is looked after otherwise.
    when: Option<When>,
}

impl Ticket {
    /// A ticket for `delivery`, unless it has one already.
    pub(crate) fn board(
        desk: &Arc<Desk>,
        delivery: DeliveryId,
        epoch: u64,
        place: Place,
        endpoint: Option<Endpoint>,
    ) -> Option<Self> {
        let desk = Arc::clone(desk);
        let boards = desk.flights.board(delivery, place.pool, endpoint);
        boards.then(|| Self { desk, delivery, epoch, place, when: Some(When::Rested) })
    }

    /// The delivery.
    pub(crate) fn delivery(&self) -> DeliveryId {
        self.delivery
    }

    /// The epoch in which the delivery was taken up.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The pool the delivery counts in.
    pub(crate) fn pool(&self) -> PoolId {
        self.place.pool
    }

    /// Where the delivery waits whenever it has to.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The desk the delivery belongs to.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Whether somebody asked to cancel the delivery meanwhile.
    pub(crate) fn is_called_back(&self) -> bool {
        self.desk.flights.0.lock().live.get(&self.delivery).is_some_and(|flight| flight.called_back)
    }

    /// Whether another process owned the partition since the delivery was taken up: nobody takes a result of it any more.
    pub(crate) fn is_outlived(&self) -> bool {
        self.epoch < self.desk.since.load(Ordering::Acquire)
    }

    /// Nothing more is to be done about it, or somebody else has it in a queue.
    pub(crate) fn done(mut self) {
        self.when = None;
    }

    /// Something was recorded; look at it again.
    pub(crate) fn look_again(mut self) {
        self.when = Some(When::Now);
    }

    /// It cannot be moved on before `at`.
    pub(crate) fn not_before(mut self, at: Time) {
        self.when = Some(When::At(at));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.desk.flights.land(self, self.when);
        self.desk.dispatcher.ring(DispatcherMsg::Wake);
    }
}
