//! What becomes of a delivery whose recipient's server is unwell: it waits in the state, and no attempt is used up.
//!
//! While an endpoint is half-open one delivery at a time goes through. That it is the only one is seen in the flight table,
//! so a process that dies leaves no probe behind that others would wait for.

use std::collections::HashMap;

use tidings_contract::Time;
use tidings_machine::partition::{EndpointKey, Part, Waited, Wellness, What};

use crate::desk::Desk;
use crate::endpoint;
use crate::outbox::Entry;
use crate::work::Work;

/// How far apart those are that wait for one endpoint, in milliseconds, so that not all look again at once.
const APART_MS: u64 = 1;
/// How much later than its endpoint half-opens the last one looks again, in milliseconds.
const SPREAD_MS: u64 = 10_000;
/// How long a delivery waits while another one probes its endpoint, in milliseconds.
const PROBED_MS: u64 = 300;
/// Most endpoints that turns are kept of; then all begin anew, which costs nothing but looks.
const MOST: usize = 4_096;

/// Whose turn it is among those that wait for endpoints.
#[derive(Debug, Default)]
pub(crate) struct Turns(HashMap<EndpointKey, Time>);

impl Turns {
    /// When the next one looks again that waits until then, so many milliseconds after the one before.
    pub(crate) fn next(&mut self, key: EndpointKey, until: Time, apart_ms: u64) -> Time {
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            self.0.clear();
        }
        let turn = self.0.entry(key).or_insert(until);
        let at = (*turn).max(until);
        // Beyond the spread once more from the front.
        let at = if at > until.after_ms(SPREAD_MS) { until } else { at };
        *turn = at.after_ms(apart_ms);
        at
    }

    /// Sorts out what cannot go now. Gives the work back if it can.
    pub(crate) fn judge(
        &mut self,
        desk: &Desk,
        work: Work,
        wellness: Wellness,
        now: Time,
    ) -> Result<Work, Option<Box<Entry>>> {
        let Some(endpoint) = work.endpoint else { return Ok(work) };
        let (part, until) = match wellness {
            Wellness::Well => return Ok(work),
            Wellness::HalfOpen(part) => {
                // It is counted in the table itself by now.
                if desk.flights.of_endpoint(&endpoint::part(&endpoint, part)) <= 1 {
                    return Ok(Work { probes: true, ..work });
                }
                let back = self.next(endpoint::part(&endpoint, part), now.after_ms(PROBED_MS), APART_MS);
                let back = work.within_life(back);
                work.ticket.not_before(back);
                return Err(None);
            }
            Wellness::Open(part, until) => (part, until),
        };
        let subject = endpoint::words(work.delivery.address(), part);
        if work.may_fall() {
            let why = format!("{subject}: breaker open until {until}");
            return Err(Some(Box::new(Entry::FallBack { ticket: work.ticket, why })));
        }
        let back = self.next(endpoint::part(&endpoint, part), until, APART_MS);
        let back = work.within_life(back);
        let attempt = work.delivery.attempts.saturating_add(1);
        let told = |what: &What| matches!(what, What::Waited { attempt: other, .. } if *other == attempt);
        if work.delivery.events.iter().rev().any(|event| told(&event.what)) {
            work.ticket.not_before(back);
            return Err(None);
        }
        let rule = if part == Part::Host { Waited::HOST } else { Waited::URL };
        let waited = Waited { rule: rule.to_owned(), subject, until };
        Err(Some(Box::new(Entry::Wait { ticket: work.ticket, attempt, waited: Box::new(waited), back })))
    }
}
