//! Quiet hours: when something may leave that wants to leave at some time.

use tidings_contract::{DeliveryId, Time, planted, stable_hash};

use super::{Delivery, LegHours, Quiet, Rules, Sheet, Span};

/// Over how much time those who waited for the same end leave, in milliseconds.
const SPREAD_MS: u64 = 60_000;

/// What quiet hours say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hush<'a> {
    /// It may leave as it wants to.
    Free,
    /// It waits.
    Wait {
        /// The title of the first rule that made it wait.
        title: &'a str,
        /// When it leaves.
        due: Time,
    },
    /// It is not sent.
    Drop {
        /// The title of the rule.
        title: &'a str,
    },
}

/// The quiet hours of one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hours<'a> {
    /// The quiet hours.
    pub quiet: &'a [Quiet],
    zones: &'a [Vec<Span>],
}

impl Rules {
    /// The quiet hours of a leg, from 0.
    pub(super) fn hours(&self, leg: u8) -> Hours<'_> {
        match self.of_leg(leg).and_then(|leg| leg.hours.as_ref()) {
            Some(LegHours { quiet, zones }) => Hours { quiet, zones },
            None => Hours { quiet: &self.quiet, zones: &self.zones },
        }
    }
}

impl Delivery {
    /// Whether its recipient is not to be disturbed at `at` by the leg it is on.
    pub fn is_hushed(&self, sheet: &Sheet, at: Time) -> bool {
        sheet.rules.hours(self.leg()).is_quiet(self.zone, at)
    }

    /// Its leg is quiet: it wants to leave when that ends. What was not tried on a further leg yet, nor asked for there, has
    /// its patience counted from then, like what was deferred before its first attempt.
    pub(super) fn wait_until(&mut self, due: Time) {
        self.due = due;
        let attempts = self.attempts;
        let course = self.course.as_mut().filter(|course| course.leg > 0 && course.before == attempts);
        if let Some(course) = course.filter(|course| course.open_until.is_none()) {
            course.began = Some(due);
        }
    }
}

impl<'a> Hours<'a> {
    /// The span of a zone that holds `at`; one of a rule that drops before the others.
    fn span(self, zone: Option<u8>, at: Time) -> Option<(&'a Span, bool)> {
        let spans = self.zones.get(usize::from(zone?)).filter(|_| !planted("quiet_hours_ignored"))?;
        // Spans are ordered by their beginning.
        let begun = spans.partition_point(|span| span.from() <= at);
        let holding = spans[..begun].iter().filter(|span| span.holds(at));
        let drops = |span: &Span| self.quiet.get(usize::from(span.quiet)).is_some_and(|quiet| quiet.drop);
        holding.map(|span| (span, drops(span))).max_by_key(|(span, drops)| (*drops, span.until))
    }

    /// Whether a recipient of that zone is not to be disturbed at `at`.
    pub(super) fn is_quiet(self, zone: Option<u8>, at: Time) -> bool {
        self.span(zone, at).is_some()
    }

    /// What becomes of something that wants to leave at `due`. Those who wait for the same end are spread by a hash of
    /// their ids, but never beyond `before`.
    pub(super) fn hush(self, zone: Option<u8>, id: &DeliveryId, due: Time, before: Option<Time>) -> Hush<'a> {
        let mut first = None;
        let mut at = due;
        while let Some((span, drops)) = self.span(zone, at) {
            let title = self.quiet.get(usize::from(span.quiet)).map_or("", |quiet| quiet.title.as_str());
            if drops {
                return Hush::Drop { title };
            }
            first.get_or_insert(title);
            at = span.until();
        }
        let Some(title) = first else { return Hush::Free };
        let spread = at.after_ms(stable_hash(id.bytes()) % SPREAD_MS);
        let fits = !self.is_quiet(zone, spread) && before.is_none_or(|before| spread < before);
        Hush::Wait { title, due: if fits { spread } else { at } }
    }
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn id(n: u64) -> DeliveryId {
        DeliveryId::new(MessageId::new(Time(1), PartitionId(0), n), 0, PartitionId(0))
    }

    fn rules(spans: &[(u32, u32, u8)]) -> Rules {
        let quiet = |title: &str, drop| Quiet { title: title.to_owned(), drop };
        let spans = spans.iter().map(|(from, until, quiet)| Span { from: *from, until: *until, quiet: *quiet });
        Rules {
            quiet: vec![quiet("wait", false), quiet("drop", true)],
            zones: vec![spans.collect()],
            ..Rules::default()
        }
    }

    fn minute(n: u64) -> Time {
        Time(n * 60_000)
    }

    #[test]
    fn both_sides_of_every_boundary() {
        let night = rules(&[(100, 200, 0)]);
        for (due, waits) in
            [(minute(100).0 - 1, false), (minute(100).0, true), (minute(200).0 - 1, true), (minute(200).0, false)]
        {
            let free = night.hours(0).hush(Some(0), &id(1), Time(due), None) == Hush::Free;
            assert_eq!(free, !waits, "at {due}");
        }
        assert_eq!(night.hours(0).hush(None, &id(1), minute(150), None), Hush::Free, "no zone");
        assert_eq!(night.hours(0).hush(Some(1), &id(1), minute(150), None), Hush::Free, "no such zone");
    }

    #[test]
    fn a_crowd_that_waited_leaves_within_a_minute_and_not_at_once() {
        let night = rules(&[(100, 200, 0)]);
        let dues: Vec<u64> = (0..500)
            .map(|n| match night.hours(0).hush(Some(0), &id(n), minute(150), None) {
                Hush::Wait { due, title: "wait" } => due.0,
                other => panic!("{other:?}"),
            })
            .collect();
        let (least, most) = (dues.iter().min().copied(), dues.iter().max().copied());
        assert!(least >= Some(minute(200).0) && most < Some(minute(201).0));
        let distinct: std::collections::BTreeSet<_> = dues.iter().collect();
        assert!(distinct.len() > 450, "{}", distinct.len());
        assert_eq!(
            night.hours(0).hush(Some(0), &id(7), minute(150), None),
            night.hours(0).hush(Some(0), &id(7), minute(120), None)
        );
        let hurried = night.hours(0).hush(Some(0), &id(7), minute(150), Some(minute(200).after_ms(1)));
        assert_eq!(hurried, Hush::Wait { title: "wait", due: minute(200) });
    }

    #[test]
    fn spans_that_meet_and_spans_that_drop() {
        let meeting = rules(&[(100, 200, 0), (150, 250, 0), (250, 251, 0)]);
        let Hush::Wait { due, .. } = meeting.hours(0).hush(Some(0), &id(1), minute(120), None) else {
            panic!("it is free")
        };
        assert!(due >= minute(251), "{due:?}");
        let mixed = rules(&[(100, 200, 0), (150, 160, 1), (200, 210, 1)]);
        assert_eq!(mixed.hours(0).hush(Some(0), &id(1), minute(155), None), Hush::Drop { title: "drop" });
        assert_eq!(
            mixed.hours(0).hush(Some(0), &id(1), minute(120), None),
            Hush::Drop { title: "drop" },
            "its end is dropped"
        );
    }
}
