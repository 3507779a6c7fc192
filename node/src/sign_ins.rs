//! Failed sign-ins: slowed per address, counted, and told in the log at most once a minute.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::problem::{Code, Problem};

/// Most addresses that are remembered. Whoever comes when all are taken shares one bucket.
const ADDRESSES: usize = 4_096;
/// In so long an empty bucket fills.
const REFILL: Duration = Duration::from_secs(60);
/// Shortest time between two looks through all addresses for those that may be forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// Shortest time between two lines in the log.
const TELL: Duration = Duration::from_secs(60);

/// Where a request came from, as its connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(pub IpAddr);

/// What somebody tried to sign in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// An API key.
    Key,
    /// The cluster's secret.
    Secret,
}

impl Tried {
    const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Secret => "secret",
        }
    }

    /// What a failure costs. An API key has 256 bits of chance; the secret may have been made up by a person.
    const fn cost(self) -> f64 {
        match self {
            Self::Key => 1.0,
            Self::Secret => 6.0,
        }
    }
}

/// What is left of the failures that one address may have.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The addresses that failed lately, and what the log was not told yet.
#[derive(Debug, Default)]
pub(crate) struct SignIns {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    buckets: HashMap<IpAddr, Bucket>,
    /// For everybody for whom there is no place in `buckets`.
    shared: Option<Bucket>,
    swept_at: Option<Instant>,
    untold: Untold,
    told_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Untold {
    failed: u64,
    slowed: u64,
    last: Option<(IpAddr, Tried)>,
}

impl SignIns {
    /// Whether a sign-in that may fail is looked at. It costs nothing until [`SignIns::failed`].
    ///
    /// # Errors
    /// `too_many_sign_ins` when too many from there have failed lately.
    pub(crate) fn admit(&self, from: Origin, tried: Tried, per_minute: u32) -> Result<(), Problem> {
        self.admit_at(Instant::now(), from, tried, per_minute)
    }

    fn admit_at(&self, now: Instant, from: Origin, tried: Tried, per_minute: u32) -> Result<(), Problem> {
        let mut inner = self.inner.lock();
        let left = inner.bucket(network(from.0), per_minute, now).left;
        if left >= tried.cost() {
            return Ok(());
        }
        metrics::counter!("tidings_sign_ins_slowed_total", "tried" => tried.name()).increment(1);
        inner.untold.slowed += 1;
        inner.untold.last = Some((from.0, tried));
        drop(inner);
        let wait = REFILL.as_secs_f64() * (tried.cost() - left) / f64::from(per_minute.max(1));
        let detail = format!("too many sign-ins from {} have failed lately; this one was not looked at", from.0);
        // At most a minute, because the bucket holds what one needs.
        Err(Problem::new(Code::TooManySignIns, detail).come_back_in((wait * 1_000.0).ceil() as u64))
    }

    /// Notes a sign-in that failed.
    pub(crate) fn failed(&self, from: Origin, tried: Tried, per_minute: u32) {
        self.failed_at(Instant::now(), from, tried, per_minute);
        self.tell();
    }

    fn failed_at(&self, now: Instant, from: Origin, tried: Tried, per_minute: u32) {
        metrics::counter!("tidings_sign_ins_failed_total", "tried" => tried.name()).increment(1);
        let mut inner = self.inner.lock();
        let bucket = inner.bucket(network(from.0), per_minute, now);
        bucket.left = (bucket.left - tried.cost()).max(0.0);
        inner.untold.failed += 1;
        inner.untold.last = Some((from.0, tried));
    }

