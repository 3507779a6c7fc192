//! Letters whose turn it was and whose URL or host holds all the places it may: they step aside for others.

use std::collections::{BTreeMap, VecDeque};

use tidings_machine::partition::Endpoint;
use tokio::time::Instant;

use crate::work::Letter;

/// Letters by endpoint. Endpoints take turns, one letter each. Bounded by tickets.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    rows: BTreeMap<Endpoint, Row>,
    /// Every endpoint that has letters, once, the next one first.
    turns: VecDeque<Endpoint>,
    len: usize,
}

/// The letters of one endpoint.
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

    /// Whether there are letters of that endpoint.
    pub(crate) fn holds(&self, endpoint: &Endpoint) -> bool {
        self.rows.contains_key(endpoint)
    }

    /// Puts a letter behind those of its endpoint.
    pub(crate) fn push(&mut self, endpoint: Endpoint, letter: Letter) {
        let turns = &mut self.turns;
        let row = self.rows.entry(endpoint).or_insert_with(|| {
            turns.push_back(endpoint);
            Row { letters: VecDeque::new(), since: Instant::now() }
        });
        row.letters.push_back(letter);
        self.len += 1;
    }

    /// The next letter of a endpoint that is allowed a place.
    pub(crate) fn pop(&mut self, allowed: impl Fn(&Endpoint) -> bool) -> Option<Letter> {
        for _ in 0..self.turns.len() {
            let endpoint = self.turns.pop_front()?;
            if !allowed(&endpoint) {
                self.turns.push_back(endpoint);
                continue;
            }
            let row = self.rows.get_mut(&endpoint)?;
            let letter = row.letters.pop_front();
            row.since = Instant::now();
            if row.letters.is_empty() {
                self.rows.remove(&endpoint);
            } else {
                self.turns.push_back(endpoint);
            }
            self.len -= usize::from(letter.is_some());
            return letter;
        }
        None
    }

    /// Takes out what endpoints that are `stuck` have beyond so many letters each and so many in all, the last ones; never one whose
    /// attempt is claimed. An endpoint is stuck by its name and since when none of its letters went on.
    pub(crate) fn send_home(
        &mut self,
        (each, mut all): (usize, usize),
        stuck: impl Fn(&Endpoint, Instant) -> bool,
    ) -> Vec<(Endpoint, Letter)> {
        let mut home = Vec::new();
        for endpoint in &self.turns {
            let Some(row) = self.rows.get_mut(endpoint).filter(|row| stuck(endpoint, row.since)) else { continue };
            let kept = each.min(all).min(row.letters.len());
            all -= kept;
            let (begun, rest): (VecDeque<_>, _) = row.letters.drain(kept..).partition(|letter| letter.begun);
            row.letters.extend(begun);
            home.extend(rest.into_iter().map(|letter: Letter| (*endpoint, letter)));
        }
        self.len -= home.len();
        self.forget_empty();
        home
    }

    /// Keeps only those that `keep`s.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Letter) -> bool) {
        for row in self.rows.values_mut() {
            row.letters.retain(&keep);
        }
        self.forget_empty();
        self.len = self.rows.values().map(|row| row.letters.len()).sum();
    }

    fn forget_empty(&mut self) {
        self.rows.retain(|_, row| !row.letters.is_empty());
        self.turns.retain(|endpoint| self.rows.contains_key(endpoint));
    }
}
