//! What becomes of a delivery after an attempt: again, with another account, by another channel, or no more.

use tidings_contract::{Blame, DeliveryId, Outcome, Reason, Time, planted};

use super::retry::{self, Further};
use super::{
    Answer, CodeAction, Course, Delivery, Hint, OnUnknown, Partition, Record, Refusal, Sheet, State, Tried, Way, What,
    code_fits,
};
use crate::Output;

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt at that time.
    Retry(Time),
    /// The account is given up, for that reason; another attempt at once.
    Switch(String),
    /// The leg is given up for the one of that number, for that reason.
    Fall(u8, String),
    /// The end.
    End(State, Option<Reason>),
}

impl Partition {
    /// Moves a delivery on to its next leg, because its owner found no account of this one that can be used.
    pub(super) fn fall_back(
        &mut self,
        id: DeliveryId,
        epoch: u64,
        why: String,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        self.fence(epoch)?;
        let waiting = self.pending.get(&id).ok_or(Refusal::NotPending)?;
        let sheet = self.sheets.get(&waiting.sheet).ok_or(Refusal::NotPending)?;
        let delivery = &waiting.delivery;
        let held = delivery.begun.is_some() || delivery.cancel_requested || !may_move(delivery, sheet);
        let next = delivery.next_leg(sheet).filter(|_| !held).ok_or(Refusal::Groundless)?;
        self.go_on(id, String::new(), Next::Fall(next, why), out)
    }
}

/// The code that a rule of the way wants somebody to be told about.
pub(super) fn alerts<'a>(way: &Way, outcome: &'a Outcome) -> Option<&'a str> {
    let code = outcome.reason()?.code.as_str();
    let asks = way.rules.iter().any(|rule| rule.action == CodeAction::Alert && code_fits(&rule.code, code));
    asks.then_some(code)
}

/// Counts the attempt and decides. Whoever asked to cancel gets it, unless the provider took the delivery.
pub(super) fn after(delivery: &mut Delivery, sheet: &Sheet, account: &str, now: Time, outcome: &Outcome) -> Next {
    if let Outcome::Delivered { provider_id } = outcome {
        delivery.provider_id.clone_from(provider_id);
        return Next::End(State::Delivered, None);
    }
    let reason = outcome.reason().cloned();
    let unknown = !matches!(outcome, Outcome::Later { .. } | Outcome::Never { .. });
    delivery.count_try(sheet, account, unknown);
    if unknown && sheet.policy.on_unknown == OnUnknown::Stop {
        return Next::End(State::Unknown, reason);
    }
    if delivery.cancel_requested {
        return Next::End(State::Cancelled, None);
    }
    let action = action(delivery, sheet, outcome);
    let (over, never) = (sheet.has_expired(now), matches!(outcome, Outcome::Never { .. }));
    if over && !(never && action != CodeAction::Retry) {
        return Next::End(State::Expired, None);
    }
    let why = || why(account, outcome);
    let moved = match action {
        CodeAction::Stop => return Next::End(State::Failed, reason),
        _ if over || !may_move(delivery, sheet) => None,
        CodeAction::Switch => another(delivery, sheet, account, now).or_else(|| delivery.next_leg(sheet).map(Some)),
        CodeAction::SwitchChannel => delivery.next_leg(sheet).map(Some),
        CodeAction::Retry | CodeAction::Alert => exhausted(delivery, sheet, account, now),
    };
    match moved {
        Some(None) => return Next::Switch(why()),
        Some(Some(leg)) => return Next::Fall(leg, why()),
        None if never && action != CodeAction::Retry => return Next::End(State::Failed, reason),
        None => {}
    }
    let wish = if let Outcome::Later { after_ms, .. } = outcome { *after_ms } else { None };
    let further = retry::next_due(delivery, sheet, now, wish);
    if let Further::Due(due) = further {
        return Next::Retry(due);
    }
    match delivery.next_leg(sheet).filter(|_| may_move(delivery, sheet) || planted("leg_on_unknown")) {
        Some(leg) => Next::Fall(leg, format!("no further attempt is allowed; {}", why())),
        // Only its time is up; the last words of the provider stand in its events.
        None if further == Further::TooLate => Next::End(State::Expired, None),
        None => Next::End(State::Failed, reason),
    }
}

