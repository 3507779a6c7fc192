//! When a node whose clock is astray may lead a group all the same: when nobody else can be elected.
//!
//! Such a node leads nothing, and gives away what it leads. But if most replicas of a group are on such nodes, and one whose
//! clock is right lacks something that they have, nobody would ever be elected: they do not stand, and they do not vote for
//! it. So one of them may stand after a while, fills the other one, and gives the group away at once. It stamps the group's
//! time as ever, which is not that of its own wall clock.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::types::GroupId;

/// A group that has had no leader for so long has nobody else.
const ORPHANED: Duration = Duration::from_secs(10);
/// How long a node whose clock is astray may take to give away what it leads, before it falls silent. It may stand again for a
/// group that has had no leader for a while after that.
pub(crate) const GIVEN_AWAY_WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug)]
enum State {
    /// It has had no leader since then.
    Orphaned(Instant),
    /// This node may stand for it, and lead it, since then.
    Rescued(Instant),
}

/// The groups here that have no leader, or are led here for want of another one.
#[derive(Debug, Default)]
pub(crate) struct Rescues(BTreeMap<GroupId, State>);

/// How a group stands, as a node sees it whose clock is astray.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Somebody leads it: this node, or one that was heard lately.
    pub(crate) led: bool,
    /// This node leads it.
    pub(crate) by_us: bool,
    /// Another voter lives whose clock is right, so that it can be given away.
    pub(crate) heir: bool,
}

impl Rescues {
    /// Whether this node may stand for the group and lead it, now. To be asked every second or oftener.
    pub(crate) fn allows(&mut self, group: GroupId, sight: Sight, now: Instant) -> bool {
        let state = self.0.get(&group).copied();
        let next = match state {
            Some(State::Rescued(since)) if sight.led && !sight.by_us || now - since >= GIVEN_AWAY_WITHIN => None,
            Some(State::Rescued(since)) => Some(State::Rescued(since)),
            _ if sight.led || !sight.heir => None,
            Some(State::Orphaned(since)) if now - since >= ORPHANED => {
                tracing::warn!(%group, "nobody else can lead it: this node does until another one has everything");
                Some(State::Rescued(now))
            }
            Some(orphaned) => Some(orphaned),
            None => Some(State::Orphaned(now)),
        };
        match next {
            Some(next) => self.0.insert(group, next),
            None => self.0.remove(&group),
        };
        matches!(next, Some(State::Rescued(_)))
    }

    /// The clock is right: this node may lead whatever it is elected for.
    pub(crate) fn end(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Sight = Sight { led: false, by_us: false, heir: true };
    const US: Sight = Sight { led: true, by_us: true, heir: true };
    const ANOTHER: Sight = Sight { led: true, by_us: false, heir: true };
    const ALONE: Sight = Sight { led: false, by_us: false, heir: false };

    /// Asks every half second, from `from` on, for so many seconds; gives the seconds at which it may lead.
    fn ask(rescues: &mut Rescues, start: Instant, sights: &[(u64, Sight)]) -> Vec<(f64, bool)> {
        let (mut half, mut said, mut changes) = (0, false, Vec::new());
        for (seconds, sight) in sights {
            for _ in 0..seconds * 2 {
                let allowed = rescues.allows(GroupId::Control, *sight, start + Duration::from_millis(half * 500));
                if allowed != said {
                    changes.push((half as f64 / 2.0, allowed));
                }
                (said, half) = (allowed, half + 1);
            }
        }
        changes
    }

    #[test]
    fn a_group_without_a_leader_is_led_after_a_while_and_given_up_again() {
        let now = Instant::now();
        let changes = ask(&mut Rescues::default(), now, &[(12, NOBODY), (40, US)]);
        assert_eq!(changes, [(10.0, true), (25.0, false)], "as long as it leads nobody needs it");
        let changes = ask(&mut Rescues::default(), now, &[(12, NOBODY), (40, NOBODY)]);
        assert_eq!(changes, [(10.0, true), (25.0, false), (35.5, true), (50.5, false)], "and it tries again");
    }

    #[test]
    fn a_group_that_another_one_leads_or_that_nobody_can_take_is_left_alone() {
        let now = Instant::now();
        let changes = ask(&mut Rescues::default(), now, &[(12, NOBODY), (5, US), (30, ANOTHER)]);
        assert_eq!(changes, [(10.0, true), (17.0, false)], "it was given away");
        assert_eq!(ask(&mut Rescues::default(), now, &[(9, NOBODY), (1, ANOTHER), (9, NOBODY)]), []);
        assert_eq!(ask(&mut Rescues::default(), now, &[(60, ALONE), (9, NOBODY)]), []);
    }
}
