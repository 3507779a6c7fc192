//! Where letters wait for permits of one subject. Small: those who would wait long wait in the state instead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::Time;
use tidings_machine::partition::{life_ms, margin_ms};

use crate::lanes::Lanes;
use crate::limited::{Permit, Subject};
use crate::work::Letter;

/// A wait longer than this is waited in the state, in milliseconds.
const LONG_MS: u64 = 1_000;
/// The shortest wait before a home is asked again that said when, in milliseconds.
const SOONEST_MS: u64 = 5;
/// Permits that live shorter than this are not settled, in milliseconds: the way to the home takes about as long.
const SETTLES_MS: u64 = 100;
/// The longest time a letter is sent home for, in milliseconds: the limit may be raised meanwhile.
pub(crate) const HOME_MS: u64 = 60_000;

/// The letters that wait for one subject, and the permits there are.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) subject: Arc<Subject>,
    /// Permits that nobody has taken.
    permits: VecDeque<(Permit, u32)>,
    /// When it is worth asking for more.
    pub(crate) again: Option<Time>,
    /// Since when the subject's home is being asked.
    pub(crate) asked: Option<Time>,
    /// Whether somebody will look again by itself.
    pub(crate) looked: bool,
    /// Whether permits that nobody takes will be given back by themselves.
    pub(crate) halved: bool,
    /// Letters that wait elsewhere and will want a permit of this subject too.
    pub(crate) expected: u32,
    pub(crate) waiting: Lanes<Letter>,
    /// Leases whose home should hear when they were used.
    lent: Vec<Lent>,
    /// When the letter that was sent home last comes back.
    turn: Time,
    /// Before when those who wait could have no permit, as the home said when it granted less than was wanted; `None` while
    /// they only wait for its answer.
    pub(crate) short: Option<Time>,
    /// The same of a lease that was not given out yet: whoever gets a permit of it did not wait because of it.
    granted: Option<Option<Time>>,
}

/// A lease of which not all was used yet.
#[derive(Clone, Copy, Debug)]
struct Lent {
    permit: Permit,
    /// Permits that somebody may still use.
    open: u32,
    used: u32,
}

