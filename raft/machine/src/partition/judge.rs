//! What the rules say about a delivery that wants in. Intake and the dry run both ask here, so they tell the same story.
//!
//! The order is that of the design: lists (discard, then allow) → suppression list → expiry → quiet hours → content dedup →
//! frequency caps. The first rule that says no decides.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId, Reason, Time, planted};

use super::dedup::Dedup;
use super::quiet::Hush;
use super::slots::{Look, Slots, fullest};
use super::{Barred, Cap, CapKind, Delivery, Partition, Recipient, Sheet, State, What};

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ruling")]
pub enum Ruling {
    /// Nothing against it.
    Pass,
    /// It is not sent.
    Suppress,
    /// It waits.
    Defer {
        /// It leaves then.
        until: Time,
    },
    /// It is not worth sending any more.
    Expire,
    /// It is sent with words masked. Told by who looks at the content, never by the judge.
    Mask {
        /// In how many places.
        places: u32,
    },
}

/// What one rule says about one delivery, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule: `<kind>/<policy>@<version>`, `suppression_list`, `expiry`, `content_dedup`.
    pub title: String,
    /// What it says.
    pub ruling: Ruling,
    /// What it saw.
    pub detail: String,
}

/// What all rules together say about one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// `Pending`, `Suppressed` or `Expired`.
    pub state: State,
    /// Why, where it is not sent.
    pub reason: Option<Reason>,
    /// When it wants to leave.
    pub due: Time,
    /// What each rule said, in order. Of an accepted delivery only what made a difference.
    pub findings: Vec<Finding>,
}

/// A delivery before the judge.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub id: DeliveryId,
    pub delivery: &'a Delivery,
    pub barred: &'a [Barred],
    pub sheet: &'a Sheet,
    /// Somebody asked for this very delivery (a redrive): how often others were sent does not count against it.
    pub wished: bool,
    /// Whether rules that have nothing against it are told, too, and those behind the one that decides.
    pub thorough: bool,
    /// It was let in before, and is about to leave.
    pub leaving: bool,
}

impl Case<'_> {
    /// From where others are looked at that count against it.
    fn look(&self, leaves: Time, now: Time) -> Look {
        Look { leaves, now, leaving: self.leaving.then_some(self.id) }
    }
}

/// Slots that others of the same dry run would have taken.
#[derive(Debug, Default)]
struct Beside {
    dedup: Dedup,
    slots: Slots,
}

