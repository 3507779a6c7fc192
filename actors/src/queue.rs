//! What a dispatcher waits for: deliveries by their time, and those whose time has come by pool, lane and flow. Ids only:
//! the delivery itself is read from the replica when it is taken up.

use std::collections::BTreeSet;

use tidings_contract::{DeliveryId, Lane, Time};

use crate::lanes::{Flow, Flows, LANES, Share};
use crate::pool::PoolId;

/// Where a delivery waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) lane: Lane,
    pub(crate) pool: PoolId,
    pub(crate) flow: Flow,
}

/// A delivery that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Time,
    delivery: DeliveryId,
    place: Place,
}

/// Deliveries of one flow whose time has come.
type Due = BTreeSet<(Time, DeliveryId)>;

/// Deliveries of one pool whose time has come.
#[derive(Debug, Default)]
struct Ready {
    lanes: [Flows<Due>; LANES.len()],
    lens: [usize; LANES.len()],
    share: Share,
}

/// Everything that waits. An entry may be outdated: whoever takes it up looks at the state.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    later: BTreeSet<Waiting>,
    ready: Vec<Ready>,
    /// When what waits runs out, for what does.
    expiring: BTreeSet<(Time, DeliveryId)>,
}

impl Ready {
    fn add(&mut self, place: Place, at: Time, delivery: DeliveryId) {
        let lane = place.lane as usize;
        self.lens[lane] += usize::from(self.lanes[lane].of(place.flow).insert((at, delivery)));
    }

    fn forget(&mut self, place: Place, at: Time, delivery: DeliveryId) {
        let lane = place.lane as usize;
        let gone = self.lanes[lane].known(place.flow).is_some_and(|due| due.remove(&(at, delivery)));
        self.lens[lane] -= usize::from(gone);
    }

    fn take(&mut self) -> Option<DeliveryId> {
        let lane = self.share.next(self.lens.map(|len| len > 0))?;
        let (_, (_, delivery)) = self.lanes[lane].take(BTreeSet::pop_first)?;
        self.lens[lane] -= 1;
        Some(delivery)
    }
}

impl Queue {
    /// How many wait, for their time or for room.
    pub(crate) fn len(&self) -> usize {
        self.later.len() + self.ready.iter().flat_map(|ready| ready.lens).sum::<usize>()
    }

    /// How many wait for room in a lane of a pool.
    pub(crate) fn ready(&self, pool: PoolId, lane: Lane) -> usize {
        self.ready.get(pool.0 as usize).map_or(0, |ready| ready.lens[lane as usize])
    }

