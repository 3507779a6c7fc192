//! The rate limiter: borrows permits of subjects from their homes and hands them out in order. Whatever is not used before
//! a lease lapses is given back or not used at all, so the limit is the cluster's.
//!
//! A letter that several subjects limit waits in the room of one that has no permit for it, and holds none of the others
//! unless the last one is about to come: nobody burns what others could use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{PartitionId, Time};
use tidings_machine::partition::{Answer, Borrow, Command, GiveBack, Settle};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::LedgerError;
use crate::limited::{Held, Permit, Subject, Used};
use crate::room::{HOME_MS, Room};
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::waiting;
use crate::work::Letter;

/// The shortest and the longest wait before a subject is looked at again.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));
/// How long to wait before asking a home again that could not be reached, in milliseconds.
const ASK_AGAIN_MS: u64 = 200;
/// What a lease may take on its way, in milliseconds: permits that lapse sooner are asked for anew together with others.
const TRIP_MS: u64 = 50;
/// With more rooms than this, who waits is counted once in so many messages.
const COUNTED: usize = 64;
/// Most leases asked for in one proposal.
const BATCH: usize = 256;

/// What the rate limiter is told.
#[derive(Debug)]
pub(crate) enum RateLimiterMsg {
    /// Letters that have limits.
    Letters(Vec<Letter>),
    /// A home answered about these subjects.
    Leased { names: Vec<Arc<str>>, answer: Result<Vec<Answer>, LedgerError> },
    /// Permits that were taken and are not needed after all.
    Unused(Vec<Held>),
    /// Permits that were used for calls that have ended.
    Used(Vec<Used>),
    /// The home heard what was used of a subject: when it has permits again.
    Settled { name: Arc<str>, again: Time },
    /// It is worth looking at the subject again.
    Look(Arc<str>),
    /// Half of the life of some permits is over.
    HalfTime(Arc<str>),
}

/// The actor.
#[derive(Debug)]
pub(crate) struct RateLimiter;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Limiting {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    rooms: HashMap<Arc<str>, Room>,
    /// Subjects whose homes are to be asked when this message is done with.
    to_ask: Vec<Arc<str>>,
    /// Questions to homes and waits; aborted when the actor dies.
    asking: JoinSet<()>,
    /// Messages so far.
    turns: usize,
}

#[async_trait::async_trait]
impl Actor for RateLimiter {
    type Msg = RateLimiterMsg;
    type State = Limiting;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<RateLimiterMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Limiting, ActorProcessingErr> {
        board.rate_limiter.move_in(myself);
        Ok(Limiting { board, gauge, rooms: HashMap::new(), to_ask: Vec::new(), asking: JoinSet::new(), turns: 0 })
    }

    async fn handle(
        &self,
        myself: ActorRef<RateLimiterMsg>,
        message: RateLimiterMsg,
        state: &mut Limiting,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        let touched = match message {
            RateLimiterMsg::Letters(letters) => state.receive(letters),
            RateLimiterMsg::Leased { names, answer } => {
                state.leased(&names, answer);
                names
            }
            RateLimiterMsg::Unused(unused) => state.take_back(unused),
            RateLimiterMsg::Used(used) => state.used(used, &myself),
            RateLimiterMsg::Settled { name, again } => state.settled(name, again),
            RateLimiterMsg::Look(name) => {
                if let Some(room) = state.rooms.get_mut(&name) {
                    room.looked = false;
                }
                vec![name]
            }
            RateLimiterMsg::HalfTime(name) => {
                state.give_back(&name, &myself);
                vec![name]
            }
        };
        state.serve(touched, &myself);
        state.ask(&myself);
        // Where every recipient has a room they are many; the figure may be a little old then.
        state.turns = state.turns.wrapping_add(1);
        if state.rooms.len() < COUNTED || state.turns.is_multiple_of(COUNTED) {
            let waiting = state.rooms.values().map(|room| room.waiting.len()).sum();
            state.gauge.set(waiting, state.asking.len());
        }
        Ok(())
    }
}

