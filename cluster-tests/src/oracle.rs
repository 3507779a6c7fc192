//! The judge: compares what callers were told, what the receiver counted, and what the cluster says of itself.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::Proof;
use crate::cluster::{Cluster, Stats};
use crate::failure::ensure;
use crate::load::Tally;
use crate::receiver::Seen;

/// A copy counts as explained by a kill if the copy before it came at most so long before the kill.
const BEFORE_KILL: Duration = Duration::from_secs(5);
/// Most deliveries that one page of the API lists.
const PAGE: usize = 500;

/// One kill, as the proof did it.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// When.
    pub at: Instant,
    /// Deliveries accepted and not ended just before, by the cluster's own count: each may come twice.
    pub in_flight: u64,
}

/// What the judge found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Deliveries that callers were told are kept.
    pub accepted: u64,
    /// Of them, those that arrived at least once.
    pub delivered: u64,
    /// Of them, those that never did.
    pub lost: Vec<u64>,
    /// Arrived without ever having been sent.
    pub invented: Vec<String>,
    /// Sent with no answer to tell what became of them; of these, how many arrived.
    pub unknown: (u64, u64),
    /// Copies beyond the first.
    pub duplicates: u64,
    /// Of them, those that no kill explains.
    pub unexplained: u64,
    /// Deliveries in flight at all kills together.
    pub in_flight: u64,
    /// Deliveries that the cluster lists, by state.
    pub states: HashMap<String, u64>,
    /// The cluster's totals.
    pub stats: Stats,
    /// Everything that is wrong, in words. Empty means the promises held.
    pub wrong: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    deliveries: Vec<Summary>,
    next: Option<String>,
    #[serde(default)]
    incomplete: Vec<String>,
}

#[derive(Deserialize)]
struct Summary {
    id: String,
    state: String,
}

/// Judges a run in which nothing else was sent to this cluster.
///
/// # Errors
/// When the cluster cannot be asked. What it did wrong stands in the verdict.
pub async fn judge(cluster: &Cluster, tally: &Tally, seen: &Seen, kills: &[Kill]) -> Proof<Verdict> {
    let mut verdict = arrivals(tally, seen, kills);
    verdict.stats = cluster.stats().await?;
    let listed = listed(cluster).await?;
    for state in listed.values() {
        *verdict.states.entry(state.clone()).or_default() += 1;
    }
    verdict.check_states(tally, seen, &listed);
    verdict.excuse_held(tally, &listed);
    verdict.check_arrivals();
    Ok(verdict)
}

/// What the receiver alone can tell.
fn arrivals(tally: &Tally, seen: &Seen, kills: &[Kill]) -> Verdict {
    let arrived: HashSet<u64> = seen.arrivals.values().map(|arrival| arrival.n).collect();
    let lost: Vec<u64> = tally.accepted.keys().copied().filter(|n| !arrived.contains(n)).collect();
    let mut invented = Vec::new();
    for (id, arrival) in &seen.arrivals {
        let told = tally.accepted.get(&arrival.n);
        let sent = told == Some(id) || (told.is_none() && tally.unknown.contains(&arrival.n));
        if !sent {
            invented.push(format!("{id} with number {}, known as {told:?}", arrival.n));
        }
    }
    let explained =
        |first: Instant, second: Instant| kills.iter().any(|kill| second >= kill.at && first + BEFORE_KILL >= kill.at);
    let copies = seen.arrivals.values().flat_map(|arrival| arrival.copies.windows(2));
    let unexplained = copies.filter(|pair| !explained(pair[0], pair[1])).count() as u64;
    Verdict {
        accepted: tally.accepted.len() as u64,
        delivered: tally.accepted.len() as u64 - lost.len() as u64,
        unknown: (tally.unknown.len() as u64, tally.unknown.iter().filter(|n| arrived.contains(n)).count() as u64),
        duplicates: seen.duplicates(),
        unexplained,
        in_flight: kills.iter().map(|kill| kill.in_flight).sum(),
        lost,
        invented,
        wrong: seen.wrong.iter().take(5).cloned().collect(),
        ..Verdict::default()
    }
}

