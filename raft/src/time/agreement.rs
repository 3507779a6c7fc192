//! Which clocks of a cluster agree with each other, and what time they agree on.

use super::offset::Offset;

/// What the clocks of a cluster say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The median of the clocks that agree with a majority; `None` where no majority agrees.
    pub(crate) agreed: Option<i64>,
    /// How this node's own clock stands.
    pub(crate) own: Stand,
}

/// How a clock stands against a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It agrees with a majority, of which it is one.
    Agrees,
    /// A majority agrees without it.
    Astray,
    /// No majority agrees, so nobody can tell.
    Unproven,
}

/// Compares the clocks of a cluster of `members` nodes: this node's own and those that are known of the others.
///
/// Two clocks agree when they are at most `bound_ms` apart beside the errors of measuring. A clock that agrees with a
/// majority of the members, itself counted, is believed.
pub(crate) fn agree(own: Offset, others: &[Offset], members: usize, bound_ms: u64) -> Agreement {
    let all: Vec<Offset> = std::iter::once(own).chain(others.iter().copied()).collect();
    let mut believed: Vec<i64> = all
        .iter()
        .filter(|clock| agrees(**clock, &all, members, bound_ms))
        .map(|clock| clock.guess(own.middle()))
        .collect();
    let stand = match (agrees(own, &all, members, bound_ms), believed.is_empty()) {
        (true, _) => Stand::Agrees,
        (false, false) => Stand::Astray,
        (false, true) => Stand::Unproven,
    };
    Agreement { agreed: median(&mut believed), own: stand }
}

/// Whether a clock agrees with a majority of the members. It is one of `all`.
pub(crate) fn agrees(clock: Offset, all: &[Offset], members: usize, bound_ms: u64) -> bool {
    let near = all.iter().filter(|other| clock.gap(**other) <= bound_ms).count();
    near > members / 2
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &mut [i64]) -> Option<i64> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    let (low, high) = (values[last / 2], values[values.len() / 2]);
    Some(low + (high - low) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// What is tried, this node's clock, the others', how many members there are, what is agreed on, how this clock stands.
    type Case<'a> = (&'a str, i64, &'a [i64], usize, Option<i64>, Stand);

    #[test]
    fn a_majority_is_believed_and_nobody_else() {
        let cases: &[Case<'_>] = &[
            ("alone", 7, &[], 1, Some(7), Stand::Agrees),
            ("two that agree", 0, &[400], 2, Some(200), Stand::Agrees),
            ("two that do not", 0, &[501], 2, None, Stand::Unproven),
            ("two, the other silent", 0, &[], 2, None, Stand::Unproven),
            ("three that agree", 0, &[10, 20], 3, Some(10), Stand::Agrees),
            ("one of three is an hour ahead", 0, &[HOUR, 20], 3, Some(10), Stand::Agrees),
            ("it is this one", HOUR, &[0, 20], 3, Some(10), Stand::Astray),
            ("this one is days behind", -72 * HOUR, &[0, 20], 3, Some(10), Stand::Astray),
            ("two of three are ahead together", 0, &[HOUR, HOUR + 10], 3, Some(HOUR + 5), Stand::Astray),
            ("all three are apart", 0, &[HOUR, -HOUR], 3, None, Stand::Unproven),
            ("one silent, two agree", 0, &[10], 3, Some(5), Stand::Agrees),
            ("one silent, two apart", 0, &[HOUR], 3, None, Stand::Unproven),
            ("a chain: the middle one agrees with all", 0, &[400, 800], 3, Some(400), Stand::Agrees),
            ("exactly at the bound", 0, &[500, 500], 3, Some(500), Stand::Agrees),
            ("just beyond it", 0, &[501, 501], 3, Some(501), Stand::Astray),
            ("two of five are ahead", 0, &[0, 0, HOUR, HOUR], 5, Some(0), Stand::Agrees),
            ("two and two of five", 0, &[0, HOUR, HOUR], 5, None, Stand::Unproven),
        ];
        for (what, own, others, members, agreed, stand) in cases {
            let others: Vec<Offset> = others.iter().map(|other| Offset::exact(*other)).collect();
            let said = agree(Offset::exact(*own), &others, *members, 500);
            assert_eq!((said.agreed, said.own), (*agreed, *stand), "{what}");
        }
    }

    #[test]
    fn what_cannot_be_measured_exactly_is_in_favour_of_the_clock() {
        let vague = Offset { low: 400, high: 800 };
        assert_eq!(agree(Offset::exact(0), &[vague, vague], 3, 500).own, Stand::Agrees);
        let far = Offset { low: 600, high: 800 };
        assert_eq!(agree(Offset::exact(0), &[far, far], 3, 500).own, Stand::Astray);
    }
}
