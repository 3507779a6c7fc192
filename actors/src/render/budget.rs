//! What filling may cost: for each string, and for all strings of a content together.

use std::cell::Cell;

/// How much may be spent: about as many instructions, or 64 times as many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fuel {
    /// On one string.
    pub(super) text: u64,
    /// On all strings of one content, before the last of them begins.
    pub(super) filling: u64,
    /// On finding out what is missing, which fills it up to twenty times.
    pub(super) looking: u64,
    /// On trying it out while it is compiled.
    pub(super) compiling: u64,
}

impl Fuel {
    /// Where others wait meanwhile: some milliseconds, some 100 KB. What needs more is filled apart.
    pub(super) const HERE: Self = Self { text: 8_000, filling: 12_000, looking: 24_000, compiling: 48_000 };
    /// Where nobody waits and nothing can be broken: a string of 1.3 MB, a content of 5 MB.
    pub(super) const APART: Self = Self { text: 20_000, filling: 60_000, looking: 160_000, compiling: 160_000 };
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget(Cell<u64>);

impl Budget {
    pub(super) const fn new(fuel: u64) -> Self {
        Self(Cell::new(fuel))
    }

    pub(super) fn spend(&self, fuel: u64) {
        self.0.set(self.0.get().saturating_sub(fuel));
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}