impl Verdict {
    /// Fails if anything is wrong.
    ///
    /// # Errors
    /// With all that is.
    pub fn sentence(&self) -> Proof {
        ensure(self.wrong.is_empty(), || self.wrong.join("; "))
    }

    /// What a cap was meant to hold, and the cluster says that it held, is not lost.
    fn excuse_held(&mut self, tally: &Tally, listed: &HashMap<String, String>) {
        let state = |n: &u64| tally.accepted.get(n).and_then(|id| listed.get(id));
        let held = |n: &u64| tally.may_be_held.contains(n) && state(n).is_some_and(|state| state == "suppressed");
        self.lost.retain(|n| !held(n));
    }

    fn check_arrivals(&mut self) {
        if !self.lost.is_empty() {
            let some: Vec<_> = self.lost.iter().take(5).collect();
            self.wrong.push(format!("{} accepted never arrived, such as {some:?}", self.lost.len()));
        }
        if let Some(one) = self.invented.first() {
            self.wrong.push(format!("{} arrived that were never sent, such as {one}", self.invented.len()));
        }
        if self.duplicates > self.in_flight {
            self.wrong.push(format!("{} copies, but only {} were in flight", self.duplicates, self.in_flight));
        }
    }

    fn check_states(&mut self, tally: &Tally, seen: &Seen, listed: &HashMap<String, String>) {
        let unlisted = tally.accepted.values().filter(|id| !listed.contains_key(*id)).count();
        if unlisted > 0 {
            self.wrong.push(format!("{unlisted} accepted deliveries are not listed by the cluster"));
        }
        for never in ["failed", "suppressed"] {
            let contradicted = seen.arrivals.keys().filter(|id| listed.get(*id).is_some_and(|state| state == never));
            let contradicted = contradicted.count();
            if contradicted > 0 {
                self.wrong.push(format!("{contradicted} arrived and are called {never}"));
            }
        }
        let pretended = listed.iter().filter(|(id, state)| *state == "delivered" && !seen.arrivals.contains_key(*id));
        let pretended = pretended.count();
        if pretended > 0 {
            self.wrong.push(format!("{pretended} are called delivered and never arrived"));
        }
        let ended: u64 = self.stats.ended.values().sum();
        if self.stats.accepted != ended + self.stats.pending {
            self.wrong.push(format!("the counts do not add up: {:?}", self.stats));
        }
        if self.stats.pending != 0 {
            self.wrong.push(format!("{} are still pending", self.stats.pending));
        }
        if self.stats.accepted != listed.len() as u64 {
            self.wrong.push(format!("{} are counted and {} are listed", self.stats.accepted, listed.len()));
        }
        let most = self.accepted + self.unknown.0;
        if self.stats.accepted < self.accepted || self.stats.accepted > most {
            let counted = self.stats.accepted;
            self.wrong.push(format!("{counted} are counted, callers know of {} to {most}", self.accepted));
        }
    }
}