impl Limiting {
    fn room(&mut self, subject: &Arc<Subject>) -> &mut Room {
        let room = self.rooms.entry(Arc::clone(&subject.name)).or_insert_with(|| Room::new(Arc::clone(subject)));
        if !Arc::ptr_eq(&room.subject, subject) && room.subject != *subject {
            room.subject = Arc::clone(subject);
            // A limit that was raised may have room at once.
            room.again = None;
        }
        room
    }

    /// Takes letters in; gives the subjects for which somebody waits.
    fn receive(&mut self, letters: Vec<Letter>) -> Vec<Arc<str>> {
        let mut touched = Vec::new();
        let mut ready = Vec::new();
        for letter in letters {
            if !self.board.is_stopping() || letter.begun {
                ready.extend(self.advance(letter, None, &mut touched));
            }
        }
        self.board.to_senders(ready);
        touched
    }

    /// Gives the letter whatever permits there are for it; gives it back if it has all of them. Otherwise it waits for one of
    /// those that are missing. `at` is the subject whose turn it is to be given out, and that it waited for.
    fn advance(&mut self, mut letter: Letter, at: Option<&Arc<str>>, touched: &mut Vec<Arc<str>>) -> Option<Letter> {
        let now = self.board.now();
        let most = self.board.parts.settings.waiting_for_permits;
        let mut missing = None;
        for held in letter.limits.iter().filter(|held| !held.holds(now)) {
            let turn = at == Some(&held.subject.name) || letter.begun;
            let room = self.room(&held.subject);
            if room.free(now) == 0 || !(turn || room.waiting.is_empty()) {
                // Where it would wait longest it waits.
                let wait = (room.again.filter(|again| *again > now), room.waiting.len());
                if missing.as_ref().is_none_or(|(longest, _)| wait > *longest) {
                    missing = Some((wait, Arc::clone(&held.subject)));
                }
            }
        }
        let Some(((again, _), subject)) = missing else {
            for held in letter.limits.iter_mut().filter(|held| !held.holds(now)) {
                held.shared = None;
                held.permit = self.rooms.get_mut(&held.subject.name).and_then(|room| room.take(now));
            }
            return Some(letter);
        };
        // It may have come to its turn for one while another is missing: what comes soon is worth holding that one for.
        let first = at.is_some_and(|at| self.hold(&mut letter, at, again, now));
        if !first {
            self.let_go(&mut letter, now, touched);
        }
        let room = self.room(&subject);
        let short = room.short;
        if let Some((last, back)) = room.come_in(letter, first, most, now) {
            waiting::go_home(&self.board, &subject, last, short, back);
        }
        touched.push(Arc::clone(&subject.name));
        None
    }

    /// Takes the permit of `at` for a letter that waits for another one, if that comes before this lapses.
    fn hold(&mut self, letter: &mut Letter, at: &Arc<str>, again: Option<Time>, now: Time) -> bool {
        let Some(held) = letter.limits.iter_mut().find(|held| held.subject.name == *at) else { return false };
        if !held.holds(now) {
            let Some(room) = self.rooms.get_mut(at) else { return false };
            held.shared = None;
            held.permit = room.take(now);
        }
        held.permit.is_some_and(|permit| again.is_none_or(|again| again < permit.until))
    }

    /// Gives back the permits that a letter would hold in vain.
    fn let_go(&mut self, letter: &mut Letter, now: Time, touched: &mut Vec<Arc<str>>) {
        for held in &mut letter.limits {
            if let Some(permit) = held.let_go().filter(|permit| now < permit.until) {
                self.room(&held.subject).put(permit, 1);
                touched.push(Arc::clone(&held.subject.name));
            }
        }
    }

