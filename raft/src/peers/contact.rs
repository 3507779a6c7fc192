//! Which peers can be reached: one line when one is lost, one when it is back, and at most one a minute between.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::seldom::MINUTE;

/// Most lines a minute that say of one peer that it was lost anew; each is followed by one that says that it is back.
const LOSSES: u32 = 3;

/// What is known of every peer that was tried.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    peers: Mutex<BTreeMap<u64, Contact>>,
}

#[derive(Debug, Default)]
struct Contact {
    /// Since when it cannot be reached, and the newest reason.
    lost: Option<(Instant, String)>,
    /// When a line last said that it is lost.
    said: Option<Instant>,
    /// From when, and how often, lines said that it was lost anew.
    anew: Option<(Instant, u32)>,
    /// That line has no line yet that says that the peer is back.
    owed: bool,
    /// Failures since then that had no line.
    left_out: u64,
}

/// A line that has to be written.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Lost { left_out: u64 },
    StillLost { seconds: u64, left_out: u64 },
    Back { seconds: u64 },
}

impl Contacts {
    /// It could not be reached, or its connection broke.
    pub(super) fn lost(&self, node: u64, why: &str, now: Instant) {
        let line = self.peers.lock().entry(node).or_default().lose(why, now);
        match line {
            Some(Line::StillLost { seconds, left_out }) => {
                tracing::warn!(node, why, seconds, left_out, "a peer still cannot be reached");
            }
            Some(_) => tracing::warn!(node, why, "a peer is lost"),
            None => {}
        }
    }

    /// It was reached.
    pub(super) fn reached(&self, node: u64, now: Instant) {
        let line = self.peers.lock().entry(node).or_default().find(now);
        if let Some(Line::Back { seconds }) = line {
            tracing::info!(node, seconds, "a peer is back");
        }
    }

    /// The newest error of every peer that cannot be reached now.
    pub(super) fn trouble(&self) -> BTreeMap<u64, String> {
        let peers = self.peers.lock();
        peers.iter().filter_map(|(node, contact)| Some((*node, contact.lost.as_ref()?.1.clone()))).collect()
    }

    /// Forgets whoever `stays` is not true of.
    pub(super) fn retain(&self, stays: impl Fn(u64) -> bool) {
        self.peers.lock().retain(|node, _| stays(*node));
    }
}

impl Contact {
    fn lose(&mut self, why: &str, now: Instant) -> Option<Line> {
        let before = self.lost.take().map(|(since, _)| since);
        let since = before.unwrap_or(now);
        self.lost = Some((since, why.to_owned()));
        let may = match before {
            Some(_) => self.said.is_none_or(|said| now.duration_since(said) >= MINUTE),
            None => self.may_be_lost_anew(now),
        };
        if !may {
            self.left_out += 1;
            return None;
        }
        (self.said, self.owed) = (Some(now), true);
        let left_out = std::mem::take(&mut self.left_out);
        Some(match before {
            None => Line::Lost { left_out },
            Some(since) => Line::StillLost { seconds: now.duration_since(since).as_secs(), left_out },
        })
    }

    /// A peer that comes and goes all the time is nearly as silent as one that stays away.
    fn may_be_lost_anew(&mut self, now: Instant) -> bool {
        let (since, times) = self.anew.filter(|(since, _)| now.duration_since(*since) < MINUTE).unwrap_or((now, 0));
        self.anew = Some((since, times.saturating_add(1)));
        times < LOSSES
    }

    fn find(&mut self, now: Instant) -> Option<Line> {
        let (since, _) = self.lost.take()?;
        let seconds = now.duration_since(since).as_secs();
        std::mem::take(&mut self.owed).then_some(Line::Back { seconds })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_that_is_away_for_ten_minutes_makes_one_line_a_minute_and_one_when_it_is_back() {
        let (mut contact, start) = (Contact::default(), Instant::now());
        // As often as replication tries.
        let lines = (0..3_000).filter_map(|n| contact.lose("refused", start + Duration::from_millis(200 * n)));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0], Line::Lost { left_out: 0 });
        assert_eq!(lines[1], Line::StillLost { seconds: 60, left_out: 299 });
        assert_eq!(contact.find(start + Duration::from_secs(600)), Some(Line::Back { seconds: 600 }));
        assert_eq!(contact.find(start + Duration::from_secs(601)), None, "it is not back twice");
    }

    #[test]
    fn a_peer_that_comes_and_goes_makes_no_more_lines_than_that() {
        let (mut contact, start) = (Contact::default(), Instant::now());
        let mut lines = Vec::new();
        for n in 0..600 {
            let now = start + Duration::from_millis(1_000 * n);
            lines.extend(contact.lose("broke", now));
            lines.extend(contact.find(now));
        }
        // In ten minutes: three losses a minute, and three returns.
        assert_eq!(lines.len(), 60, "{lines:?}");
        assert_eq!(lines.last(), Some(&Line::Back { seconds: 0 }));
    }

    #[test]
    fn a_peer_that_is_lost_again_soon_after_it_came_back_has_a_line_for_it() {
        let (mut contact, start) = (Contact::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(contact.lose("refused", at(0)), Some(Line::Lost { left_out: 0 }));
        assert_eq!(contact.find(at(5)), Some(Line::Back { seconds: 5 }));
        assert_eq!(contact.lose("frozen", at(14)), Some(Line::Lost { left_out: 0 }));
        assert_eq!(contact.lose("frozen", at(20)), None);
        assert_eq!(contact.find(at(30)), Some(Line::Back { seconds: 16 }));
    }

    #[test]
    fn the_newest_reason_stands_until_the_peer_is_reached() {
        let (contacts, now) = (Contacts::default(), Instant::now());
        contacts.lost(2, "refused", now);
        contacts.lost(2, "another secret", now);
        contacts.lost(3, "timed out", now);
        contacts.reached(3, now);
        assert_eq!(contacts.trouble(), BTreeMap::from([(2, "another secret".to_owned())]));
        contacts.retain(|node| node != 2);
        assert!(contacts.trouble().is_empty());
    }
}
