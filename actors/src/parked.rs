//! Letters whose turn it was and whose host holds all the places it may: they step aside for others.

use std::collections::{BTreeMap, VecDeque};

use tidings_machine::partition::EndpointKey;
use tokio::time::Instant;

use crate::work::Letter;

/// Letters by host. Hosts take turns, one letter each. Bounded by tickets.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    hosts: BTreeMap<EndpointKey, Row>,
    /// Every host that has letters, once, the next one first.
    turns: VecDeque<EndpointKey>,
    len: usize,
}

/// The letters of one host.
#[derive(Debug)]
struct Row {
    letters: VecDeque<Letter>,
    /// When one of them went on, or the first one came.
    since: Instant,
}

impl Parked {
    /// How many letters there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there are letters of that host.
    pub(crate) fn holds(&self, host: &EndpointKey) -> bool {
        self.hosts.contains_key(host)
    }

    /// Puts a letter behind those of its host.
    pub(crate) fn push(&mut self, host: EndpointKey, letter: Letter) {
        let turns = &mut self.turns;
        let row = self.hosts.entry(host).or_insert_with(|| {
            turns.push_back(host);
            Row { letters: VecDeque::new(), since: Instant::now() }
        });
        row.letters.push_back(letter);
        self.len += 1;
    }

    /// The next letter of a host that is allowed a place.
    pub(crate) fn pop(&mut self, allowed: impl Fn(&EndpointKey) -> bool) -> Option<Letter> {
        for _ in 0..self.turns.len() {
            let host = self.turns.pop_front()?;
            if !allowed(&host) {
                self.turns.push_back(host);
                continue;
            }
            let row = self.hosts.get_mut(&host)?;
            let letter = row.letters.pop_front();
            row.since = Instant::now();
            if row.letters.is_empty() {
                self.hosts.remove(&host);
            } else {
                self.turns.push_back(host);
            }
            self.len -= usize::from(letter.is_some());
            return letter;
        }
        None
    }

    /// Takes out what hosts that are `stuck` have beyond so many letters each and so many in all, the last ones; never one whose
    /// attempt is claimed. A host is stuck by its name and since when none of its letters went on.
    pub(crate) fn send_home(
        &mut self,
        (each, mut all): (usize, usize),
        stuck: impl Fn(&EndpointKey, Instant) -> bool,
    ) -> Vec<(EndpointKey, Letter)> {
        let mut home = Vec::new();
        for host in &self.turns {
            let Some(row) = self.hosts.get_mut(host).filter(|row| stuck(host, row.since)) else { continue };
            let kept = each.min(all).min(row.letters.len());
            all -= kept;
            let (begun, rest): (VecDeque<_>, _) = row.letters.drain(kept..).partition(|letter| letter.begun);
            row.letters.extend(begun);
            home.extend(rest.into_iter().map(|letter: Letter| (*host, letter)));
        }
        self.len -= home.len();
        self.forget_empty();
        home
    }

    /// Keeps only those that `keep`s.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Letter) -> bool) {
        for row in self.hosts.values_mut() {
            row.letters.retain(&keep);
        }
        self.forget_empty();
        self.len = self.hosts.values().map(|row| row.letters.len()).sum();
    }

    fn forget_empty(&mut self) {
        self.hosts.retain(|_, row| !row.letters.is_empty());
        self.turns.retain(|host| self.hosts.contains_key(host));
    }
}