    fn leased(&mut self, names: &[Arc<str>], answer: Result<Vec<Answer>, LedgerError>) {
        let now = self.board.now();
        let answers = answer.unwrap_or_else(|error| {
            tracing::debug!(%error, "no permits could be leased");
            Vec::new()
        });
        let partitions = self.board.partitions();
        for (at, name) in names.iter().enumerate() {
            let Some(room) = self.rooms.get_mut(name) else { continue };
            match answers.get(at) {
                Some(Answer::Leased { permits, until, again }) => {
                    let home = room.subject.home(partitions);
                    let again = again.map(|again| self.board.by_present(home, again));
                    let none = *permits == 0 && again.is_none();
                    room.lease(*permits, *until, if none { Some(now.after_ms(ASK_AGAIN_MS)) } else { again }, now);
                }
                _ => {
                    room.asked = None;
                    room.again = Some(now.after_ms(ASK_AGAIN_MS));
                }
            }
        }
    }

    /// Gives out what there is, and asks for more where somebody still waits.
    fn serve(&mut self, mut touched: Vec<Arc<str>>, myself: &ActorRef<RateLimiterMsg>) {
        let now = self.board.now();
        let mut ready = Vec::new();
        while let Some(name) = touched.pop() {
            while let Some(room) = self.rooms.get_mut(&name)
                && room.free(now) > 0
                && let Some(mut letter) = room.waiting.pop()
            {
                if let Some(until) = room.short {
                    waiting::note(&self.board, &room.subject, &mut letter, until);
                }
                if let Some(letter) = self.advance(letter, Some(&name), &mut touched) {
                    ready.extend(self.with_company(&name, letter));
                }
            }
            self.settle(&name, now, &mut touched, myself);
        }
        self.board.to_senders(ready);
    }

    /// A letter that needs one permit for its call takes others along that fit into the call.
    fn with_company(&mut self, name: &Arc<str>, mut letter: Letter) -> Vec<Letter> {
        let load = self.board.load_of(&letter.account_name);
        let Some(room) = self.rooms.get_mut(name) else { return vec![letter] };
        if load < 2 || !letter.limits.iter().all(Held::is_by_request) {
            return vec![letter];
        }
        for held in &mut letter.limits {
            held.shared = Some(Arc::default());
        }
        let place = letter.work.ticket.place();
        let mut company = vec![letter];
        while company.len() < load
            && let Some(next) = room.waiting.pop_of(place.lane, place.flow, |next| same_limits(&company[0], next))
        {
            let limits = company[0].limits.clone();
            let mut next = Letter { limits, ..next };
            if let Some(until) = room.short {
                waiting::note(&self.board, &room.subject, &mut next, until);
            }
            company.push(next);
        }
        company
    }

