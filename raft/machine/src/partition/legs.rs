//! Further legs: whether a delivery may go on by one is decided where the leg's address is at home.
//!
//! The suppression list of an address and the slots of its caps live in the address' home partition, which is another one
//! than the delivery's as a rule. So the owner, before the first attempt on a further leg, asks that home; the home answers
//! by its own state and holds the slots; and the answer is recorded where the delivery lives. A lost word costs delay or, for
//! an hour, a slot too many that is taken, never one too few.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageType, Reason, Time, planted};

use super::failover::{Next, may_move};
use super::slots::{Look, Slots, fullest, mark};
use super::suppressions::SUPPRESSION_LIST;
use super::{Answer, Cap, CapKind, Delivery, Hint, LegHours, Partition, Record, Refusal, Sheet, State, What, WordRule};
use crate::Output;

/// How long a home holds the slots of a leg, in milliseconds. Whoever is still trying then asks again.
const HELD_MS: u64 = 3_600_000;
/// So long before that it is asked again, in milliseconds: longer than any call takes, and than clocks differ.
const AGAIN_MS: u64 = 600_000;

/// The rules of a further leg, selected by its own channel and template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRules {
    /// Its frequency caps.
    pub caps: Vec<Cap>,
    /// The dictionaries that look through its content.
    pub words: Vec<WordRule>,
    /// Its quiet hours; `None` where they are those of the first leg, as in sheets of older programs.
    #[serde(default)]
    pub hours: Option<LegHours>,
}

/// A leg that a rule keeps a delivery from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegBarred {
    /// The leg's channel.
    pub channel: String,
    /// The address there.
    pub to: String,
    /// The rule: `<kind>/<policy>@<version>` or `suppression_list`.
    pub rule: String,
    /// What the rule saw.
    pub detail: String,
}

/// A delivery on a further leg, as the home of its address is to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// The delivery.
    pub delivery: DeliveryId,
    /// When it came to the leg; tells its slots apart from those of its other legs.
    pub since: Time,
    /// The leg's channel.
    pub channel: String,
    /// The address, normalised.
    pub to: String,
    /// What the message is for.
    pub message_type: MessageType,
    /// The leg's frequency caps.
    pub caps: Vec<Cap>,
    /// Somebody asked for this very delivery: its caps do not hold it up, but it takes its slots.
    pub wished: bool,
}

/// What the home of a leg's address says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegWord {
    /// It may go on there; its slots are held until then.
    Open {
        /// By the home's clock.
        until: Time,
    },
    /// A rule says no.
    Barred {
        /// The rule.
        rule: String,
        /// What the rule saw.
        detail: String,
    },
}

/// What can be asked about further legs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum LegCommand {
    /// The owner asks the home of the address; the same again gives the same. Answered by `Leg`.
    Ask(Box<Passage>),
    /// The owner tells the home that the delivery left the leg. Answered by `Done`.
    Leave {
        /// The delivery on that leg.
        passage: Box<Passage>,
        /// Whether it was taken there, or may have been: then its slots stay.
        taken: bool,
    },
    /// The owner brings the home's word to where the delivery lives. Answered by `Done` or `Refused`.
    Enter {
        /// The delivery.
        delivery: DeliveryId,
        /// The epoch in which the owner took the delivery up.
        epoch: u64,
        /// Which leg, from 1.
        leg: u8,
        /// The word.
        word: LegWord,
    },
}

impl Delivery {
    /// What the home of the present leg's address is to be asked before an attempt at `now`; `None` where it was asked, and
    /// on the first leg.
    pub fn to_ask(&self, sheet: &Sheet, now: Time) -> Option<Passage> {
        let course = self.course.as_ref().filter(|course| course.leg > 0 && !planted("leg_not_asked"))?;
        let passage = self.passage(sheet)?;
        let held = |until: Time| passage.caps.is_empty() || now.after_ms(AGAIN_MS) < until;
        course.open_until.is_none_or(|until| !held(until)).then_some(passage)
    }

    fn passage(&self, sheet: &Sheet) -> Option<Passage> {
        let course = self.course.as_ref().filter(|course| course.leg > 0)?;
        Some(Passage {
            delivery: self.id,
            since: course.began?,
            channel: sheet.leg(course.leg).channel.to_owned(),
            to: self.address().to_owned(),
            message_type: sheet.message_type,
            caps: sheet.rules.of_leg(course.leg).map(|rules| rules.caps.clone()).unwrap_or_default(),
            wished: self.id.generation() > 0,
        })
    }
}

impl Partition {
    pub(super) fn leg(&mut self, command: LegCommand, out: &mut Output<Hint, Record>) -> Result<Answer, Refusal> {
        match command {
            LegCommand::Ask(passage) => Ok(Answer::Leg(self.ask_leg(&passage))),
            LegCommand::Leave { passage, taken } => {
                settle(&mut self.slots, &passage, taken, self.now);
                Ok(Answer::Done(State::Pending))
            }
            LegCommand::Enter { delivery, epoch, leg, word } => self.enter_leg((delivery, epoch, leg), word, out),
        }
    }

    /// At the home of the address: the suppression list, then the caps. The slots are taken if nothing is against it.
    fn ask_leg(&mut self, passage: &Passage) -> LegWord {
        let Passage { delivery, since, channel, to, caps, wished, .. } = passage;
        if let Some(entry) = self.suppressions.find(to, channel, self.now) {
            return LegWord::Barred { rule: SUPPRESSION_LIST.to_owned(), detail: entry.told() };
        }
        // Its own slots of an earlier question do not count against it.
        marks(passage).for_each(|(_, mark)| self.slots.release(mark, *since, *delivery));
        for (cap, mark) in marks(passage).filter(|_| !wished) {
            if let Err(detail) = self.room(cap, mark, self.now) {
                return LegWord::Barred { rule: cap.title.clone(), detail };
            }
        }
        let until = self.now.after_ms(HELD_MS);
        for (cap, mark) in caps.iter().zip(marks(passage).map(|(_, mark)| mark)) {
            self.slots.hold(mark, *since, *delivery, until, cap.longest_ms());
        }
        LegWord::Open { until }
    }

