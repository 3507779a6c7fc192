//! The rules of a message's further legs: each leg is under the policies of its own channel and template.
//!
//! Lists are looked up here, like those of the first leg; caps, dictionaries and quiet hours travel with the message and
//! decide when the delivery comes to the leg.

use tidings_machine::partition::{LegBarred, LegHours, LegRules, Recipient, Sheet, WordRule};

use super::rules::{Place, Selected, select, words};
use super::zones::Hours;
use crate::app::App;
use crate::problem::Problem;

/// What is for each further leg, in their order.
#[derive(Debug)]
pub(super) struct Further {
    lists: Vec<Selected>,
    rules: Vec<LegRules>,
}

impl Further {
    /// # Errors
    /// When more rules are for a leg than a message may carry.
    pub(super) fn of(app: &App, sheet: &Sheet) -> Result<Self, Problem> {
        let mut further = Self { lists: Vec::new(), rules: Vec::new() };
        for leg in &sheet.legs {
            // One that is not kept any more has no rules of its own; the policies hold nevertheless.
            let compiled = app.template_version(&leg.template, leg.version).ok();
            let place = Place { channel: &leg.channel, template: &leg.template, compiled: compiled.as_deref() };
            let selected = select(app, place, sheet)?.unwrap_or_default();
            let (caps, words) = (selected.frequency_caps(), words(app, place, sheet)?);
            further.rules.push(LegRules { caps, words, hours: None });
            further.lists.push(selected);
        }
        Ok(further)
    }

    /// Whether any leg has quiet hours.
    pub(super) fn is_quiet(&self) -> bool {
        self.lists.iter().any(|selected| !selected.quiet.is_empty())
    }

    /// The quiet hours of the legs that do not have those of the first one, with the leg's place: most have the same, and they
    /// are the largest part of a sheet.
    pub(super) fn other_hours(&self, first: &[Hours]) -> Vec<(usize, &[Hours])> {
        let titles = |hours: &[Hours]| hours.iter().map(|(policy, _)| policy.title.clone()).collect::<Vec<_>>();
        let legs = self.lists.iter().map(|selected| &selected.quiet[..]).enumerate();
        legs.filter(|(_, hours)| titles(hours) != titles(first)).collect()
    }

    /// Leaves out the legs whose address a list says no to; the trace will tell.
    pub(super) fn bar(&self, sheet: &Sheet, recipient: &mut Recipient) {
        let legs = sheet.legs.iter().zip(&self.lists).zip(&mut recipient.fallback);
        for ((leg, selected), address) in legs {
            let Some(to) = address.as_ref() else { continue };
            let barred = selected.barred((&leg.template, &sheet.tags), to).into_iter().next();
            let Some(barred) = barred else { continue };
            let rule = selected.list(barred.list).unwrap_or_default();
            let (channel, to) = (leg.channel.clone(), to.clone());
            recipient.left_out.push(LegBarred { channel, to, rule, detail: barred.detail });
            *address = None;
        }
    }

    /// The rules to be carried, with the quiet hours of the legs that have others than the first one; nothing where no rule is
    /// for any leg, nor for the first one's words.
    pub(super) fn carried(mut self, words: &[WordRule], hours: Vec<(usize, LegHours)>) -> Vec<LegRules> {
        for (leg, hours) in hours {
            if let Some(rules) = self.rules.get_mut(leg) {
                rules.hours = Some(hours);
            }
        }
        let plain = words.is_empty() && self.rules.iter().all(|rules| *rules == LegRules::default());
        if plain { Vec::new() } else { self.rules }
    }
}
