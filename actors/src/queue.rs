//! What a dispatcher waits for: deliveries by their time, and those whose time has come by pool and lane. Ids only: the
//! delivery itself is read from the replica when it is taken up.

use std::collections::BTreeSet;

use tidings_contract::{DeliveryId, Lane, Time};

use crate::pool::PoolId;

/// The lanes, first served first.
pub(crate) const LANES: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];

/// A delivery that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Time,
    lane: Lane,
    delivery: DeliveryId,
    pool: PoolId,
}

/// A delivery whose time has come.
type Ready = BTreeSet<(Lane, Time, DeliveryId)>;

/// Everything that waits. An entry may be outdated: whoever takes it up looks at the state.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    later: BTreeSet<Waiting>,
    ready: Vec<Ready>,
    /// When what waits runs out, for what does.
    expiring: BTreeSet<(Time, DeliveryId)>,
}

impl Queue {
    /// How many wait, for their time or for room.
    pub(crate) fn len(&self) -> usize {
        self.later.len() + self.ready.iter().map(BTreeSet::len).sum::<usize>()
    }

    /// How many wait for room in a lane of a pool.
    pub(crate) fn ready(&self, pool: PoolId, lane: Lane) -> usize {
        let ready = self.ready.get(pool.0 as usize);
        ready.map_or(0, |ready| ready.iter().filter(|(l, ..)| *l == lane).count())
    }

    /// The pools seen so far.
    pub(crate) fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..self.ready.len()).map(|slot| PoolId(u32::try_from(slot).unwrap_or(u32::MAX)))
    }

    /// Adds a delivery that is to be taken up at `at`. The same again changes nothing.
    pub(crate) fn add(&mut self, delivery: DeliveryId, pool: PoolId, lane: Lane, at: Time, now: Time) {
        if at > now {
            self.later.insert(Waiting { at, lane, delivery, pool });
        } else {
            self.pool(pool).insert((lane, at, delivery));
        }
    }

    /// Remembers when a delivery runs out.
    pub(crate) fn runs_out(&mut self, delivery: DeliveryId, at: Time) {
        self.expiring.insert((at, delivery));
    }

    /// Forgets a delivery that was taken up or has ended.
    pub(crate) fn forget(
        &mut self,
        delivery: DeliveryId,
        pool: PoolId,
        lane: Lane,
        due: Time,
        expires_at: Option<Time>,
    ) {
        self.later.remove(&Waiting { at: due, lane, delivery, pool });
        self.pool(pool).remove(&(lane, due, delivery));
        if let Some(at) = expires_at {
            self.expiring.remove(&(at, delivery));
        }
    }

    /// Moves what is due at `now` on to its lane.
    pub(crate) fn ripen(&mut self, now: Time) {
        while let Some(first) = self.later.first().filter(|first| first.at <= now).copied() {
            self.later.pop_first();
            self.pool(first.pool).insert((first.lane, first.at, first.delivery));
        }
    }

    /// Takes at most `most` of a pool, in the order of lane, time, id.
    pub(crate) fn take(&mut self, pool: PoolId, most: usize) -> Vec<DeliveryId> {
        let ready = self.pool(pool);
        std::iter::from_fn(|| ready.pop_first()).take(most).map(|(.., delivery)| delivery).collect()
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
            self.ready.resize_with(slot + 1, BTreeSet::new);
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

    #[test]
    fn what_is_due_is_taken_by_lane_then_by_time() {
        let mut queue = Queue::default();
        let pool = PoolId(1);
        queue.add(delivery(1), pool, Lane::Low, Time(1), Time(10));
        queue.add(delivery(2), pool, Lane::Normal, Time(15), Time(10));
        queue.add(delivery(3), pool, Lane::Normal, Time(12), Time(10));
        queue.add(delivery(4), pool, Lane::High, Time(20), Time(10));
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
            queue.add(delivery(1), PoolId(0), Lane::High, Time(5), Time(1));
            queue.runs_out(delivery(1), Time(9));
        }
        assert_eq!((queue.len(), queue.next()), (1, Some(Time(5))));
        queue.forget(delivery(1), PoolId(0), Lane::High, Time(5), Some(Time(9)));
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
