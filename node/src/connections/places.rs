//! Who may be connected: how many in all and from one address, and who gives way when it is crowded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pulse::{Patience, Pulse};

/// Connections beyond the limits that are still asked what they want: only health and figures are answered.
pub(crate) const SHORT: usize = 64;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub per_address: usize,
}

/// How long connections may take: those with a place, and those beyond the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patiences {
    pub full: Patience,
    pub short: Patience,
}

/// What a connection may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Anything.
    Full,
    /// Health and figures, once.
    Short,
}

/// The places of a listener.
#[derive(Debug)]
pub(crate) struct Places {
    most: Most,
    patiences: Patiences,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// Connections with a place, in the order in which they came.
    full: BTreeMap<u64, Guest>,
    /// Those beyond the limits.
    short: BTreeMap<u64, Guest>,
    /// Those with a place that never sent a request.
    silent: BTreeSet<u64>,
    by_address: BTreeMap<IpAddr, Neighbours>,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Neighbours {
    count: usize,
    silent: BTreeSet<u64>,
}

#[derive(Debug)]
struct Guest {
    address: IpAddr,
    pulse: Arc<Pulse>,
}

/// A place that is taken; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    pub class: Class,
    pub pulse: Arc<Pulse>,
}

impl Places {
    pub(crate) fn new(most: Most, patiences: Patiences) -> Arc<Self> {
        Arc::new(Self { most, patiences, taken: Mutex::default() })
    }

    /// A place for a connection from `address`. Where the limits are reached, the oldest connection gives way that never sent a
    /// request: whoever means to ask something has done so long before. Where all have asked, it is a short one.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = of_one(address);
        let mut taken = self.taken.lock();
        let neighbours = taken.by_address.get(&address);
        let crowded_here = neighbours.is_some_and(|n| n.count >= self.most.per_address);
        let room = if crowded_here {
            let oldest = neighbours.and_then(|neighbours| neighbours.silent.first().copied());
            oldest.is_some_and(|oldest| taken.make_room(oldest))
        } else if taken.full.len() >= self.most.connections {
            let oldest = taken.silent.first().copied();
            oldest.is_some_and(|oldest| taken.make_room(oldest))
        } else {
            true
        };
        let class = if room { Class::Full } else { Class::Short };
        let patience = if room { self.patiences.full } else { self.patiences.short };
        let pulse = Arc::new(Pulse::new(patience));
        let number = taken.next;
        taken.next += 1;
        taken.put(number, class, Guest { address, pulse: Arc::clone(&pulse) });
        Place { places: Arc::clone(self), number, class, pulse }
    }

    /// Ends the oldest connection that never sent a request, because the process has no descriptor left. Gives whether there
    /// was one.
    pub(crate) fn give_one_up(&self) -> bool {
        let mut taken = self.taken.lock();
        let oldest = taken.silent.first().copied();
        oldest.is_some_and(|oldest| taken.make_room(oldest))
    }

    /// How many connections have a place, and how many are beyond the limits.
    pub(crate) fn count(&self) -> (usize, usize) {
        let taken = self.taken.lock();
        (taken.full.len(), taken.short.len())
    }
}

impl Taken {
    fn put(&mut self, number: u64, class: Class, guest: Guest) {
        match class {
            Class::Full => {
                let neighbours = self.by_address.entry(guest.address).or_default();
                neighbours.count += 1;
                neighbours.silent.insert(number);
                self.silent.insert(number);
                self.full.insert(number, guest);
            }
            Class::Short => {
                if self.short.len() >= SHORT
                    && let Some((_, oldest)) = self.short.pop_first()
                {
                    oldest.pulse.make_room();
                }
                self.short.insert(number, guest);
            }
        }
    }

    /// Takes the place of a connection away and ends it.
    fn make_room(&mut self, number: u64) -> bool {
        let guest = self.remove(number);
        guest.inspect(|guest| guest.pulse.make_room()).is_some()
    }

