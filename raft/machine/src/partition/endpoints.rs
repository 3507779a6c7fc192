//! The health of what recipients name: where a recipient is a URL, a failed call speaks against its host or its path, not
//! against the account.
//!
//! Two levels. A call that found no connection (no name, refused, no TLS) speaks against the host. Everything else that
//! failed, a status as well as an answer that never came, speaks against the URL: behind one host there may be many
//! customers. Both are counted here, in the partition where the recipient lives; only what failed lately is held.

use serde::{Deserialize, Serialize};
use tidings_contract::{Outcome, Time};

use super::breakers::{Window, is_failure};
use super::expiring::Expiring;
use super::{BreakerPolicy, Partition};

/// Most hosts and URLs that a partition holds. Beyond it the one is forgotten that would be forgotten first.
const MOST: usize = 4_096;
/// So many failures in a row open an endpoint where the policy of its account names no number: a server that hangs gives too
/// few failures in a window to have a share of them.
const ROW: u32 = 5;

/// The name of a host or of a URL: the first half of the SHA-256 of its normal form.
pub type EndpointKey = [u8; 16];

/// What an attempt called, where its recipient is a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Scheme, host and port.
    pub host: EndpointKey,
    /// The same with the path, without the query.
    pub url: EndpointKey,
}

/// Which part of an endpoint is unwell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its host.
    Host,
    /// Its URL.
    Url,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wellness {
    /// Everything is sent.
    Well,
    /// Nothing is sent until then, because of that part.
    Open(Part, Time),
    /// One attempt at a time is sent to that part, until one comes through.
    HalfOpen(Part),
}

/// How calls of a host or a URL went lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Health {
    window: Window,
    /// Until when nothing is sent; `None` while it is closed. From then on it is half-open.
    until: Option<Time>,
    /// When it opened or closed last: calls that began before count no more.
    since: Time,
    /// How often it opened without having been closed for long.
    trips: u32,
}

/// What failed lately.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Endpoints {
    held: Expiring<EndpointKey, Health>,
}

/// What an outcome says of a host or a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Good,
    Bad,
}

/// What an outcome says of the host and of the URL that were called.
fn words(outcome: &Outcome) -> (Option<Word>, Option<Word>) {
    match outcome.reason().map_or("", |reason| reason.code.as_str()) {
        "connect" | "dns" | "tls" => (Some(Word::Bad), None),
        // Whoever was cut off or went wrong here heard nothing of the endpoint.
        "cut" | "panic" | "no_outcome" | "address_forbidden" | "request" => (None, None),
        // The connection stood, and no whole answer came.
        "timeout" | "broken" => (None, Some(Word::Bad)),
        _ if is_failure(outcome) && !matches!(outcome, Outcome::Never { .. }) => (Some(Word::Good), Some(Word::Bad)),
        _ => (Some(Word::Good), Some(Word::Good)),
    }
}

impl Endpoints {
    /// Counts a call that began at `began`.
    pub(super) fn count(
        &mut self,
        endpoint: Endpoint,
        policy: BreakerPolicy,
        outcome: &Outcome,
        (began, now): (Time, Time),
    ) {
        let (host, url) = words(outcome);
        for (key, word) in [(endpoint.host, host), (endpoint.url, url)] {
            if let Some(word) = word {
                self.hear(key, policy, word, (began, now));
            }
        }
    }

    fn hear(&mut self, key: EndpointKey, policy: BreakerPolicy, word: Word, (began, now): (Time, Time)) {
        let never = policy.failure_percent == 0 && policy.consecutive == 0;
        let known = self.held.get(&key, now).is_some();
        if never || (!known && word == Word::Good) {
            return;
        }
        let mut health = self.held.remove(&key).filter(|_| known).unwrap_or_default();
        if began >= health.since {
            health.hear(policy, word, now);
        }
        if health.is_over(policy, now) {
            return;
        }
        if self.held.len() >= MOST {
            self.held.drop_first();
        }
        let longest = policy.window_ms.max(policy.longest_open_ms).max(1);
        self.held.insert(key, health.clone(), health.until.unwrap_or(now).max(now).after_ms(longest));
    }

    fn standing(&self, endpoint: &Endpoint, now: Time) -> Wellness {
        let of = |key: &EndpointKey| self.held.get(key, now).and_then(|health| health.until);
        match (of(&endpoint.host), of(&endpoint.url)) {
            (Some(until), _) if now < until => Wellness::Open(Part::Host, until),
            (_, Some(until)) if now < until => Wellness::Open(Part::Url, until),
            (Some(_), _) => Wellness::HalfOpen(Part::Host),
            (None, Some(_)) => Wellness::HalfOpen(Part::Url),
            (None, None) => Wellness::Well,
        }
    }

    /// How many hosts and URLs are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Forgets at most `most` that were not called for long.
    pub(super) fn prune(&mut self, now: Time, most: usize) {
        self.held.prune(now, most);
    }

    /// When the next one is forgotten.
    pub(super) fn next(&self) -> Option<Time> {
        self.held.next()
    }
}

impl Health {
    fn hear(&mut self, policy: BreakerPolicy, word: Word, now: Time) {
        let counted =
            BreakerPolicy { consecutive: if policy.consecutive == 0 { ROW } else { policy.consecutive }, ..policy };
        match (self.until, word) {
            (None, word) => {
                if self.window.count(word == Word::Bad, counted, now).is_some() {
                    let rested = now > self.since.after_ms(policy.longest_open_ms);
                    self.open(policy, if rested { 0 } else { self.trips }, now);
                }
            }
            (Some(_), Word::Good) => {
                (self.until, self.since, self.window) = (None, now, Window::default());
            }
            // The probe failed; what fails before that time began before it opened.
            (Some(until), Word::Bad) if now >= until => self.open(policy, self.trips, now),
            (Some(_), Word::Bad) => {}
        }
    }

    /// Opens it twice as long as the last time.
    fn open(&mut self, policy: BreakerPolicy, trips: u32, now: Time) {
        let longest = policy.longest_open_ms.max(1);
        let open_ms = policy.open_ms.max(1).saturating_mul(1 << trips.min(32)).min(longest);
        let until = Some(now.after_ms(open_ms));
        *self = Self { until, since: now, trips: trips.saturating_add(1), window: Window::default() };
    }

    /// Whether there is nothing left to remember.
    fn is_over(&self, policy: BreakerPolicy, now: Time) -> bool {
        let rested = self.trips == 0 || now > self.since.after_ms(policy.longest_open_ms);
        self.until.is_none() && rested && self.window.has_no_failures()
    }
}

impl Partition {
    /// How what a recipient names stands at `now`.
    pub fn wellness(&self, endpoint: &Endpoint, now: Time) -> Wellness {
        self.endpoints.standing(endpoint, now)
    }

    /// Whether a call that came through is worth being told: something of the endpoint failed lately.
    pub fn is_watched(&self, endpoint: &Endpoint) -> bool {
        [endpoint.host, endpoint.url].iter().any(|key| self.endpoints.held.get(key, self.now).is_some())
    }
}
