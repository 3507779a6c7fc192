//! Places that are bounded for each key and in all: who comes when there is none left takes the oldest one's.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Places for connections, of which each key may have some.
#[derive(Debug)]
pub(super) struct Places<K> {
    in_all: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    next: u64,
    /// By number, so that the oldest comes first.
    places: BTreeMap<u64, Holder<K>>,
}

#[derive(Debug)]
struct Holder<K> {
    key: K,
    /// Dropped when the place is taken away.
    _keeps: oneshot::Sender<()>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place<K> {
    number: u64,
    keeps: oneshot::Receiver<()>,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Copy + Ord> Places<K> {
    pub(super) fn new(in_all: usize) -> Self {
        Self { in_all, taken: Arc::new(Mutex::new(Taken { next: 0, places: BTreeMap::new() })) }
    }

    /// A place for `key`. When it has `each` already, its oldest one is taken away; when there is none left at all, the
    /// oldest of the key that has the most.
    pub(super) fn crowd_in(&self, key: K, each: usize) -> Place<K> {
        let mut taken = self.taken.lock();
        while taken.count(key) >= each.max(1) && taken.expel(key) {}
        while taken.places.len() >= self.in_all.max(1) {
            match taken.fullest() {
                Some(fullest) if taken.expel(fullest) => {}
                _ => break,
            }
        }
        self.place(&mut taken, key)
    }

    /// The same, but other keys keep what they have: `None` when all places are theirs.
    pub(super) fn sit_down(&self, key: K, each: usize) -> Option<Place<K>> {
        let mut taken = self.taken.lock();
        while taken.count(key) >= each.max(1) && taken.expel(key) {}
        (taken.places.len() < self.in_all).then(|| self.place(&mut taken, key))
    }

    fn place(&self, taken: &mut Taken<K>, key: K) -> Place<K> {
        let (keeps, kept) = oneshot::channel();
        let number = taken.next;
        taken.next += 1;
        taken.places.insert(number, Holder { key, _keeps: keeps });
        Place { number, keeps: kept, taken: Arc::clone(&self.taken) }
    }
}

impl<K: Copy + Ord> Taken<K> {
    fn count(&self, key: K) -> usize {
        self.places.values().filter(|holder| holder.key == key).count()
    }

    fn fullest(&self) -> Option<K> {
        let mut counts: BTreeMap<K, usize> = BTreeMap::new();
        self.places.values().for_each(|holder| *counts.entry(holder.key).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(key, _)| key)
    }

    /// Takes away the oldest place of `key`, if it has one.
    fn expel(&mut self, key: K) -> bool {
        let oldest = self.places.iter().find(|(_, holder)| holder.key == key).map(|(number, _)| *number);
        oldest.is_some_and(|number| self.places.remove(&number).is_some())
    }
}

impl<K> Place<K> {
    /// Returns when the place is taken away.
    pub(super) async fn taken_away(&mut self) {
        let _ = (&mut self.keeps).await;
    }
}

impl<K> Drop for Place<K> {
    fn drop(&mut self) {
        self.taken.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn kept(place: &mut Place<u8>) -> bool {
        place.taken_away().now_or_never().is_none()
    }

    #[test]
    fn a_key_that_has_all_it_may_have_loses_its_oldest_place() {
        let places = Places::new(10);
        let mut mine: Vec<_> = (0..3).map(|_| places.crowd_in(1, 2)).collect();
        let mut other = places.crowd_in(2, 2);
        assert_eq!(mine.iter_mut().map(kept).collect::<Vec<_>>(), [false, true, true]);
        assert!(kept(&mut other));
    }

    #[test]
    fn when_nothing_is_left_the_key_that_has_the_most_gives_one_up() {
        let places = Places::new(3);
        let mut first = places.crowd_in(1, 2);
        let mut greedy: Vec<_> = (0..2).map(|_| places.crowd_in(2, 2)).collect();
        let mut late = places.crowd_in(3, 2);
        assert!(kept(&mut first) && kept(&mut late));
        assert_eq!(greedy.iter_mut().map(kept).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn who_sits_down_never_takes_the_place_of_another_key() {
        let places = Places::new(2);
        let mut mine: Vec<_> = (0..2).filter_map(|_| places.sit_down(1, 2)).collect();
        assert!(places.sit_down(2, 2).is_none());
        let newest = places.sit_down(1, 2);
        assert!(newest.is_some() && !kept(&mut mine[0]) && kept(&mut mine[1]));
        drop(mine);
        assert!(places.sit_down(2, 2).is_some(), "a place that was let go of is free");
    }
}
