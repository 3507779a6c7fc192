//! Where letters of one limited account wait for permits. Small: those who would wait long wait in the state instead.

use std::collections::VecDeque;

use tidings_contract::{AccountLimit, Time};

use crate::work::Letter;

/// A wait longer than this is waited in the state, in milliseconds.
const LONG_MS: u64 = 5_000;
/// The longest time a letter is sent home for, in milliseconds: the limit may be raised meanwhile.
const HOME_MS: u64 = 60_000;

/// The letters of one account that wait, and the permits there are.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) limit: AccountLimit,
    pub(crate) permits: u32,
    /// When the permits lapse.
    pub(crate) until: Time,
    /// When it is worth asking for more.
    pub(crate) again: Option<Time>,
    /// Whether the account's home is being asked.
    pub(crate) asked: bool,
    /// Whether somebody will look again by itself.
    pub(crate) looked: bool,
    lanes: [VecDeque<Letter>; 3],
    /// When the letter that was sent home last comes back.
    turn: Time,
}

impl Room {
    pub(crate) fn new(limit: AccountLimit) -> Self {
        Self {
            limit,
            permits: 0,
            until: Time(0),
            again: None,
            asked: false,
            looked: false,
            lanes: Default::default(),
            turn: Time(0),
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Takes a letter in. If that is one too many, the last of the last lane goes home. An attempt that stands in the log
    /// already goes first and is never sent home.
    pub(crate) fn come_in(&mut self, letter: Letter, most: usize, now: Time) {
        let lane = &mut self.lanes[letter.work.sheet.lane as usize];
        if letter.begun {
            lane.push_front(letter);
            return;
        }
        lane.push_back(letter);
        if self.len() > most {
            let last = self.lanes.iter_mut().rev().find_map(|lane| lane.pop_back_if(|letter| !letter.begun));
            let spacing = (self.limit.window_ms / u64::from(self.limit.permits.max(1))).max(1);
            let waiting = (most as u64).saturating_mul(spacing);
            let (soonest, latest) = (now.after_ms(waiting.min(HOME_MS / 2)), now.after_ms(HOME_MS));
            self.turn = self.turn.max(soonest).after_ms(spacing);
            if self.turn > latest {
                // Once more from the front: in every lap as many come back in any time as there will be permits.
                self.turn = soonest;
            }
            if let Some(letter) = last {
                letter.work.ticket.not_before(self.turn);
            }
        }
    }

    /// Lets out as many as there are permits, in the order of lane and arrival.
    pub(crate) fn let_out(&mut self, now: Time) -> Vec<Letter> {
        if now >= self.until {
            self.permits = 0;
        }
        let mut out = Vec::new();
        while self.permits > 0
            && let Some(letter) = self.lanes.iter_mut().find_map(VecDeque::pop_front)
        {
            self.permits -= 1;
            out.push(Letter { permit: Some(self.until), ..letter });
        }
        out
    }

    /// Sends everybody home who would wait long for `again`.
    pub(crate) fn send_home(&mut self, again: Time, now: Time) {
        if again > now.after_ms(LONG_MS) {
            for lane in &mut self.lanes {
                while let Some(letter) = lane.pop_back_if(|letter| !letter.begun) {
                    letter.work.ticket.not_before(again);
                }
            }
        }
    }
}
