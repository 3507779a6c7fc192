//! The judge of caps and dedup: what the receiver's own log holds, and whether the cluster says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::Proof;
use crate::failure::ensure;
use crate::moody::{Call, Deed, Mood};

/// The template under the frequency cap.
pub(super) const OFTEN: &str = "often";
/// The template under content dedup; each of its recipients gets one content only.
pub(super) const ONCE: &str = "once";

/// A delivery as the cluster lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listed {
    /// Its id.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// The template.
    pub template: String,
    /// Where it stands.
    pub state: String,
    /// Why it ended.
    pub reason: Option<Reason>,
}

/// A reason, as far as the judge needs it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reason {
    /// Its code.
    pub code: String,
}

/// What the judge counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// The most that any recipient got in each of the windows.
    pub fullest: Vec<usize>,
    /// Deliveries that were let through, by template.
    pub through: BTreeMap<String, u64>,
    /// Deliveries that were suppressed, by template.
    pub suppressed: BTreeMap<String, u64>,
    /// Contents that were let through again after a delivery of them had failed.
    pub again_after_failure: u64,
    /// Repeats that were suppressed because of an unknown outcome.
    pub held_by_unknown: u64,
}

/// Judges a run in which nothing was sent but these two templates and every content was repeated to its end.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn judge(log: &[Call], listed: &[Listed], windows: &[(Duration, usize)]) -> Proof<Figures> {
    let mut figures = Figures::default();
    same_story(log, listed, &mut figures)?;
    let often: BTreeSet<&str> = of(listed, OFTEN).map(|one| one.id.as_str()).collect();
    let mut taken: BTreeMap<&str, Vec<(Instant, &str)>> = BTreeMap::new();
    for call in log.iter().filter(|call| call.deed.takes() && often.contains(call.id.as_str())) {
        taken.entry(&call.to).or_default().push((call.at, &call.id));
    }
    for (window, most) in windows {
        let mut all = taken.iter().map(|(to, calls)| (fullest(calls, *window), to));
        let (count, to) = all.by_ref().max().unwrap_or((0, &""));
        ensure(count <= *most, || format!("{to} got {count} in {window:?}, {most} are allowed"))?;
        figures.fullest.push(count);
    }
    once(log, listed, &mut figures)?;
    Ok(figures)
}

fn of<'a>(listed: &'a [Listed], template: &'a str) -> impl Iterator<Item = &'a Listed> {
    listed.iter().filter(move |one| one.template == template)
}

/// The most different deliveries within any one window. A copy of a delivery is no further one.
fn fullest(calls: &[(Instant, &str)], window: Duration) -> usize {
    let mut calls = calls.to_vec();
    calls.sort_unstable();
    let within = |from: usize| {
        let near = calls[from..].iter().take_while(|(at, _)| *at - calls[from].0 < window);
        near.map(|(_, id)| *id).collect::<BTreeSet<_>>().len()
    };
    (0..calls.len()).map(within).max().unwrap_or(0)
}

/// Every content went out once: one delivery of it was, or may have been, taken, however often it was sent.
fn once(log: &[Call], listed: &[Listed], figures: &mut Figures) -> Proof {
    let mut by_recipient: BTreeMap<&str, Vec<&Listed>> = BTreeMap::new();
    for one in of(listed, ONCE) {
        by_recipient.entry(&one.to).or_default().push(one);
    }
    for (to, all) in by_recipient {
        let ids: BTreeSet<&str> = all.iter().map(|one| one.id.as_str()).collect();
        let at_receiver = log.iter().filter(|call| call.deed.takes() && ids.contains(call.id.as_str()));
        let got: BTreeSet<&str> = at_receiver.map(|call| call.id.as_str()).collect();
        ensure(got.len() <= 1, || format!("{to} got the same content {} times: {got:?}", got.len()))?;
        let count = |state: &str| all.iter().filter(|one| one.state == state).count() as u64;
        let (failed, unknown) = (count("failed"), count("unknown"));
        let through = count("delivered") + unknown;
        ensure(through <= 1, || format!("{to}: {through} deliveries of the same content were let through"))?;
        ensure(through == 1, || format!("{to}: no repeat was let through after {failed} failures"))?;
        figures.again_after_failure += u64::from(failed > 0);
        if unknown > 0 {
            figures.held_by_unknown += count("suppressed");
        }
        let refuses = Mood::of(to) == Some(Mood::RefusesFirst);
        ensure(failed == 0 || refuses, || format!("{to}: {failed} failed, and nobody refused any"))?;
    }
    Ok(())
}

