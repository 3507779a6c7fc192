//! An ordered map whose entries run out, with an index by the time at which they do.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_contract::{Time, planted};

/// A time that does not come: for entries that stay until they are taken out.
pub(super) const NEVER: Time = Time(u64::MAX);

/// An ordered map whose entries run out. What has run out is not seen any more, whether or not it was pruned yet.
#[derive(Clone, Debug)]
pub(super) struct Expiring<K, V> {
    entries: BTreeMap<K, (V, Time)>,
    /// By when they run out. Not kept on disk: it follows from the entries.
    index: BTreeSet<(Time, K)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), index: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V> Expiring<K, V> {
    /// How many entries are held, those that ran out but were not pruned included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry, unless it ran out.
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q, now: Time) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value)
    }

    /// The entries of a range that have not run out, with the time at which they do.
    pub(super) fn range(&self, range: impl RangeBounds<K>, now: Time) -> impl DoubleEndedIterator<Item = (&K, Time)> {
        self.entries.range(range).filter(move |(_, (_, until))| *until > now).map(|(key, (_, until))| (key, *until))
    }

    /// The entries of a range that have not run out, with what they hold and the time at which they do.
    pub(super) fn entries(&self, range: impl RangeBounds<K>, now: Time) -> impl Iterator<Item = (&K, &V, Time)> {
        let all = self.entries.range(range);
        all.filter(move |(_, (_, until))| *until > now).map(|(key, (value, until))| (key, value, *until))
    }

    /// All entries, whether or not they ran out.
    pub(super) fn all(&self) -> impl Iterator<Item = (&K, &V, Time)> {
        self.entries.iter().map(|(key, (value, until))| (key, value, *until))
    }

    /// Keeps `value` until just before `until`, in place of what was there.
    pub(super) fn insert(&mut self, key: K, value: V, until: Time) {
        if let Some((_, old)) = self.entries.insert(key.clone(), (value, until)) {
            self.unindex(old, &key);
        }
        if until < NEVER {
            self.index.insert((until, key));
        }
    }

    /// Takes an entry out, whether or not it ran out.
    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (key, (value, until)) = self.entries.remove_entry(key)?;
        self.unindex(until, &key);
        Some(value)
    }

    /// When an entry runs out.
    pub(super) fn until<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Time>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, until)| *until)
    }

    /// Forgets at most `most` entries that ran out, the oldest first.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        for _ in 0..most {
            match self.index.first() {
                Some((until, _)) if *until <= now => {}
                _ => return,
            }
            if let Some((_, key)) = self.index.pop_first() {
                self.entries.remove(&key);
            }
        }
    }

    /// The entry, to be changed, whether or not it ran out. When it runs out stays the same.
    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|(value, _)| value)
    }

    /// Takes out the entry that would run out first.
    pub(super) fn drop_first(&mut self) {
        if let Some((_, key)) = self.index.pop_first() {
            self.entries.remove(&key);
        }
    }

    /// When the next entry runs out.
    pub(super) fn next(&self) -> Option<Time> {
        self.index.first().map(|(until, _)| *until)
    }

    fn unindex(&mut self, until: Time, key: &K) {
        if until < NEVER {
            self.index.remove(&(until, key.clone()));
        }
    }
}

impl<K: Serialize, V: Serialize> Serialize for Expiring<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de>> Deserialize<'de> for Expiring<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut entries = BTreeMap::<K, (V, Time)>::deserialize(deserializer)?;
        entries.retain(|_, _| !planted("windows_not_in_snapshot"));
        let index =
            entries.iter().filter(|(_, (_, until))| *until < NEVER).map(|(k, (_, t))| (*t, k.clone())).collect();
        Ok(Self { entries, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_gone_at_its_time_even_before_it_is_pruned() {
        let mut map = Expiring::<u64, &str>::default();
        map.insert(1, "a", Time(10));
        map.insert(2, "b", NEVER);
        assert_eq!((map.get(&1, Time(9)), map.get(&1, Time(10)), map.len()), (Some(&"a"), None, 2));
        map.prune(Time(10), 5);
        assert_eq!((map.len(), map.next(), map.get(&2, Time(u64::MAX - 1))), (1, None, Some(&"b")));
    }

    #[test]
    fn a_new_time_replaces_the_old_one() {
        let mut map = Expiring::<u64, &str>::default();
        map.insert(1, "a", Time(10));
        map.insert(1, "b", Time(20));
        map.prune(Time(15), 5);
        assert_eq!((map.get(&1, Time(15)), map.next()), (Some(&"b"), Some(Time(20))));
        assert_eq!((map.remove(&1), map.next(), map.len()), (Some("b"), None, 0));
    }

    #[test]
    fn no_more_is_pruned_at_once_than_asked() {
        let mut map = Expiring::<u64, ()>::default();
        (0..10).for_each(|n| map.insert(n, (), Time(n)));
        map.prune(Time(100), 3);
        assert_eq!((map.len(), map.next()), (7, Some(Time(3))));
    }
}
