//! Addresses whose proofs failed wait longer and longer before they may try again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures of one address that cost it nothing: a secret that was mistyped, a port that was mixed up.
const FREE: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait of an address from which a peer is connected, or was not long ago, so that a stranger beside it cannot
/// keep it out: with so short a wait one of its next tries finds the door open.
const LONGEST_OF_PEERS: Duration = Duration::from_millis(50);
/// After so long without a failure, an address is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Most addresses that are remembered.
const ADDRESSES: usize = 1_024;

/// What is known of addresses.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    table: Arc<Mutex<BTreeMap<IpAddr, Record>>>,
}

#[derive(Debug)]
struct Record {
    failures: u32,
    /// When the newest failure was, or the address first came up.
    last: Instant,
    /// It may try again from here on.
    until: Instant,
    /// Connections of peers from this address.
    peers: usize,
    /// Until when it counts as a peer's address though none is connected.
    home_until: Instant,
}

/// A peer that is connected from an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    from: IpAddr,
    table: Arc<Mutex<BTreeMap<IpAddr, Record>>>,
}

/// Whose connection it is: one host's IPv4 address, or the /64 that an IPv6 host has to itself.
pub(super) fn whose(from: SocketAddr) -> IpAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

impl Penalties {
    /// Whether the address has to wait.
    pub(super) fn waits(&self, from: IpAddr, now: Instant) -> bool {
        self.table.lock().get(&from).is_some_and(|record| record.until > now)
    }

    /// It proved nothing, or something wrong; after many of these it waits up to `longest`.
    pub(super) fn failed(&self, from: IpAddr, longest: Duration, now: Instant) {
        let mut table = self.table.lock();
        make_room(&mut table, from, now);
        let record = table.entry(from).or_insert_with(|| Record::new(now));
        if now.duration_since(record.last) > FORGOTTEN {
            record.failures = 0;
        }
        record.last = now;
        record.failures = record.failures.saturating_add(1);
        if let Some(doublings) = record.failures.checked_sub(FREE + 1) {
            let home = record.peers > 0 || record.home_until > now;
            let longest = if home { longest.min(LONGEST_OF_PEERS) } else { longest };
            record.until = now + FIRST.saturating_mul(1 << doublings.min(16)).min(longest);
        }
    }

    /// It proved that it is a peer: what failed before is forgotten.
    pub(super) fn proven(&self, from: IpAddr, now: Instant) -> Connected {
        let mut table = self.table.lock();
        make_room(&mut table, from, now);
        let record = table.entry(from).or_insert_with(|| Record::new(now));
        (record.failures, record.until, record.home_until) = (0, now, now + FORGOTTEN);
        record.peers += 1;
        Connected { from, table: Arc::clone(&self.table) }
    }
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { failures: 0, last: now, until: now, peers: 0, home_until: now }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if let Some(record) = self.table.lock().get_mut(&self.from) {
            record.peers = record.peers.saturating_sub(1);
            record.home_until = Instant::now() + FORGOTTEN;
        }
    }
}

/// Makes room for one more address. Those of peers stay: there are no more of them than places for peers.
fn make_room(table: &mut BTreeMap<IpAddr, Record>, from: IpAddr, now: Instant) {
    if table.len() < ADDRESSES || table.contains_key(&from) {
        return;
    }
    table.retain(|_, record| record.peers > 0 || now.duration_since(record.last) <= FORGOTTEN);
    if table.len() >= ADDRESSES {
        let strangers = table.iter().filter(|(_, record)| record.peers == 0);
        if let Some(oldest) = strangers.min_by_key(|(_, record)| record.last).map(|(from, _)| *from) {
            table.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(10);

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    fn wait_after(failures: u32, penalties: &Penalties, now: Instant) -> u128 {
        (0..failures).for_each(|_| penalties.failed(address(1), LONGEST, now));
        (0..)
            .map(|steps| steps * 50)
            .find(|ms| !penalties.waits(address(1), now + Duration::from_millis(*ms)))
            .unwrap_or(0)
            .into()
    }

    #[test]
    fn a_few_failures_cost_nothing_and_then_the_wait_doubles_up_to_ten_seconds() {
        let now = Instant::now();
        let waits = [5, 6, 7, 8, 50, 10_000].map(|failures| wait_after(failures, &Penalties::default(), now));
        assert_eq!(waits, [0, 100, 200, 400, 10_000, 10_000]);
        let penalties = Penalties::default();
        wait_after(50, &penalties, now);
        assert!(!penalties.waits(address(2), now), "nobody waits for what another address did");
    }

    #[test]
    fn a_proof_forgives_and_an_address_of_a_peer_never_waits_long() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        assert_eq!(wait_after(50, &penalties, now), 10_000);
        let connected = penalties.proven(address(1), now);
        assert_eq!(wait_after(50, &penalties, now), 50);
        drop(connected);
        assert_eq!(wait_after(1, &penalties, now), 50, "it may have lost its connection just now");
        let later = now + FORGOTTEN * 3;
        assert_eq!(wait_after(50, &penalties, later), 10_000);
    }

    #[test]
    fn the_table_is_bounded_and_peers_stay_in_it() {
        let (penalties, now) = (Penalties::default(), Instant::now());
        let _connected = penalties.proven(address(0), now);
        for number in 1..5_000 {
            penalties.failed(address(number), LONGEST, now + Duration::from_millis(number.into()));
        }
        let table = penalties.table.lock();
        assert!(table.len() <= ADDRESSES && table.contains_key(&address(0)));
    }

    #[test]
    fn a_host_is_one_ipv4_address_or_one_ipv6_network() {
        let whose = |text: &str| whose(text.parse().expect("an address"));
        assert_eq!(whose("[::ffff:10.0.0.1]:7"), whose("10.0.0.1:8"));
        assert_eq!(whose("[2001:db8::1]:7"), whose("[2001:db8::ffff:2]:7"));
        assert_ne!(whose("[2001:db8:0:1::1]:7"), whose("[2001:db8::1]:7"));
    }
}