    /// What each window of a cap holds for one that leaves now, or else the one that has no room.
    pub(super) fn room(&self, cap: &Cap, mark: u64, now: Time) -> Result<String, String> {
        let mut near = Vec::new();
        let mut seen = Vec::new();
        let look = Look { leaves: now, now, leaving: None };
        for window in &cap.windows {
            near.clear();
            self.slots.near(mark, look, window.window_ms, &mut near);
            let count = fullest(&near, now, window.window_ms);
            let told = format!("{count} of {} within {} ms", window.most, window.window_ms);
            if count >= window.most {
                return Err(told);
            }
            seen.push(told);
        }
        Ok(seen.join(", "))
    }

    /// Where the delivery lives: it may be attempted on its leg, or goes on to the next one, or ends.
    fn enter_leg(
        &mut self,
        (id, epoch, leg): (DeliveryId, u64, u8),
        word: LegWord,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let now = self.now;
        let waiting = self.pending.get_mut(&id).ok_or(Refusal::NotPending)?;
        let sheet = self.sheets.get(&waiting.sheet).ok_or(Refusal::NotPending)?;
        if leg == 0 || waiting.delivery.leg() != leg || waiting.delivery.begun.is_some() {
            return Err(Refusal::Groundless);
        }
        let delivery = std::sync::Arc::make_mut(&mut waiting.delivery);
        let (rule, detail) = match word {
            LegWord::Open { until } => {
                delivery.course.get_or_insert_default().open_until = Some(until);
                return Ok(Answer::Done(State::Pending));
            }
            LegWord::Barred { rule, detail } => (rule, detail),
        };
        let next = bar(delivery, sheet, (rule, detail), now);
        self.go_on(id, String::new(), next, out)
    }
}

/// A rule keeps a delivery from its leg: a further one is passed over, if there is another and nothing may have been taken;
/// else the delivery ends.
pub(super) fn bar(delivery: &mut Delivery, sheet: &Sheet, (rule, detail): (String, String), now: Time) -> Next {
    let leg = delivery.leg();
    let (channel, to) = (sheet.leg(leg).channel.to_owned(), delivery.address().to_owned());
    if let Some(next) = delivery.next_leg(sheet).filter(|_| leg > 0 && may_move(delivery, sheet)) {
        let why = format!("{rule}: {detail}");
        delivery.note(now, What::LegBarred(LegBarred { channel, to, rule, detail }));
        return Next::Fall(next, why);
    }
    let code = match rule.split('/').next() {
        Some("frequency") => "frequency_cap",
        Some("quiet_hours") => "quiet_hours",
        _ => SUPPRESSION_LIST,
    };
    let detail = if leg > 0 { format!("{channel} to {to}: {detail}") } else { detail };
    let reason = Reason::new(code, detail.clone());
    delivery.note(now, What::Suppressed { rule, detail });
    Next::End(State::Suppressed, Some(reason))
}

/// A delivery leaves its leg for another one, or ends there. What was not taken there gives its slots back: those of the
/// first leg's frequency caps here, those of a further leg's at the address' home, which is told. Slots of content dedup
/// stay with the delivery, because it brings the same whichever way it goes.
pub(super) fn leave(
    slots: &mut Slots,
    delivery: &mut Delivery,
    sheet: &Sheet,
    taken: bool,
    now: Time,
    out: &mut Output<Hint, Record>,
) {
    if delivery.leg() > 0 {
        let asked = delivery.course.as_ref().is_some_and(|course| course.open_until.is_some());
        let passage = delivery.passage(sheet).filter(|passage| asked && !passage.caps.is_empty());
        out.hints.extend(passage.map(|passage| Hint::LegLeft { passage: Box::new(passage), taken }));
        return;
    }
    let (leaves, id) = (delivery.first_due, delivery.id);
    for (cap, slot) in sheet.rules.caps.iter().zip(&mut delivery.marks) {
        if cap.kind != CapKind::Frequency {
            continue;
        }
        match slot.take() {
            Some(mark) if taken => slots.keep(mark, leaves, id, cap.longest_ms(), now),
            Some(mark) => slots.release(mark, leaves, id),
            None => {}
        }
    }
}

fn settle(slots: &mut Slots, passage: &Passage, taken: bool, now: Time) {
    for (cap, mark) in marks(passage) {
        if taken {
            slots.keep(mark, passage.since, passage.delivery, cap.longest_ms(), now);
        } else {
            slots.release(mark, passage.since, passage.delivery);
        }
    }
}

fn marks(passage: &Passage) -> impl Iterator<Item = (&Cap, u64)> {
    marks_of(&passage.caps, (&passage.channel, passage.message_type), &passage.to)
}

/// A leg's caps with what each counts its address under: the same number as for a message that goes there at once.
pub(super) fn marks_of<'a>(
    caps: &'a [Cap],
    (channel, message_type): (&str, MessageType),
    to: &'a str,
) -> impl Iterator<Item = (&'a Cap, u64)> {
    let group = [channel.to_owned(), message_type.name().to_owned()];
    caps.iter().map(move |cap| {
        let lasting = cap.title.rsplit_once('@').map_or(cap.title.as_str(), |(lasting, _)| lasting);
        (cap, mark(lasting, to, &group))
    })
}
