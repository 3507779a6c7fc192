//! A group's time that was far in the future is set back; what the ids of messages make of it.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

/// Sets the time of a group back.
///
/// It takes effect only within [`Repair::WITHIN_MS`] of the group's time after `was` (or a moment before), so that one that comes late, or a second
/// time, changes nothing. What passed between `was` and then is added to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The group's time when the repair was asked for.
    pub was: Time,
    /// The agreed time at that moment.
    pub to: Time,
}

impl Repair {
    /// How late a repair may come, in milliseconds.
    pub const WITHIN_MS: u64 = 60_000;
    /// By how much whoever asks may be wrong about the group's time, in milliseconds.
    const EARLY_MS: u64 = 2_000;

    /// What the time is set to in a group where it is `now`; `None` if the repair comes too late or a second time.
    pub(crate) fn applied(self, now: Time) -> Option<Repaired> {
        // Who asks may know the group's time only nearly.
        let early = self.was.0.saturating_sub(now.0) > Self::EARLY_MS;
        let late_ms = Some(now.0.saturating_sub(self.was.0)).filter(|late| !early && *late <= Self::WITHIN_MS)?;
        let to = self.to.after_ms(late_ms);
        (to < now).then_some(Repaired { from: now, to })
    }
}

/// The last repair of a group's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// What its time was.
    pub from: Time,
    /// What it was set to.
    pub to: Time,
}

impl Repaired {
    /// The time that a new id carries at `now`. Ids sort by time and never go back: until the time of the old ids is
    /// reached again, theirs goes on slowly from there.
    pub fn id_time(this: Option<Self>, now: Time) -> Time {
        this.map_or(now, |it| now.max(it.from.after_ms(now.0.saturating_sub(it.to.0) / 100 + 1)))
    }

    /// The repair of which ids have to keep clear after `next` on top of `this`.
    pub(crate) fn and(this: Option<Self>, next: Self) -> Self {
        Self { from: Self::id_time(this, next.from), ..next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_takes_effect_once_and_not_late() {
        let repair = Repair { was: Time(3_600_000), to: Time(10_000) };
        let cases = [
            ("at once", 3_600_000, Some(10_000)),
            ("a little later", 3_600_700, Some(10_700)),
            ("at the last moment", 3_660_000, Some(70_000)),
            ("too late", 3_660_001, None),
            ("a second time", 10_700, None),
        ];
        for (what, now, to) in cases {
            let done = repair.applied(Time(now));
            assert_eq!(done.map(|done| done.to.0), to, "{what}");
        }
    }

    #[test]
    fn a_repair_that_would_set_time_forward_does_nothing() {
        assert_eq!(Repair { was: Time(5), to: Time(5) }.applied(Time(5)), None);
        assert_eq!(Repair { was: Time(5), to: Time(50) }.applied(Time(6)), None);
    }

    #[test]
    fn ids_never_go_back_and_catch_up() {
        let mut last = Time(0);
        let repaired = Some(Repaired { from: Time(1_000_000), to: Time(100_000) });
        for at in (100_000..2_000_000).step_by(333) {
            let id = Repaired::id_time(repaired, Time(at));
            assert!(id >= last && id > Time(1_000_000), "{id:?} at {at}");
            last = id;
        }
        assert_eq!(Repaired::id_time(repaired, Time(1_500_000)), Time(1_500_000));
        assert_eq!(Repaired::id_time(None, Time(7)), Time(7));
        let twice = Repaired::and(repaired, Repaired { from: Time(900_000), to: Time(800_000) });
        assert!(Repaired::id_time(Some(twice), Time(800_000)) > Repaired::id_time(repaired, Time(900_000)));
    }
}
