//! How far another clock is from this node's elapsed time, from the four timestamps of one question and its answer.
//!
//! Everything is measured against the time that has elapsed on this machine, which never jumps. So a jump of this node's
//! wall clock moves one offset, its own, and not those of all its peers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many answers of a peer are kept.
const KEPT: usize = 8;
/// An answer that is older, in milliseconds, says nothing any more.
const STALE_MS: u64 = 10_000;

/// What a node reads off its clocks when a peer asks. All times in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Its wall clock when the question came.
    pub(crate) received: u64,
    /// Its wall clock when the answer left.
    pub(crate) sent: u64,
    /// What it takes for the present when the answer left.
    pub(crate) present: u64,
    /// Whether it knows the present; right after a start it does not.
    pub(crate) settled: bool,
}

/// What has to be added to this node's elapsed time to get another clock, in milliseconds: a value from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Offset {
    /// An offset that is known exactly.
    pub(crate) fn exact(offset: i64) -> Self {
        Self { low: offset, high: offset }
    }

    /// The best guess.
    pub(crate) fn middle(self) -> i64 {
        self.low + (self.high - self.low) / 2
    }

    /// The best guess of whoever has a guess of its own: that one, as long as nothing measured contradicts it.
    pub(crate) fn guess(self, own: i64) -> i64 {
        if (self.low..=self.high).contains(&own) { own } else { self.middle() }
    }

    /// How far the best guess may be wrong, in milliseconds: half the round trip.
    pub(crate) fn error(self) -> u64 {
        self.high.abs_diff(self.low).div_ceil(2)
    }

    /// How far two clocks are apart at least, in milliseconds, whatever the errors of both.
    pub(crate) fn gap(self, other: Self) -> u64 {
        let gap = self.low.saturating_sub(other.high).max(other.low.saturating_sub(self.high));
        u64::try_from(gap).unwrap_or(0)
    }

    fn meet(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }
}

/// One answer: this node's elapsed time when it came, and what it says of the peer's two clocks.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: u64,
    wall: Offset,
    present: Option<Offset>,
}

/// What is known of a peer's clocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerClock {
    answers: VecDeque<Answer>,
}

impl PeerClock {
    /// Takes an answer that was asked for at `asked` and came at `came`, both in this node's elapsed milliseconds.
    ///
    /// An answer in which the peer's wall clock went back, or on by more than the round trip, was caught in a jump: it
    /// says nothing.
    pub(crate) fn hear(&mut self, asked: u64, came: u64, reading: Reading) {
        let Reading { received, sent, present, settled } = reading;
        let (Some(there), Some(trip)) = (sent.checked_sub(received), came.checked_sub(asked)) else { return };
        if there > trip.saturating_add(1) {
            return;
        }
        // Both sides read whole milliseconds, so each reading may be short of up to one.
        let wall = Offset { low: signed(sent) - signed(came) - 1, high: signed(received) - signed(asked) + 1 };
        let running = Offset { low: signed(present) - signed(came) - 1, high: signed(present) - signed(asked) + 1 };
        if self.answers.len() == KEPT {
            self.answers.pop_back();
        }
        self.answers.push_front(Answer { at: came, wall, present: settled.then_some(running) });
    }

    /// Where the peer's wall clock is, if it answered lately.
    pub(crate) fn wall(&self, now: u64) -> Option<Offset> {
        narrowed(self.fresh(now).map(|answer| Some(answer.wall)))
    }

    /// Where the peer takes the present to be, if it answered lately and knows it.
    pub(crate) fn present(&self, now: u64) -> Option<Offset> {
        narrowed(self.fresh(now).map(|answer| answer.present))
    }

    fn fresh(&self, now: u64) -> impl Iterator<Item = &Answer> {
        self.answers.iter().take_while(move |answer| now.saturating_sub(answer.at) <= STALE_MS)
    }
}

/// What all answers agree on, from the newest back to the first that contradicts it: before that the clock jumped.
fn narrowed(newest_first: impl Iterator<Item = Option<Offset>>) -> Option<Offset> {
    let mut known: Option<Offset> = None;
    for offset in newest_first {
        let Some(offset) = offset else { break };
        match known.map_or(Some(offset), |known| known.meet(offset)) {
            Some(both) => known = Some(both),
            None => break,
        }
    }
    known
}

/// Milliseconds as a signed number; centuries fit.
pub(crate) fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: u64) -> Reading {
        Reading { received: wall, sent: wall, present: wall, settled: true }
    }

    #[test]
    fn an_offset_is_known_to_half_the_round_trip() {
        let cases = [
            ("no time on the way", 1_000, 1_000, 51_000, 50_000, 1),
            ("ten milliseconds there and back", 1_000, 1_010, 51_005, 50_000, 6),
            ("all of it on the way back", 1_000, 1_010, 51_000, 49_995, 6),
            ("a clock behind the elapsed time", 51_000, 51_000, 1_000, -50_000, 1),
        ];
        for (what, asked, came, wall, middle, error) in cases {
            let mut peer = PeerClock::default();
            peer.hear(asked, came, reading(wall));
            let offset = peer.wall(came).expect("it answered");
            assert_eq!((offset.middle(), offset.error()), (middle, error), "{what}");
            assert_eq!(peer.present(came), Some(offset), "{what}");
        }
    }

    #[test]
    fn quick_answers_make_slow_ones_more_exact() {
        let mut peer = PeerClock::default();
        peer.hear(1_000, 1_004, reading(51_002));
        peer.hear(2_000, 2_400, reading(52_399));
        let offset = peer.wall(2_400).expect("it answered");
        assert!(offset.error() <= 3, "{offset:?}");
        assert!(offset.low <= 50_000 && offset.high >= 50_000, "{offset:?}");
    }

    #[test]
    fn a_jump_is_seen_with_the_next_answer() {
        let mut peer = PeerClock::default();
        for second in 1..6 {
            peer.hear(second * 1_000, second * 1_000 + 2, reading(second * 1_000 + 1));
        }
        peer.hear(6_000, 6_002, reading(3_606_001));
        assert_eq!(peer.wall(6_002).expect("it answered").middle(), 3_600_000);
    }

    #[test]
    fn old_answers_and_answers_caught_in_a_jump_say_nothing() {
        let mut peer = PeerClock::default();
        peer.hear(1_000, 1_010, Reading { received: 5_000, sent: 4_000, present: 5_000, settled: true });
        peer.hear(1_000, 1_010, Reading { received: 5_000, sent: 3_605_000, present: 5_000, settled: true });
        assert_eq!(peer.wall(1_010), None);
        peer.hear(1_000, 1_010, reading(1_005));
        assert_eq!((peer.wall(11_010).is_some(), peer.wall(11_011)), (true, None));
    }

    #[test]
    fn a_node_that_does_not_know_the_present_yet_is_not_asked_for_it() {
        let mut peer = PeerClock::default();
        peer.hear(1_000, 1_010, Reading { settled: false, ..reading(1_005) });
        assert_eq!((peer.wall(1_010).is_some(), peer.present(1_010)), (true, None));
    }

    #[test]
    fn a_gap_is_what_is_left_beside_both_errors() {
        let (a, b) = (Offset { low: -10, high: 10 }, Offset { low: 500, high: 530 });
        assert_eq!((a.gap(b), b.gap(a), a.gap(a)), (490, 490, 0));
        assert_eq!(Offset::exact(5).gap(Offset::exact(-5)), 10);
    }
}