    /// The pools seen so far.
    pub(crate) fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..self.ready.len()).map(|slot| PoolId(u32::try_from(slot).unwrap_or(u32::MAX)))
    }

    /// Adds a delivery that is to be taken up at `at`. The same again changes nothing.
    pub(crate) fn add(&mut self, delivery: DeliveryId, place: Place, at: Time, now: Time) {
        if at > now {
            self.later.insert(Waiting { at, delivery, place });
        } else {
            self.pool(place.pool).add(place, at, delivery);
        }
    }

    /// Remembers when a delivery runs out.
    pub(crate) fn runs_out(&mut self, delivery: DeliveryId, at: Time) {
        self.expiring.insert((at, delivery));
    }

    /// Forgets a delivery that was taken up or has ended.
    pub(crate) fn forget(&mut self, delivery: DeliveryId, place: Place, due: Time, expires_at: Option<Time>) {
        self.later.remove(&Waiting { at: due, delivery, place });
        self.pool(place.pool).forget(place, due, delivery);
        if let Some(at) = expires_at {
            self.expiring.remove(&(at, delivery));
        }
    }

    /// Moves what is due at `now` on to its lane.
    pub(crate) fn ripen(&mut self, now: Time) {
        while let Some(first) = self.later.first().filter(|first| first.at <= now).copied() {
            self.later.pop_first();
            self.pool(first.place.pool).add(first.place, first.at, first.delivery);
        }
    }

    /// Takes at most `most` of a pool, in the order of lanes and turns.
    pub(crate) fn take(&mut self, pool: PoolId, most: usize) -> Vec<DeliveryId> {
        let ready = self.pool(pool);
        std::iter::from_fn(|| ready.take()).take(most).collect()
    }

    /// Takes at most `most` that have run out at `now`.
    pub(crate) fn take_expired(&mut self, now: Time, most: usize) -> Vec<DeliveryId> {
        let mut expired = Vec::new();
        while expired.len() < most && self.expiring.first().is_some_and(|(at, _)| *at <= now) {
            expired.extend(self.expiring.pop_first().map(|(_, delivery)| delivery));
        }
        expired
    }

    /// When something is due next that is not due at `now`.
    pub(crate) fn next(&self) -> Option<Time> {
        let due = self.later.first().map(|first| first.at);
        let expires = self.expiring.first().map(|(at, _)| *at);
        due.into_iter().chain(expires).min()
    }

    fn pool(&mut self, pool: PoolId) -> &mut Ready {
        let slot = pool.0 as usize;
        if self.ready.len() <= slot {
            self.ready.resize_with(slot + 1, Ready::default);
        }
        &mut self.ready[slot]
    }
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn delivery(n: u64) -> DeliveryId {
        DeliveryId::new(MessageId::new(Time(1), PartitionId(0), n), 0, PartitionId(0))
    }

    fn place(pool: PoolId, lane: Lane) -> Place {
        Place { lane, pool, flow: Flow::default() }
    }

    #[test]
    fn two_campaigns_of_a_lane_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        let of = |template: &str| Place { flow: Flow::of(template, "key"), ..place(PoolId(0), Lane::Low) };
        (0..100).for_each(|n| queue.add(delivery(n), of("large"), Time(1), Time(10)));
        (200..203).for_each(|n| queue.add(delivery(n), of("small"), Time(5), Time(10)));
        assert_eq!(queue.ready(PoolId(0), Lane::Low), 103);
        let taken = queue.take(PoolId(0), 7);
        assert_eq!(taken, [0, 200, 1, 201, 2, 202, 3].map(delivery));
        assert_eq!((queue.ready(PoolId(0), Lane::Low), queue.len()), (96, 96));
    }

    #[test]
    fn what_is_due_is_taken_by_lane_then_by_time() {
        let mut queue = Queue::default();
        let pool = PoolId(1);
        queue.add(delivery(1), place(pool, Lane::Low), Time(1), Time(10));
        queue.add(delivery(2), place(pool, Lane::Normal), Time(15), Time(10));
        queue.add(delivery(3), place(pool, Lane::Normal), Time(12), Time(10));
        queue.add(delivery(4), place(pool, Lane::High), Time(20), Time(10));
        assert_eq!((queue.next(), queue.len()), (Some(Time(12)), 4));
        queue.ripen(Time(15));
        assert_eq!(queue.take(pool, 2), [delivery(3), delivery(2)]);
        queue.ripen(Time(20));
        assert_eq!(queue.take(pool, 9), [delivery(4), delivery(1)]);
        assert_eq!((queue.next(), queue.len()), (None, 0));
    }

    #[test]
    fn the_same_delivery_waits_once_and_can_be_forgotten() {
        let mut queue = Queue::default();
        for _ in 0..2 {
            queue.add(delivery(1), place(PoolId(0), Lane::High), Time(5), Time(1));
            queue.runs_out(delivery(1), Time(9));
        }
        assert_eq!((queue.len(), queue.next()), (1, Some(Time(5))));
        queue.forget(delivery(1), place(PoolId(0), Lane::High), Time(5), Some(Time(9)));
        assert_eq!((queue.len(), queue.next()), (0, None));
    }

    #[test]
    fn what_runs_out_is_given_a_few_at_a_time() {
        let mut queue = Queue::default();
        (0..5).for_each(|n| queue.runs_out(delivery(n), Time(n)));
        assert_eq!(queue.take_expired(Time(3), 3), [delivery(0), delivery(1), delivery(2)]);
        assert_eq!(queue.take_expired(Time(3), 3), [delivery(3)]);
    }
}
