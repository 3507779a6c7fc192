//! What breaks first in some lives, at a time that callers know beforehand: so that what they do meets it.

use rand::Rng;

use crate::plan::stream;

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A node is frozen while letters are due.
    Frozen,
    /// A node hears nothing while a key is revoked elsewhere.
    CutOff,
}

/// What breaks, where and when, in milliseconds after the callers began. Nothing else is broken meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Early {
    pub(crate) kind: Kind,
    pub(crate) node: usize,
    pub(crate) at: u64,
    pub(crate) until: u64,
}

impl Early {
    /// What the seed decides; most seeds have none.
    pub(crate) fn of(seed: u64, nodes: usize) -> Option<Self> {
        let mut chance = stream(seed, "early");
        if !chance.random_ratio(1, 4) {
            return None;
        }
        let kind = if chance.random() { Kind::Frozen } else { Kind::CutOff };
        // A frozen node is away until another one leads and has done its work; one that is cut off for longer than it may
        // believe what it knows of keys.
        let lasts = match kind {
            Kind::Frozen => chance.random_range(2_500..4_000),
            Kind::CutOff => chance.random_range(3_500..5_000),
        };
        let at = chance.random_range(1_500..2_500);
        Some(Self { kind, node: chance.random_range(1..=nodes), at, until: at + lasts })
    }
}
