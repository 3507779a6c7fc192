//! The time of one group: what its leader stamps on the next entry.

use tidings_contract::Time;

/// The time of one group on the node that leads it.
///
/// It is the present, unless the group has seen a later time already. Then it goes on from there and is drawn back by one
/// percent: what was stamped never comes again, and the present never follows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupClock {
    last: Time,
    /// From where it is drawn back: a time, and the elapsed milliseconds at which it was that.
    from: Option<(Time, u64)>,
}

impl GroupClock {
    /// The group's time. `applied` is the newest time that the machine has seen, `present` what this node takes for the present.
    pub(crate) fn read(&mut self, elapsed: u64, applied: Time, present: Time) -> Time {
        let newest = applied.max(self.last);
        if present >= newest {
            self.from = None;
            return present;
        }
        // From a later time than any that was seen it was drawn before the group's time was set back.
        let drawn = self.from.filter(|(from, _)| *from <= newest).map(|(from, at)| {
            let passed = elapsed.saturating_sub(at);
            from.after_ms(passed - passed / 100)
        });
        match drawn.filter(|time| *time >= newest) {
            Some(time) => time,
            None => {
                self.from = Some((newest, elapsed));
                newest
            }
        }
    }

    /// Takes the group's time for an entry. The next one is not before it.
    pub(crate) fn stamp(&mut self, elapsed: u64, applied: Time, present: Time) -> Time {
        self.last = self.read(elapsed, applied, present);
        self.last
    }

    /// Forgets what was stamped: the group's time was set back, or somebody else leads.
    pub(crate) fn forget(&mut self) {
        self.last = Time(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_present_where_nothing_later_was_seen() {
        let mut clock = GroupClock::default();
        for elapsed in [0, 10, 5_000] {
            assert_eq!(clock.stamp(elapsed, Time(900), Time(1_000 + elapsed)), Time(1_000 + elapsed));
        }
    }

    #[test]
    fn a_group_that_is_ahead_goes_on_one_percent_slower_until_the_present_is_there() {
        let mut clock = GroupClock::default();
        assert_eq!(clock.stamp(0, Time(61_000), Time(1_000)), Time(61_000));
        assert_eq!(clock.stamp(1_000, Time(61_000), Time(2_000)), Time(61_990));
        // Many small steps lose nothing by rounding.
        let mut last = Time(0);
        for elapsed in (1_000..=100_000).step_by(7) {
            last = clock.stamp(elapsed, last, Time(1_000 + elapsed));
        }
        assert!(last.0.abs_diff(61_000 + 99_000) <= 10, "{last:?}");
        let there = 60_000 * 100;
        assert_eq!(clock.stamp(there, last, Time(1_000 + there)), Time(1_000 + there));
    }

    #[test]
    fn what_others_stamped_meanwhile_counts() {
        let mut clock = GroupClock::default();
        clock.stamp(0, Time(5_000), Time(0));
        assert_eq!(clock.stamp(10, Time(9_000), Time(10)), Time(9_000));
        assert_eq!(clock.stamp(1_010, Time(9_000), Time(1_010)), Time(9_990));
    }

    #[test]
    fn it_never_goes_back_unless_it_is_told_to_forget() {
        let mut clock = GroupClock::default();
        let mut last = Time(0);
        for elapsed in 0..5_000 {
            let present = Time(if elapsed % 10 == 3 { 90_000 } else { 100 } + elapsed);
            let stamp = clock.stamp(elapsed, Time(0), present);
            assert!(stamp >= last, "{stamp:?} after {last:?}");
            last = stamp;
        }
        clock.forget();
        assert_eq!(clock.stamp(5_000, Time(1_000), Time(1_500)), Time(1_500));
    }

    #[test]
    fn a_group_that_was_set_back_goes_on_from_there() {
        let mut clock = GroupClock::default();
        clock.stamp(0, Time(90_000), Time(1_000));
        clock.stamp(1_000, Time(90_000), Time(2_000));
        clock.forget();
        assert_eq!(clock.stamp(2_000, Time(5_000), Time(3_000)), Time(5_000));
        assert_eq!(clock.stamp(3_000, Time(5_000), Time(4_000)), Time(5_990));
    }
}
