//! What this node takes for the present: elapsed time from a start that was agreed on, drawn slowly towards agreed time.

/// Of a hundred milliseconds that pass, the present is moved by one at most.
const DRAWN_BY: u64 = 100;

/// The present. It follows no wall clock: from its start on it elapses, and is drawn towards agreed time by at most 1 %.
///
/// All arguments `elapsed` are this machine's elapsed milliseconds, which never go back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    /// Elapsed time at which it showed `time`.
    at: u64,
    /// Milliseconds since the Unix epoch.
    time: u64,
    /// How far it was from agreed time then; drawn in from there on.
    off: i64,
    /// Whether its start was agreed on.
    settled: bool,
}

impl Present {
    /// A present that nobody agreed on yet.
    pub(crate) fn unsettled(elapsed: u64, time: u64) -> Self {
        Self { at: elapsed, time, off: 0, settled: false }
    }

    /// The present, in milliseconds since the Unix epoch.
    pub(crate) fn read(&self, elapsed: u64) -> u64 {
        let passed = elapsed.saturating_sub(self.at);
        let most = i64::try_from(passed / DRAWN_BY).unwrap_or(i64::MAX);
        self.time.saturating_add(passed).saturating_add_signed(self.off.clamp(-most, most))
    }

    /// Whether its start was agreed on.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Begins anew at `time`, which was agreed on: the only way in which it jumps.
    pub(crate) fn settle(&mut self, elapsed: u64, time: u64) {
        *self = Self { at: elapsed, time, off: 0, settled: true };
    }

    /// From now on it is drawn towards `agreed`, or elapses where nothing is agreed on.
    pub(crate) fn draw_towards(&mut self, elapsed: u64, agreed: Option<u64>) {
        let time = self.read(elapsed);
        let off = agreed.map_or(0, |agreed| super::signed(agreed) - super::signed(time));
        *self = Self { at: elapsed, time, off, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000_000;

    fn settled() -> Present {
        let mut present = Present::unsettled(0, 0);
        present.settle(0, START);
        present
    }

    #[test]
    fn it_elapses() {
        let present = settled();
        assert_eq!(
            (present.read(0), present.read(5_000), present.read(86_400_000)),
            (START, START + 5_000, START + 86_400_000)
        );
    }

    #[test]
    fn it_is_drawn_by_one_percent_and_no_further_than_agreed_time() {
        for (off, after_1_s, after_10_s, after_an_hour) in [
            (50_i64, 10_i64, 50_i64, 50_i64),
            (-50, -10, -50, -50),
            (3_600_000, 10, 100, 36_000),
            (-86_400_000, -10, -100, -36_000),
        ] {
            let mut present = settled();
            present.draw_towards(0, Some(START.saturating_add_signed(off)));
            for (elapsed, drawn) in [(1_000, after_1_s), (10_000, after_10_s), (3_600_000, after_an_hour)] {
                let expected = (START + elapsed).saturating_add_signed(drawn);
                assert_eq!(present.read(elapsed), expected, "off by {off}, after {elapsed} ms");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_each_second_moves_it_by_its_mean_at_most() {
        let mut present = settled();
        for second in 1..=600_u64 {
            let jump = if second % 2 == 0 { 0 } else { 3_600_000 };
            present.draw_towards(second * 1_000, Some(START + second * 1_000 + jump));
        }
        let off = present.read(600_000).abs_diff(START + 600_000);
        assert!(off <= 3_010, "it moved by {off} ms");
    }

    #[test]
    fn it_never_goes_back_while_it_is_drawn() {
        let mut present = settled();
        let mut last = 0;
        for step in 0..2_000_u64 {
            let elapsed = step * 37;
            let agreed = if step % 3 == 0 { START - 90_000_000 } else { START + 90_000_000 };
            present.draw_towards(elapsed, (step % 7 != 0).then_some(agreed));
            let now = present.read(elapsed);
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
    }
}
