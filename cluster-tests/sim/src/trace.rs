//! What happened in a simulation, line by line, and the hash of it: the same seed gives the same lines.

use std::cell::RefCell;

use xxhash_rust::xxh3::Xxh3;

struct Trace {
    print: bool,
    lines: u64,
    hash: Xxh3,
}

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace { print: false, lines: 0, hash: Xxh3::new() }) };
}

/// Whether every line is printed from now on.
pub(crate) fn print(on: bool) {
    TRACE.with_borrow_mut(|trace| trace.print = on);
}

/// Notes one line: when, in simulated milliseconds, and what.
pub(crate) fn note(at: u64, what: &str) {
    TRACE.with_borrow_mut(|trace| {
        trace.lines += 1;
        trace.hash.update(&at.to_le_bytes());
        trace.hash.update(what.as_bytes());
        trace.hash.update(b"\n");
        if trace.print {
            println!("{at:>8} {what}");
        }
    });
}

/// How many lines there are, and their hash.
pub(crate) fn sum() -> (u64, u64) {
    TRACE.with_borrow(|trace| (trace.lines, trace.hash.digest()))
}