/// One kind of rule, as it looks at a delivery.
type Step = fn(&Partition, Case<'_>, Time, Option<&Beside>, &mut Judgement);

impl Judgement {
    /// Nothing against it.
    pub(super) fn new(due: Time) -> Self {
        Self { state: State::Pending, reason: None, due, findings: Vec::new() }
    }

    fn pending(&self) -> bool {
        self.state == State::Pending
    }

    /// Notes what a rule says; the first that says no decides.
    fn note(&mut self, title: &str, ruling: Ruling, code: &str, detail: String) {
        let decided = match ruling {
            Ruling::Suppress => Some(State::Suppressed),
            Ruling::Expire => Some(State::Expired),
            Ruling::Pass | Ruling::Defer { .. } | Ruling::Mask { .. } => None,
        };
        if let Some(state) = decided.filter(|_| self.pending()) {
            self.state = state;
            self.reason = (state == State::Suppressed).then(|| Reason::new(code, detail.clone()));
        }
        self.findings.push(Finding { title: title.to_owned(), ruling, detail });
    }

    /// The events of an accepted delivery.
    pub(super) fn events(self) -> impl Iterator<Item = What> {
        self.findings.into_iter().filter_map(|Finding { title, ruling, detail }| match ruling {
            Ruling::Suppress => Some(What::Suppressed { rule: title, detail }),
            Ruling::Defer { until } => Some(What::Deferred { rule: title, until, detail }),
            Ruling::Pass | Ruling::Expire | Ruling::Mask { .. } => None,
        })
    }
}

impl Partition {
    /// What would become of the recipients of a message that came at `at`, each after the ones before it, by the very rules
    /// by which it would be accepted. Nothing is kept. The verdicts are those of this replica at this moment.
    pub fn rehearse(
        &self,
        at: Time,
        message: MessageId,
        partition: PartitionId,
        sheet: &Sheet,
        recipients: &[Recipient],
    ) -> Vec<Judgement> {
        let now = at.max(self.now);
        let mut beside = Beside::default();
        let mut judgements = Vec::with_capacity(recipients.len());
        for recipient in recipients {
            let id = DeliveryId::new(message, recipient.index, partition);
            let (mut delivery, barred) = Delivery::accepted(id, recipient.clone(), now);
            set_due(&mut delivery, sheet, now);
            let case =
                Case { id, delivery: &delivery, barred: &barred, sheet, wished: false, thorough: true, leaving: false };
            let judgement = self.judge_beside(case, now, Some(&beside));
            if judgement.pending() {
                delivery.first_due = judgement.due;
                take_slots(&mut beside.dedup, &mut beside.slots, &delivery, sheet);
            }
            judgements.push(judgement);
        }
        judgements
    }

    /// What the rules say about a delivery now.
    pub(super) fn judge(&self, case: Case<'_>) -> Judgement {
        self.judge_beside(case, self.now, None)
    }

    /// What the caps say about a delivery that waited for its time and is about to leave, now.
    pub(super) fn judge_leaving(&self, case: Case<'_>) -> Judgement {
        let mut judgement = Judgement::new(self.now);
        let steps: [Step; 2] = [Self::look_at_own_dedup, Self::look_at_caps];
        for step in steps {
            if judgement.pending() {
                step(self, case, self.now, None, &mut judgement);
            }
        }
        judgement
    }

    fn judge_beside(&self, case: Case<'_>, now: Time, beside: Option<&Beside>) -> Judgement {
        let mut judgement = Judgement::new(case.delivery.due);
        let steps: [Step; 6] = [
            Self::look_at_lists,
            Self::look_at_suppressions,
            Self::look_at_expiry,
            Self::look_at_quiet_hours,
            Self::look_at_own_dedup,
            Self::look_at_caps,
        ];
        for step in steps {
            step(self, case, now, beside, &mut judgement);
            if !judgement.pending() && !case.thorough {
                break;
            }
        }
        judgement
    }

    /// Lists behind the first one that says no were not asked at the edge.
    fn look_at_lists(&self, case: Case<'_>, _: Time, _: Option<&Beside>, judgement: &mut Judgement) {
        for (n, title) in case.sheet.rules.lists.iter().enumerate().filter(|_| !planted("lists_ignored")) {
            let code = if title.starts_with("allow") { "not_allowed" } else { "discarded" };
            if let Some(barred) = case.barred.iter().find(|barred| usize::from(barred.list) == n) {
                return judgement.note(title, Ruling::Suppress, code, barred.detail.clone());
            }
            if case.thorough {
                judgement.note(title, Ruling::Pass, code, "the list has nothing against it".to_owned());
            }
        }
    }

    fn look_at_suppressions(&self, case: Case<'_>, now: Time, _: Option<&Beside>, judgement: &mut Judgement) {
        let (title, to) = ("suppression_list", &case.delivery.to);
        match self.suppressions.find(to, &case.sheet.channel, now) {
            Some(entry) => {
                judgement.note(title, Ruling::Suppress, title, entry.told());
            }
            None if case.thorough => {
                judgement.note(title, Ruling::Pass, title, "the address is not on the list".to_owned());
            }
            None => {}
        }
    }

    fn look_at_expiry(&self, case: Case<'_>, now: Time, _: Option<&Beside>, judgement: &mut Judgement) {
        let Some(expires) = case.sheet.expires_at else { return };
        if now >= expires {
            judgement.note("expiry", Ruling::Expire, "expired", format!("it expired at {expires}"));
        } else if case.thorough {
            judgement.note("expiry", Ruling::Pass, "expired", format!("it expires at {expires}"));
        }
    }

    fn look_at_quiet_hours(&self, case: Case<'_>, _: Time, _: Option<&Beside>, judgement: &mut Judgement) {
        let Case { sheet, delivery, .. } = case;
        let wanted = judgement.due;
        match sheet.rules.hours(delivery.leg()).hush(delivery.zone, &case.id, wanted, sheet.expires_at) {
            Hush::Drop { title } => {
                let detail = format!("it would leave in quiet hours, at {wanted}");
                judgement.note(title, Ruling::Suppress, "quiet_hours", detail);
            }
            Hush::Wait { title, due } => {
                judgement.due = due;
                let detail = format!("it would leave in quiet hours, at {wanted}");
                judgement.note(title, Ruling::Defer { until: due }, "quiet_hours", detail);
                if let Some(expires) = sheet.expires_at.filter(|expires| due >= *expires) {
                    let detail = format!("it expires at {expires}, before the quiet hours end");
                    judgement.note("expiry", Ruling::Expire, "expired", detail);
                }
            }
            Hush::Free if case.thorough => {
                for quiet in &sheet.rules.quiet {
                    let detail = format!("it would not leave in quiet hours, at {wanted}");
                    judgement.note(&quiet.title, Ruling::Pass, "quiet_hours", detail);
                }
            }
            Hush::Free => {}
        }
    }

    /// The dedup that stands in the template itself, with the whole content as its key.
    fn look_at_own_dedup(&self, case: Case<'_>, now: Time, beside: Option<&Beside>, judgement: &mut Judgement) {
        let Some((fingerprint, window_ms)) = case.delivery.fingerprint.zip(case.sheet.policy.dedup_window_ms) else {
            return;
        };
        if case.wished {
            return;
        }
        let title = "content_dedup";
        let look = case.look(judgement.due, now);
        let twin = |dedup: &Dedup| dedup.twin(fingerprint, look, window_ms);
        let twin = twin(&self.dedup).or_else(|| beside.and_then(|beside| twin(&beside.dedup)));
        let early = |twin: DeliveryId| planted("dedup_at_the_edge") && now < twin.message().time().after_ms(150);
        match twin.filter(|twin| !early(*twin)) {
            Some(twin) => {
                let detail = format!("{twin} brings the same content within {window_ms} ms");
                judgement.note(title, Ruling::Suppress, title, detail);
            }
            None if case.thorough => {
                let detail = format!("nothing brings the same content within {window_ms} ms");
                judgement.note(title, Ruling::Pass, title, detail);
            }
            None => {}
        }
    }

    fn look_at_caps(&self, case: Case<'_>, now: Time, beside: Option<&Beside>, judgement: &mut Judgement) {
        if case.wished {
            return;
        }
        for (cap, mark) in case.sheet.rules.caps.iter().zip(&case.delivery.marks) {
            let code = match cap.kind {
                CapKind::Dedup => "content_dedup",
                CapKind::Frequency => "frequency_cap",
            };
            match mark {
                Some(mark) => self.look_at_cap((cap, *mark, code), case, now, beside, judgement),
                None if case.thorough => {
                    judgement.note(&cap.title, Ruling::Pass, code, "it has nothing that could be compared".to_owned());
                }
                None => {}
            }
            if !judgement.pending() && !case.thorough {
                return;
            }
        }
    }

    fn look_at_cap(
        &self,
        (cap, mark, code): (&Cap, u64, &str),
        case: Case<'_>,
        now: Time,
        beside: Option<&Beside>,
        judgement: &mut Judgement,
    ) {
        let look = case.look(judgement.due, now);
        let mut near = Vec::new();
        let mut seen = Vec::new();
        for window in &cap.windows {
            near.clear();
            self.slots.near(mark, look, window.window_ms, &mut near);
            if let Some(beside) = beside {
                beside.slots.near(mark, look, window.window_ms, &mut near);
            }
            let count = fullest(&near, judgement.due, window.window_ms);
            let most = if planted("cap_off_by_one") { window.most.saturating_add(1) } else { window.most };
            let told = format!("{count} of {} within {} ms", window.most, window.window_ms);
            if count >= most {
                judgement.note(&cap.title, Ruling::Suppress, code, told);
                return;
            }
            seen.push(told);
        }
        if case.thorough {
            judgement.note(&cap.title, Ruling::Pass, code, seen.join(", "));
        }
    }

    /// A delivery that wants in takes its slots.
    pub(super) fn take_slots(&mut self, delivery: &Delivery, sheet: &Sheet) {
        take_slots(&mut self.dedup, &mut self.slots, delivery, sheet);
    }

    /// A delivery that waits leaves at another time than it wanted to: its slots go with it.
    pub(super) fn move_slots(&mut self, delivery: &mut Delivery, sheet: &Sheet, due: Time) {
        if let (Some(fingerprint), Some(_)) = (delivery.fingerprint, sheet.policy.dedup_window_ms) {
            self.dedup.release(fingerprint, delivery.first_due, delivery.id);
        }
        for mark in delivery.marks.iter().flatten() {
            self.slots.release(*mark, delivery.first_due, delivery.id);
        }
        delivery.first_due = due;
        self.take_slots(delivery, sheet);
    }

    /// A delivery ended: what was taken, or may have been, keeps its slots; what was not gives them back.
    pub(super) fn settle_slots(&mut self, delivery: &Delivery, sheet: &Sheet) {
        let taken = delivery.may_have_arrived();
        let (leaves, id, now) = (delivery.first_due, delivery.id, self.now);
        if let Some((fingerprint, window_ms)) = delivery.fingerprint.zip(sheet.policy.dedup_window_ms) {
            if taken {
                self.dedup.keep(fingerprint, leaves, id, window_ms, now);
            } else {
                self.dedup.release(fingerprint, leaves, id);
            }
        }
        for (cap, mark) in sheet.rules.caps.iter().zip(&delivery.marks) {
            match mark {
                Some(mark) if taken => self.slots.keep(*mark, leaves, id, cap.longest_ms(), now),
                Some(mark) => self.slots.release(*mark, leaves, id),
                None => {}
            }
        }
    }
}

/// The first attempt is due now, or when the message asks for it.
pub(super) fn set_due(delivery: &mut Delivery, sheet: &Sheet, now: Time) {
    delivery.due = sheet.send_at.map_or(now, |send_at| send_at.max(now));
    delivery.first_due = delivery.due;
}

fn take_slots(dedup: &mut Dedup, slots: &mut Slots, delivery: &Delivery, sheet: &Sheet) {
    if let (Some(fingerprint), Some(_)) = (delivery.fingerprint, sheet.policy.dedup_window_ms) {
        dedup.take(fingerprint, delivery.first_due, delivery.id);
    }
    for mark in sheet.rules.caps.iter().zip(&delivery.marks).filter_map(|(_, mark)| *mark) {
        slots.take(mark, delivery.first_due, delivery.id);
    }
}

/// A delivery that is about to leave finds its leg quiet.
pub(super) struct Hushed {
    /// The title of the rule.
    pub rule: String,
    /// What the rule saw.
    pub detail: String,
    /// It waits until then; `None` where it does not go out by that leg.
    pub until: Option<Time>,
}

/// Whether the leg of a delivery that wants to leave at `wanted` is quiet then.
pub(super) fn hushed(delivery: &Delivery, sheet: &Sheet, wanted: Time) -> Option<Hushed> {
    let (title, until) =
        match sheet.rules.hours(delivery.leg()).hush(delivery.zone, &delivery.id, wanted, sheet.expires_at) {
            Hush::Free => return None,
            Hush::Wait { title, due } => (title, Some(due)),
            Hush::Drop { title } => (title, None),
        };
    Some(Hushed { rule: title.to_owned(), detail: format!("it would leave in quiet hours, at {wanted}"), until })
}