/// What the cluster says of each delivery is what the receiver saw of it.
fn same_story(log: &[Call], listed: &[Listed], figures: &mut Figures) -> Proof {
    let mut seen: BTreeMap<&str, Vec<Deed>> = BTreeMap::new();
    for call in log {
        seen.entry(&call.id).or_default().push(call.deed);
    }
    for one in listed {
        let deeds = seen.remove(one.id.as_str()).unwrap_or_default();
        let code = one.reason.as_ref().map_or("", |reason| reason.code.as_str());
        let rule = if one.template == OFTEN { "frequency_cap" } else { "content_dedup" };
        let fits = match one.state.as_str() {
            "delivered" => deeds.contains(&Deed::Taken),
            "suppressed" => deeds.is_empty() && code == rule,
            "failed" => !deeds.is_empty() && deeds.iter().all(|deed| *deed == Deed::Refused),
            "unknown" => true,
            _ => false,
        };
        ensure(fits, || format!("{} is {} ({code}), the receiver saw {deeds:?}", one.id, one.state))?;
        match one.state.as_str() {
            "suppressed" => *figures.suppressed.entry(one.template.clone()).or_default() += 1,
            "failed" => {}
            _ => *figures.through.entry(one.template.clone()).or_default() += 1,
        }
    }
    ensure(seen.is_empty(), || format!("arrived and are not listed: {:?}", seen.keys().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(2);
    const TAKES: &str = "http://h/takes/1";
    const REFUSES: &str = "http://h/refuses-first/1";
    const BREAKS: &str = "http://h/breaks-off/1";

    /// A made-up run.
    #[derive(Default)]
    struct Story {
        began: Option<Instant>,
        log: Vec<Call>,
        listed: Vec<Listed>,
    }

    impl Story {
        fn call(mut self, ms: u64, to: &str, id: &str, deed: Deed) -> Self {
            let at = *self.began.get_or_insert_with(Instant::now) + Duration::from_millis(ms);
            self.log.push(Call { at, to: to.to_owned(), id: id.to_owned(), deed });
            self
        }

        fn is(mut self, template: &str, to: &str, id: &str, state: &str) -> Self {
            let code = if template == OFTEN { "frequency_cap" } else { "content_dedup" };
            let reason = (state == "suppressed").then(|| Reason { code: code.to_owned() });
            let [id, to, template, state] = [id, to, template, state].map(str::to_owned);
            self.listed.push(Listed { id, to, template, state, reason });
            self
        }

        fn judged(&self) -> Result<Figures, String> {
            judge(&self.log, &self.listed, &[(WINDOW, 2)]).map_err(|failure| failure.to_string())
        }
    }

    /// Deliveries that came so many milliseconds after the first.
    fn came(at: &[u64]) -> Story {
        at.iter().enumerate().fold(Story::default(), |story, (n, ms)| {
            let id = format!("d{n}");
            story.call(*ms, TAKES, &id, Deed::Taken).is(OFTEN, TAKES, &id, "delivered")
        })
    }

    #[test]
    fn one_too_many_in_a_window_is_found_on_both_sides_of_its_boundary() {
        assert_eq!(came(&[0, 100, 2_000, 2_100]).judged().expect("two in each").fullest, [2]);
        let wrong = came(&[0, 100, 1_999]).judged().expect_err("three within the window");
        assert!(wrong.contains("got 3 in 2s"), "{wrong}");
    }

    #[test]
    fn a_copy_of_a_delivery_is_no_further_one() {
        let story = came(&[0, 100]).call(200, TAKES, "d0", Deed::Taken);
        assert_eq!(story.judged().expect("two deliveries").fullest, [2]);
    }

    #[test]
    fn a_repeat_is_let_through_after_a_failure_and_only_one() {
        let failed = || Story::default().call(0, REFUSES, "a", Deed::Refused).is(ONCE, REFUSES, "a", "failed");
        let wrong = failed().is(ONCE, REFUSES, "b", "suppressed").judged().expect_err("the slot was not given back");
        assert!(wrong.contains("no repeat was let through"), "{wrong}");
        let again = || failed().call(1, REFUSES, "b", Deed::Taken).is(ONCE, REFUSES, "b", "delivered");
        assert_eq!(again().judged().expect("as it should be").again_after_failure, 1);
        let twice = again().call(2, REFUSES, "c", Deed::Taken).is(ONCE, REFUSES, "c", "delivered");
        assert!(twice.judged().expect_err("two were taken").contains("2 times"));
    }

    #[test]
    fn a_repeat_after_an_unknown_outcome_is_found_at_the_receiver_and_in_the_trace() {
        let unknown = || Story::default().call(0, BREAKS, "a", Deed::BrokenOff).is(ONCE, BREAKS, "a", "unknown");
        assert_eq!(unknown().is(ONCE, BREAKS, "b", "suppressed").judged().expect("held").held_by_unknown, 1);
        let arrived = unknown().call(1, BREAKS, "b", Deed::BrokenOff).is(ONCE, BREAKS, "b", "unknown");
        assert!(arrived.judged().expect_err("it went out twice").contains("2 times"));
        let on_its_way = unknown().is(ONCE, BREAKS, "b", "unknown");
        assert!(on_its_way.judged().expect_err("it was let through").contains("2 deliveries"));
    }

    #[test]
    fn the_cluster_and_the_receiver_have_to_tell_the_same() {
        let lies = [
            Story::default().is(ONCE, TAKES, "a", "delivered"),
            Story::default().call(0, TAKES, "a", Deed::Taken).is(ONCE, TAKES, "a", "suppressed"),
            Story::default().call(0, TAKES, "a", Deed::Taken).is(ONCE, TAKES, "a", "failed"),
            Story::default().is(ONCE, TAKES, "a", "failed"),
            Story::default().is(ONCE, TAKES, "a", "pending"),
            Story::default().call(0, TAKES, "a", Deed::Taken),
        ];
        for (n, lie) in lies.iter().enumerate() {
            assert!(lie.judged().is_err(), "lie {n}");
        }
    }
}