impl Room {
    pub(crate) fn new(subject: Arc<Subject>) -> Self {
        Self {
            subject,
            permits: VecDeque::new(),
            again: None,
            asked: None,
            looked: false,
            halved: false,
            expected: 0,
            waiting: Lanes::default(),
            lent: Vec::new(),
            turn: Time(0),
            short: None,
            granted: None,
        }
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_idle(&self) -> bool {
        let quiet = self.waiting.is_empty() && self.permits.is_empty() && self.lent.is_empty();
        quiet && self.asked.is_none() && !self.looked && !self.halved
    }

    /// Forgets leases that lapsed; gives when the last of the others lapses.
    pub(crate) fn lent_until(&mut self, now: Time) -> Option<Time> {
        self.lent.retain(|lent| now < lent.permit.until);
        self.lent.iter().map(|lent| lent.permit.until).max()
    }

    /// Permits were used, or are given back unused. Gives what its home should hear, once nothing of the lease is open: when
    /// it would have lapsed, and how many were used.
    pub(crate) fn closes(&mut self, permit: Permit, count: u32, used: bool) -> Option<(Time, u32)> {
        let at = self.lent.iter().position(|lent| lent.permit == permit)?;
        let lent = &mut self.lent[at];
        lent.open = lent.open.saturating_sub(count);
        lent.used += if used { count } else { 0 };
        if lent.open > 0 {
            return None;
        }
        let Lent { permit, used, .. } = self.lent.swap_remove(at);
        (used > 0).then_some((permit.lapses, used))
    }

    /// How much sooner than its home said there may be permits again, in milliseconds: as soon as what is lent was used, the
    /// home hears of it.
    pub(crate) fn sooner_ms(&self) -> u64 {
        if self.lent.is_empty() { 0 } else { life_ms(&self.subject.windows) }
    }

    /// How many permits there are at `now`.
    pub(crate) fn free(&mut self, now: Time) -> u32 {
        self.permits.retain(|(permit, _)| now < permit.until);
        self.permits.iter().map(|(_, count)| *count).sum()
    }

    /// How long the permit lives on that lapses first, if there is one.
    pub(crate) fn rest(&self, now: Time) -> Option<Duration> {
        self.permits.front().map(|(permit, _)| permit.until.since(now))
    }

    /// How many permits there are that still hold at `then`.
    pub(crate) fn lasting(&self, then: Time) -> u32 {
        self.permits.iter().filter(|(permit, _)| then < permit.until).map(|(_, count)| *count).sum()
    }

    /// Takes one permit, the one that lapses first.
    pub(crate) fn take(&mut self, now: Time) -> Option<Permit> {
        self.permits.retain(|(permit, count)| now < permit.until && *count > 0);
        let (permit, count) = self.permits.front_mut()?;
        *count -= 1;
        let permit = *permit;
        self.permits.retain(|(_, count)| *count > 0);
        Some(permit)
    }

    /// Puts permits in that nobody needs yet.
    pub(crate) fn put(&mut self, permit: Permit, count: u32) {
        match self.permits.iter_mut().find(|(known, _)| *known == permit) {
            Some((_, known)) => *known = known.saturating_add(count),
            None if count > 0 => {
                let at = self.permits.partition_point(|(known, _)| known.until <= permit.until);
                self.permits.insert(at, (permit, count));
            }
            None => {}
        }
    }

    /// Takes out all permits.
    pub(crate) fn clear(&mut self) -> VecDeque<(Permit, u32)> {
        std::mem::take(&mut self.permits)
    }

    /// A lease that was asked for came at `now`. Its permits may be used for their life, counted from here: clocks that
    /// differ do not matter. Only a lease that was long on its way, longer than half the margin that its home counts, may
    /// have been granted long ago; then the home's own word counts, as far as it says less.
    pub(crate) fn lease(&mut self, count: u32, lapses: Time, again: Option<Time>, now: Time) {
        let asked = self.asked.take().unwrap_or(now);
        let windows = &self.subject.windows;
        let life_ms = life_ms(windows);
        let margin_ms = windows.iter().map(|window| margin_ms(window.window_ms)).min().unwrap_or(0);
        let until = now.after_ms(life_ms).min(asked.after_ms(margin_ms / 2 + life_ms).max(lapses));
        // Only who has used up what there was wants the next permits sooner.
        let settles = again.is_some() && life_ms >= SETTLES_MS;
        let permit = Permit { until, lapses, settles };
        if settles && count > 0 && now < until {
            self.lent.push(Lent { permit, open: count, used: 0 });
        }
        self.put(permit, count);
        // The same for the time to come back, which no clock that runs ahead makes a rush.
        let granted = Time(lapses.0.saturating_sub(life_ms));
        let soonest = now.after_ms(SOONEST_MS);
        self.again = again.map(|again| again.min(now.after(again.since(granted))).max(soonest));
        self.granted = Some(self.again);
    }

    /// Takes a letter in. If that is one too many, the last of the lowest lane goes home. An attempt that stands in the log
    /// already goes first and is never sent home, and so does one that holds other permits already. Gives the one that goes
    /// home, with when it is to come back.
    pub(crate) fn come_in(&mut self, letter: Letter, first: bool, most: usize, now: Time) -> Option<(Letter, Time)> {
        if first || letter.begun {
            self.waiting.push_first(letter);
            return None;
        }
        let place = letter.work.ticket.place();
        self.waiting.push(place.lane, place.flow, letter);
        if self.waiting.len() <= most {
            return None;
        }
        let spacing = self.subject.spacing_ms();
        let waiting = (most as u64).saturating_mul(spacing);
        let (soonest, latest) = (now.after_ms(waiting.min(HOME_MS / 2)), now.after_ms(HOME_MS));
        self.turn = self.turn.max(soonest).after_ms(spacing);
        if self.turn > latest {
            // Once more from the front: in every lap as many come back in any time as there will be permits.
            self.turn = soonest;
        }
        let turn = self.turn;
        self.waiting.pop_last().map(|letter| (letter, turn))
    }

    /// What there is was given out: whoever waits now waits for what the home said last.
    pub(crate) fn given_out(&mut self) {
        if let Some(again) = self.granted.take() {
            self.short = again;
        }
        self.short = self.short.filter(|_| !self.waiting.is_empty());
    }

    /// Takes out everybody who would wait long for `again`.
    pub(crate) fn send_home(&mut self, again: Time, now: Time) -> Vec<Letter> {
        let long = again > now.after_ms(LONG_MS);
        if long { self.waiting.drain(|letter| letter.begun) } else { Vec::new() }
    }
}