    /// Sees to it that whoever waits for a subject is looked after.
    fn settle(&mut self, name: &Arc<str>, now: Time, touched: &mut Vec<Arc<str>>, myself: &ActorRef<RateLimiterMsg>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let free = room.free(now);
        let lent = room.lent_until(now);
        room.given_out();
        if room.is_idle() {
            self.rooms.remove(name);
            return;
        }
        if let Some(until) = lent.filter(|_| room.waiting.is_empty() && !room.looked) {
            room.looked = true;
            self.later(until.since(now), RateLimiterMsg::Look(Arc::clone(name)), myself);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(rest) = room.rest(now).filter(|_| free > 0 && !room.halved) {
            room.halved = true;
            self.later(rest / 2, RateLimiterMsg::HalfTime(Arc::clone(name)), myself);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.waiting.is_empty() || room.asked.is_some() {
            return;
        }
        match room.again.filter(|again| *again > now) {
            None => self.will_ask(name, now),
            Some(again) => {
                let (home, subject) = (room.send_home(again, now), Arc::clone(&room.subject));
                // Whoever comes a little early asks once more, and hears what was settled meanwhile. Not where there are further
                // limits: their homes would be asked in vain.
                let sooner = Time(again.0.saturating_sub(room.sooner_ms()));
                if !room.looked && !room.waiting.is_empty() {
                    room.looked = true;
                    let wait = again.since(now).clamp(LOOK.0, LOOK.1);
                    self.later(wait, RateLimiterMsg::Look(Arc::clone(name)), myself);
                }
                for mut letter in home {
                    self.let_go(&mut letter, now, touched);
                    let back = if letter.limits.len() == 1 { sooner } else { again };
                    waiting::go_home(&self.board, &subject, letter, Some(again), back.min(now.after_ms(HOME_MS)));
                }
            }
        }
    }

    /// Notes that a home is to be asked, and with it those of other subjects that the same letters want: their permits are
    /// to come at the same time.
    fn will_ask(&mut self, name: &Arc<str>, now: Time) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.asked = Some(now);
        self.to_ask.push(Arc::clone(name));
        let most = usize::try_from(room.subject.most()).unwrap_or(usize::MAX);
        let then = now.after_ms(TRIP_MS);
        let letters = room.waiting.iter().take(most);
        let others = letters.flat_map(|letter| &letter.limits);
        let others = others.filter(|held| held.subject.name != *name && !held.holds(then));
        let mut wanted: BTreeMap<Arc<str>, (Arc<Subject>, u32)> = BTreeMap::new();
        for held in others {
            let known = wanted.entry(Arc::clone(&held.subject.name));
            known.or_insert_with(|| (Arc::clone(&held.subject), 0)).1 += 1;
        }
        for (subject, count) in wanted.into_values() {
            let room = self.room(&subject);
            room.expected = room.expected.saturating_add(count).min(room.subject.most());
            let wanted = room.expected > room.lasting(then);
            if wanted && room.asked.is_none() && room.again.is_none_or(|again| again <= now) {
                room.asked = Some(now);
                self.to_ask.push(Arc::clone(&subject.name));
            }
        }
    }

    /// Asks the homes, each once for all of its subjects.
    fn ask(&mut self, myself: &ActorRef<RateLimiterMsg>) {
        if self.to_ask.is_empty() {
            return;
        }
        let partitions = self.board.partitions();
        let node = self.board.parts.ledger.node();
        let mut homes: BTreeMap<PartitionId, Vec<(Arc<str>, Command)>> = BTreeMap::new();
        for name in std::mem::take(&mut self.to_ask) {
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            // Where a permit is enough for a call, the calls are counted.
            let first = room.waiting.iter().next().filter(|letter| letter.limits.iter().all(Held::is_by_request));
            let load = first.map_or(1, |letter| self.board.load_of(&letter.account_name));
            let calls = room.waiting.len().div_ceil(load);
            let wanted = u32::try_from(calls).unwrap_or(u32::MAX).saturating_add(room.expected);
            room.expected = 0;
            let want = wanted.clamp(1, room.subject.most());
            let (subject, windows) = (name.to_string(), room.subject.windows.clone());
            let borrow = Command::Borrow(Borrow { subject, windows, want, node });
            homes.entry(room.subject.home(partitions)).or_default().push((name, borrow));
        }
        for (home, mut borrows) in homes {
            while !borrows.is_empty() {
                let rest = borrows.split_off(borrows.len().min(BATCH));
                let (names, commands) = std::mem::replace(&mut borrows, rest).into_iter().unzip();
                self.propose(home, names, commands, myself);
            }
        }
    }

    fn propose(
        &mut self,
        home: PartitionId,
        names: Vec<Arc<str>>,
        commands: Vec<Command>,
        myself: &ActorRef<RateLimiterMsg>,
    ) {
        let (board, myself) = (Arc::clone(&self.board), myself.clone());
        self.asking.spawn(async move {
            let answer = board.parts.ledger.propose(home, commands).await;
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(RateLimiterMsg::Leased { names, answer });
        });
    }

    /// Takes permits back that a call did not need; gives the subjects.
    fn take_back(&mut self, unused: Vec<Held>) -> Vec<Arc<str>> {
        let now = self.board.now();
        let mut touched = Vec::with_capacity(unused.len());
        for Held { subject, permit, .. } in unused {
            if let Some(permit) = permit.filter(|permit| now < permit.until) {
                self.room(&subject).put(permit, 1);
                if !touched.contains(&subject.name) {
                    touched.push(Arc::clone(&subject.name));
                }
            }
        }
        touched
    }

    /// Permits were used; whoever used up a lease has its home hear of it.
    fn used(&mut self, used: Vec<Used>, myself: &ActorRef<RateLimiterMsg>) -> Vec<Arc<str>> {
        let mut touched = Vec::with_capacity(used.len());
        for Used { name, permit, count } in used {
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            if let Some(closed) = room.closes(permit, count, true) {
                self.settle_home(&name, closed, myself);
            }
            touched.push(name);
        }
        touched
    }

    /// Tells a home that permits were used before they lapsed. Told once: whether or not it is kept, they are used.
    fn settle_home(&mut self, name: &Arc<str>, (until, permits): (Time, u32), myself: &ActorRef<RateLimiterMsg>) {
        let partitions = self.board.partitions();
        let Some(room) = self.rooms.get(name) else { return };
        let (subject, windows) = (name.to_string(), room.subject.windows.clone());
        let settle = Command::Settle(Settle { subject, windows, until, permits });
        let (board, home, name) = (Arc::clone(&self.board), room.subject.home(partitions), Arc::clone(name));
        let myself = myself.clone();
        self.asking.spawn(async move {
            let answer = board.parts.ledger.propose(home, vec![settle]).await;
            if let Ok([Answer::Leased { again: Some(again), .. }]) = answer.as_deref() {
                // The actor aborts this when it dies, so it is there.
                let again = board.by_present(home, *again);
                let _ = myself.send_message(RateLimiterMsg::Settled { name, again });
            }
        });
    }

    /// What comes sooner than was said is waited for until then.
    fn settled(&mut self, name: Arc<str>, again: Time) -> Vec<Arc<str>> {
        let now = self.board.now();
        if let Some(room) = self.rooms.get_mut(&name)
            && room.again.is_some_and(|known| now < known && again < known)
        {
            room.again = Some(again);
        }
        vec![name]
    }

    /// Gives permits back to their home that nobody here has a use for. Asked once: whether or not it is kept, they are not
    /// used any more.
    fn give_back(&mut self, name: &Arc<str>, myself: &ActorRef<RateLimiterMsg>) {
        let now = self.board.now();
        let partitions = self.board.partitions();
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.halved = false;
        if !room.waiting.is_empty() {
            return;
        }
        room.expected = 0;
        let unused: Vec<(Permit, u32)> = room.clear().into_iter().filter(|(permit, _)| now < permit.until).collect();
        let home = room.subject.home(partitions);
        let closed: Vec<_> = unused.iter().filter_map(|(permit, count)| room.closes(*permit, *count, false)).collect();
        for closed in closed {
            self.settle_home(name, closed, myself);
        }
        let subject = name.to_string();
        let command = |(permit, permits): (Permit, u32)| {
            Command::GiveBack(GiveBack { subject: subject.clone(), until: permit.lapses, permits })
        };
        let commands: Vec<Command> = unused.into_iter().map(command).collect();
        if commands.is_empty() {
            return;
        }
        let board = Arc::clone(&self.board);
        self.asking.spawn(async move {
            // What is not kept lapses.
            let _ = board.parts.ledger.propose(home, commands).await;
        });
    }

    fn later(&mut self, wait: Duration, message: RateLimiterMsg, myself: &ActorRef<RateLimiterMsg>) {
        let myself = myself.clone();
        self.asking.spawn(async move {
            sleep(wait).await;
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(message);
        });
    }
}

/// Whether one call could carry both, as far as limits go.
fn same_limits(one: &Letter, other: &Letter) -> bool {
    let names = |letter: &Letter| letter.limits.iter().map(|held| Arc::clone(&held.subject.name)).collect::<Vec<_>>();
    one.account_name == other.account_name && names(one) == names(other)
}