/// What to do about an outcome: what the first rule says that fits its code, or what goes with its class.
fn action(delivery: &Delivery, sheet: &Sheet, outcome: &Outcome) -> CodeAction {
    let code = outcome.reason().map_or("", |reason| reason.code.as_str());
    let rules = sheet.leg(delivery.leg()).way.map_or(&[][..], |way| &way.rules);
    let mut fitting = rules.iter().filter(|rule| rule.action != CodeAction::Alert && code_fits(&rule.code, code));
    let by_class = || match outcome {
        Outcome::Never { blame: Blame::Account, .. } => CodeAction::Switch,
        // No other account reaches that recipient or takes that content; another channel has others of both.
        Outcome::Never { .. } => CodeAction::SwitchChannel,
        _ => CodeAction::Retry,
    };
    fitting.next().map_or_else(by_class, |rule| rule.action)
}

/// Whether another account or leg may be tried: not after an attempt that may have been taken, unless the template allows it.
pub(super) fn may_move(delivery: &Delivery, sheet: &Sheet) -> bool {
    delivery.unknown_attempts == 0 || sheet.failover_on_unknown || planted("failover_on_unknown")
}

/// `Some(None)` if another account of the leg can be tried at once.
fn another(delivery: &Delivery, sheet: &Sheet, account: &str, now: Time) -> Option<Option<u8>> {
    let way = sheet.leg(delivery.leg()).way?;
    let place = way.index(account)?;
    let other = (0..).zip(&way.accounts).any(|(n, one)| n != place && one.weight > 0 && !delivery.gave_up(n));
    (other && retry::allows(delivery, sheet, now)).then_some(None)
}

/// Where to go if the account had its attempts: another account, or else the leg of that number.
fn exhausted(delivery: &Delivery, sheet: &Sheet, account: &str, now: Time) -> Option<Option<u8>> {
    let way = sheet.leg(delivery.leg()).way?;
    let place = way.index(account)?;
    let tried = delivery.course.as_ref()?.tried.iter().find(|one| one.account == place)?;
    let enough = way.attempts_per_account > 0 && tried.attempts >= way.attempts_per_account;
    if !enough {
        return None;
    }
    another(delivery, sheet, account, now).or_else(|| delivery.next_leg(sheet).map(Some))
}

fn why(account: &str, outcome: &Outcome) -> String {
    let reason = outcome.reason().map(ToString::to_string).unwrap_or_default();
    format!("{account}: {} ({reason})", outcome.class())
}

impl Delivery {
    /// Counts an attempt that did not come through.
    fn count_try(&mut self, sheet: &Sheet, account: &str, unknown: bool) {
        if unknown {
            self.unknown_attempts = self.unknown_attempts.saturating_add(1);
        }
        let way = sheet.leg(self.leg()).way;
        let Some((way, place)) = way.and_then(|way| Some((way, way.index(account)?))) else { return };
        // Where there is nowhere else to go nothing needs to be remembered.
        if way.accounts.len() < 2 && self.course.is_none() {
            return;
        }
        let course = self.course.get_or_insert_default();
        match course.tried.iter_mut().find(|one| one.account == place) {
            Some(tried) => tried.attempts = tried.attempts.saturating_add(1),
            None => course.tried.push(Tried { account: place, attempts: 1, given_up: false }),
        }
        if unknown && !sheet.failover_on_unknown && !planted("failover_on_unknown") {
            course.pinned = Some(place);
        }
    }

    /// Gives an account of the present leg up.
    pub(super) fn give_up(&mut self, sheet: &Sheet, account: &str) {
        let Some(place) = sheet.leg(self.leg()).way.and_then(|way| way.index(account)) else { return };
        let course = self.course.get_or_insert_default();
        match course.tried.iter_mut().find(|one| one.account == place) {
            Some(tried) => tried.given_up = true,
            None => course.tried.push(Tried { account: place, attempts: 0, given_up: true }),
        }
    }

    /// Goes on by another leg, at once.
    pub(super) fn fall(&mut self, sheet: &Sheet, leg: u8, why: String, now: Time) {
        let course = self.course.get_or_insert_default();
        let addresses = std::mem::take(&mut course.addresses);
        **course = Course { leg, began: Some(now), before: self.attempts, addresses, ..Course::default() };
        self.due = now;
        let next = sheet.leg(leg);
        let (template, version, channel) = (next.template.to_owned(), next.version, next.channel.to_owned());
        let to = self.address().to_owned();
        self.note(now, What::FellBack { template, version, channel, to, why });
    }
}