/// Every delivery that the cluster lists, page by page, with its state. One listed twice is an error.
async fn listed(cluster: &Cluster) -> Proof<HashMap<String, String>> {
    let mut all = HashMap::new();
    let mut cursor = None::<String>;
    loop {
        let path = match &cursor {
            None => format!("/v1/deliveries?limit={PAGE}"),
            Some(cursor) => format!("/v1/deliveries?limit={PAGE}&cursor={cursor}"),
        };
        let page: Page = cluster.ask(&path).await?;
        ensure(page.incomplete.is_empty(), || format!("{:?} could not be listed", page.incomplete))?;
        for Summary { id, state } in page.deliveries {
            ensure(!all.contains_key(&id), || format!("{id} is listed twice"))?;
            all.insert(id, state);
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::Arrival;

    /// Three accepted and arrived, one unknown that arrived, and a kill between the first and the second half second.
    struct Case {
        tally: Tally,
        seen: Seen,
        kills: Vec<Kill>,
        listed: HashMap<String, String>,
        stats: Stats,
    }

    fn good() -> Case {
        let at = Instant::now();
        let id = |n: u64| format!("dlv_{n}");
        let arrivals = (1..=4).map(|n| (id(n), Arrival { n, copies: vec![at] })).collect();
        let tally =
            Tally { accepted: (1..=3).map(|n| (n, id(n))).collect(), unknown: HashSet::from([4]), ..Tally::default() };
        Case {
            tally,
            seen: Seen { arrivals, calls: 4, ..Seen::default() },
            kills: vec![Kill { at: at + Duration::from_millis(500), in_flight: 1 }],
            listed: (1..=4).map(|n| (id(n), "delivered".to_owned())).collect(),
            stats: Stats {
                accepted: 4,
                pending: 0,
                ended: [("delivered".to_owned(), 4)].into(),
                incomplete: Vec::new(),
            },
        }
    }

    fn verdict(case: &Case) -> Verdict {
        let mut verdict = arrivals(&case.tally, &case.seen, &case.kills);
        verdict.stats = case.stats.clone();
        verdict.check_states(&case.tally, &case.seen, &case.listed);
        verdict.excuse_held(&case.tally, &case.listed);
        verdict.check_arrivals();
        verdict
    }

    /// Plants one fault and gives what the judge says.
    fn planted(plant: impl FnOnce(&mut Case)) -> String {
        let mut case = good();
        plant(&mut case);
        verdict(&case).wrong.join("; ")
    }

    fn again(case: &mut Case, id: &str, after: Duration) {
        let copies = &mut case.seen.arrivals.get_mut(id).expect("it arrived").copies;
        copies.push(copies[0] + after);
        case.seen.calls += 1;
    }

    #[test]
    fn a_run_that_kept_every_promise_is_judged_so() {
        let verdict = verdict(&good());
        assert_eq!(verdict.wrong, Vec::<String>::new());
        assert_eq!((verdict.accepted, verdict.delivered, verdict.unknown), (3, 3, (1, 1)));
    }

    #[test]
    fn what_is_lost_invented_or_doubled_is_found() {
        assert!(planted(|case| drop(case.seen.arrivals.remove("dlv_2"))).contains("accepted never arrived"));
        assert!(planted(|case| case.tally.unknown.clear()).contains("never sent"));
        let swapped = planted(|case| {
            case.tally.accepted.insert(1, "dlv_other".to_owned());
        });
        assert!(swapped.contains("never sent"), "{swapped}");
        let doubled = planted(|case| {
            again(case, "dlv_1", Duration::from_secs(1));
            again(case, "dlv_2", Duration::from_secs(1));
        });
        assert!(doubled.contains("2 copies, but only 1 were in flight"), "{doubled}");
    }

    #[test]
    fn a_copy_is_explained_only_by_a_kill_between_it_and_the_one_before() {
        let unexplained = |after| {
            let mut case = good();
            again(&mut case, "dlv_1", after);
            verdict(&case).unexplained
        };
        assert_eq!(unexplained(Duration::from_secs(1)), 0);
        assert_eq!(unexplained(Duration::from_millis(100)), 1);
    }

    #[test]
    fn what_a_cap_held_is_not_lost_if_it_was_meant_to_and_the_cluster_says_so() {
        let held = |meant: bool, state: &str| {
            planted(|case| {
                case.seen.arrivals.remove("dlv_2");
                case.seen.calls -= 1;
                case.listed.insert("dlv_2".to_owned(), state.to_owned());
                case.tally.may_be_held.extend(meant.then_some(2));
            })
        };
        assert_eq!(held(true, "suppressed"), "");
        assert!(held(true, "expired").contains("accepted never arrived"));
        assert!(held(false, "suppressed").contains("accepted never arrived"));
    }

    #[test]
    fn states_that_contradict_the_receiver_or_the_counts_are_found() {
        let state = |id: &str, state: &str| {
            let (id, state) = (id.to_owned(), state.to_owned());
            planted(|case| drop(case.listed.insert(id, state)))
        };
        assert!(state("dlv_1", "failed").contains("arrived and are called failed"));
        assert!(state("dlv_1", "suppressed").contains("arrived and are called suppressed"));
        assert!(state("dlv_9", "delivered").contains("called delivered and never arrived"));
        assert!(planted(|case| drop(case.listed.remove("dlv_1"))).contains("not listed"));
        assert!(planted(|case| case.stats.accepted = 5).contains("do not add up"));
        assert!(planted(|case| case.stats.pending = 1).contains("still pending"));
    }
}
