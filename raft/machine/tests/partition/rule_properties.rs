//! What holds of the rules after any sequence of commands.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidings_contract::{DeliveryId, Time};
use tidings_machine::partition::{
    Accept, Answer, CALLBACK_TEMPLATE, Command, Delivery, EVERY_CHANNEL, Partition, Record, Ruling, Sheet, State, What,
};
use tidings_machine::{Machine, Output};

use super::fixture::{HERE, message};
use super::properties::{CAP, START, history, random_accept, run};

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_of_a_cap_ever_lets_one_more_in(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        // What was taken, by mark: when it wanted to leave and when it ended.
        let mut taken: Vec<(u64, Time, Time)> = Vec::new();
        let mut seen: BTreeSet<DeliveryId> = BTreeSet::new();
        let mut over = None;
        run(&mut machine, &mut at, &steps, |machine, _, records| {
            let capped = |delivery: &Delivery, sheet: &Sheet| -> Option<u64> {
                let mark = delivery.marks.first().copied().flatten()?;
                (!sheet.rules.caps.is_empty()).then_some(mark)
            };
            for (delivery, sheet) in machine.pending(None) {
                let fresh = seen.insert(delivery.id) && delivery.id.generation() == 0;
                let Some(mark) = capped(&delivery, &sheet).filter(|_| fresh) else { continue };
                // Within a window before it, those that were taken: as many as the cap allows, less itself.
                let near = taken.iter().filter(|(of, _, end)| {
                    *of == mark && *end <= delivery.first_due && delivery.first_due < end.after_ms(CAP.window_ms)
                });
                if near.count() >= CAP.most as usize {
                    over = Some(format!("{} is one too many", delivery.id));
                }
            }
            for record in records {
                if let Record::Ended(end) = record
                    && matches!(end.delivery.state, State::Delivered | State::Unknown)
                    && let Some(mark) = capped(&end.delivery, &end.sheet)
                {
                    taken.push((mark, end.delivery.first_due.min(machine.now()), machine.now()));
                }
            }
        });
        prop_assert_eq!(over, None);
    }

    #[test]
    fn no_window_of_the_instants_at_which_deliveries_can_be_taken_holds_one_too_many(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        // What was let go, by delivery: its mark, and when it ended if it may have been taken.
        let mut gone: BTreeMap<DeliveryId, (u64, Option<Time>)> = BTreeMap::new();
        let mut over = None;
        run(&mut machine, &mut at, &steps, |machine, _, records| {
            let now = machine.now();
            for record in records {
                let Record::Ended(end) = record else { continue };
                if matches!(end.delivery.state, State::Delivered | State::Unknown) {
                    gone.entry(end.delivery.id).and_modify(|(_, ended)| *ended = Some(now));
                } else {
                    gone.remove(&end.delivery.id);
                }
            }
            for (delivery, sheet) in machine.pending(None) {
                let Some(mark) = delivery.marks.first().copied().flatten().filter(|_| !sheet.rules.caps.is_empty())
                else {
                    continue;
                };
                // What was redriven into quiet hours has no slot of its own time, and is not attempted before they end.
                let deferred = delivery.id.generation() > 0 && delivery.due > now;
                if delivery.reserved || deferred {
                    gone.remove(&delivery.id);
                } else if !gone.contains_key(&delivery.id) {
                    let reaches = |ended: &Option<Time>| ended.is_none_or(|end| end.after_ms(CAP.window_ms) > now);
                    let near = gone.values().filter(|(of, ended)| *of == mark && reaches(ended)).count();
                    if near >= CAP.most as usize && delivery.id.generation() == 0 {
                        over = Some(format!("{} is one too many at {now}", delivery.id));
                    }
                    gone.insert(delivery.id, (mark, None));
                }
            }
        });
        prop_assert_eq!(over, None);
    }

    #[test]
    fn nothing_is_due_in_quiet_hours_and_nobody_suppressed_is_let_in(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut wrong = None;
        let mut seen: BTreeSet<DeliveryId> = BTreeSet::new();
        run(&mut machine, &mut at, &steps, |machine, _, _| {
            for (delivery, sheet) in machine.pending(None) {
                if delivery.is_hushed(&sheet, delivery.due) {
                    wrong = Some(format!("{} is due in quiet hours", delivery.id));
                }
                if seen.insert(delivery.id) {
                    let key = |channel: &str| (delivery.to.clone(), channel.to_owned());
                    if machine.suppression(&key("sms")).or(machine.suppression(&key(EVERY_CHANNEL))).is_some() {
                        wrong = Some(format!("{} goes to a suppressed address", delivery.id));
                    }
                }
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn a_rehearsal_says_what_then_happens(steps in history(), accept in random_accept()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        run(&mut machine, &mut at, &steps, |_, _, _| {});
        let now = Time(START.saturating_add_signed(at));
        let accept = Accept { message: message(99), accept_by: now.after_ms(100_000), ..accept };
        let said = machine.rehearse(now, accept.message, HERE, &accept.sheet, &accept.recipients);
        let mut out = Output::default();
        if let Answer::Accepted(verdicts) = machine.apply(now, Command::Accept(Box::new(accept)), &mut out) {
            let states: Vec<State> = verdicts.iter().map(|verdict| verdict.state).collect();
            prop_assert_eq!(said.iter().map(|one| one.state).collect::<Vec<_>>(), states);
            for (said, verdict) in said.iter().zip(&verdicts) {
                if let Some((delivery, _)) = machine.delivery(&verdict.delivery) {
                    prop_assert_eq!(delivery.due, said.due);
                }
            }
            for record in out.records {
                let Record::Ended(end) = record else { continue };
                // A callback about one of them, when too many callbacks wait already.
                if end.sheet.template == CALLBACK_TEMPLATE {
                    continue;
                }
                let index = verdicts.iter().position(|verdict| verdict.delivery == end.delivery.id);
                let Some(said) = index.map(|at| &said[at]) else {
                    // A callback that tells of one of them ends at once where too many wait.
                    prop_assert!(end.sheet.tells(), "{} was not said", end.delivery.id);
                    continue;
                };
                prop_assert_eq!(&said.reason, &end.delivery.reason);
                let rule = end.delivery.events.iter().find_map(|event| match &event.what {
                    What::Suppressed { rule, .. } => Some(rule),
                    _ => None,
                });
                let told = said.findings.iter().find(|finding| finding.ruling == Ruling::Suppress);
                if end.delivery.state == State::Suppressed {
                    prop_assert_eq!(told.map(|finding| &finding.title), rule);
                }
            }
        }
    }
}