    /// Writes what happened since the last line, if that is long enough ago.
    pub(crate) fn tell(&self) {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        let due = inner.told_at.is_none_or(|told| now.duration_since(told) >= TELL);
        let Some((from, tried)) = inner.untold.last.filter(|_| due) else { return };
        let Untold { failed, slowed, .. } = std::mem::take(&mut inner.untold);
        inner.told_at = Some(now);
        drop(inner);
        tracing::warn!(failed, slowed, last_from = %from, last_tried = tried.name(), "sign-ins failed");
    }
}

impl Inner {
    fn bucket(&mut self, from: IpAddr, per_minute: u32, now: Instant) -> &mut Bucket {
        let most = f64::from(per_minute);
        let full = Bucket { left: most, at: now };
        let crowded = !self.buckets.contains_key(&from) && self.buckets.len() >= ADDRESSES;
        if crowded && self.swept_at.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            self.swept_at = Some(now);
            // Who has not failed for a minute is as good as new.
            self.buckets.retain(|_, bucket| now.duration_since(bucket.at) < REFILL);
        }
        let bucket = if self.buckets.contains_key(&from) || self.buckets.len() < ADDRESSES {
            self.buckets.entry(from).or_insert(full)
        } else {
            self.shared.get_or_insert(full)
        };
        let refilled = most * now.duration_since(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        *bucket = Bucket { left: (bucket.left + refilled).min(most), at: now };
        bucket
    }
}

/// Whose bucket counts: an IPv4 address, or the /64 that one site has in IPv6 (RFC 6177).
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Origin {
        Origin(text.parse().expect("an address"))
    }

    /// How many of `tries` are looked at, if all of them fail.
    fn looked_at(sign_ins: &SignIns, now: Instant, from: Origin, tried: Tried, tries: u32) -> u32 {
        let mut looked_at = 0;
        for _ in 0..tries {
            if sign_ins.admit_at(now, from, tried, 60).is_ok() {
                sign_ins.failed_at(now, from, tried, 60);
                looked_at += 1;
            }
        }
        looked_at
    }

    #[test]
    fn an_address_fails_so_often_a_minute_and_no_more() {
        let (sign_ins, now) = (SignIns::default(), Instant::now());
        let stranger = from("203.0.113.7");
        assert_eq!(looked_at(&sign_ins, now, stranger, Tried::Key, 5_000), 60);
        assert_eq!(looked_at(&sign_ins, now + Duration::from_millis(10_500), stranger, Tried::Key, 5_000), 10);
        assert_eq!(looked_at(&sign_ins, now, from("203.0.113.8"), Tried::Key, 5_000), 60, "others have their own");
        assert_eq!(
            looked_at(&sign_ins, now, from("203.0.113.9"), Tried::Secret, 5_000),
            10,
            "a secret counts six times"
        );
    }

    #[test]
    fn a_site_with_many_addresses_has_one_bucket() {
        let (sign_ins, now) = (SignIns::default(), Instant::now());
        let cases = [
            ("2001:db8::1", 60),
            ("2001:db8::ffff:2", 0),
            ("2001:db8:0:1::1", 60),
            ("198.51.100.1", 60),
            ("::ffff:198.51.100.1", 0),
        ];
        for (address, count) in cases {
            assert_eq!(looked_at(&sign_ins, now, from(address), Tried::Key, 100), count, "{address}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_a_crowd_shares_one_bucket() {
        let (sign_ins, now) = (SignIns::default(), Instant::now());
        let nth = |n: u32| Origin(IpAddr::V4(n.into()));
        let places = u32::try_from(ADDRESSES).expect("small");
        for n in 0..places {
            sign_ins.failed_at(now, nth(n), Tried::Key, 60);
        }
        let crowd: u32 = (places..places + 1_000).map(|n| looked_at(&sign_ins, now, nth(n), Tried::Key, 1)).sum();
        assert_eq!(crowd, 60);
        assert!(sign_ins.inner.lock().buckets.len() <= ADDRESSES);
        assert_eq!(looked_at(&sign_ins, now + REFILL, nth(places), Tried::Key, 100), 60, "old entries make room");
    }

    #[test]
    fn an_answer_says_when_the_next_try_is_looked_at() {
        let (sign_ins, now) = (SignIns::default(), Instant::now());
        let stranger = from("203.0.113.7");
        looked_at(&sign_ins, now, stranger, Tried::Secret, 10);
        let problem = sign_ins.admit_at(now, stranger, Tried::Secret, 60).expect_err("nothing is left");
        assert_eq!(serde_json::json!(problem.body())["retry_after_ms"], 6_000);
        assert!(sign_ins.admit_at(now + Duration::from_millis(6_001), stranger, Tried::Secret, 60).is_ok());
    }
}