    fn remove(&mut self, number: u64) -> Option<Guest> {
        let Some(guest) = self.full.remove(&number) else { return self.short.remove(&number) };
        self.silent.remove(&number);
        if let Some(neighbours) = self.by_address.get_mut(&guest.address) {
            neighbours.count -= 1;
            neighbours.silent.remove(&number);
            if neighbours.count == 0 {
                self.by_address.remove(&guest.address);
            }
        }
        Some(guest)
    }
}

impl Place {
    /// The connection sent a request: from here on it does not give way.
    pub(crate) fn spoke(&self) {
        let mut taken = self.places.taken.lock();
        if taken.silent.remove(&self.number)
            && let Some(address) = taken.full.get(&self.number).map(|guest| guest.address)
            && let Some(neighbours) = taken.by_address.get_mut(&address)
        {
            neighbours.silent.remove(&self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.places.taken.lock().remove(self.number));
    }
}

/// Addresses that are one to the limits: an IPv4 address however it is written, and a whole /64 of IPv6, because whoever has one
/// of its addresses usually has all (RFC 6177).
fn of_one(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address.to_canonical() else { return address.to_canonical() };
    let [a, b, c, d, ..] = six.segments();
    std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn places(connections: usize, per_address: usize) -> Arc<Places> {
        let second = Duration::from_secs(1);
        let patience = Patience { head: second, idle: second, write: second, life: None };
        Places::new(Most { connections, per_address }, Patiences { full: patience, short: patience })
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn is_ended(place: &Place) -> bool {
        use futures::FutureExt;
        place.pulse.stops().now_or_never().is_some()
    }

    #[tokio::test]
    async fn silent_connections_give_way_the_oldest_first_and_those_that_asked_stay() {
        let places = places(3, 3);
        let asked = places.take(address(1));
        asked.spoke();
        let silent: Vec<_> = (2..4).map(|last| places.take(address(last))).collect();
        let newer = places.take(address(4));
        assert_eq!((newer.class, places.count()), (Class::Full, (3, 0)));
        assert_eq!([is_ended(&silent[0]), is_ended(&silent[1]), is_ended(&asked)], [true, false, false]);
        newer.spoke();
        silent[1].spoke();
        let beyond = places.take(address(5));
        assert_eq!((beyond.class, places.count()), (Class::Short, (3, 1)), "all have asked");
        drop((newer, beyond));
        assert_eq!(places.take(address(6)).class, Class::Full, "a place was given back");
    }

    #[tokio::test]
    async fn one_address_cannot_take_the_places_of_others() {
        let places = places(10, 2);
        let mine: Vec<_> = (0..2).map(|_| places.take(address(1))).collect();
        mine.iter().for_each(Place::spoke);
        assert_eq!(places.take(address(1)).class, Class::Short);
        assert_eq!(places.take(address(2)).class, Class::Full);
        let six = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let held: Vec<_> = (0..2).map(|n| places.take(six(n))).collect();
        held.iter().for_each(Place::spoke);
        assert_eq!(places.take(six(9)).class, Class::Short, "a /64 is one address");
        let mapped: IpAddr = std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into();
        assert_eq!(places.take(mapped).class, Class::Short, "an IPv4 address is the same in both forms");
    }

    #[tokio::test]
    async fn connections_beyond_the_limits_are_bounded_too_and_the_newest_is_heard() {
        let places = places(1, 1);
        places.take(address(1)).spoke();
        let full = places.take(address(1));
        full.spoke();
        let short: Vec<_> = (0..=SHORT).map(|_| places.take(address(2))).collect();
        assert_eq!(places.count(), (1, SHORT));
        assert!(is_ended(&short[0]) && !is_ended(&short[1]) && !is_ended(&short[SHORT]));
        drop((short, full));
        assert_eq!(places.count(), (0, 0));
        assert!(places.taken.lock().by_address.is_empty(), "nothing is remembered of addresses that left");
    }
}
