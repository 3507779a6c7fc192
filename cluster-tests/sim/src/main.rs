//! The program of the simulation: one seed with its trace, or many seeds, or the table of the planted bugs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

mod clock;
mod day;
mod disks;
mod early;
mod faults;
mod host;
mod http;
mod invariants;
mod lists;
mod many;
mod operator;
mod plan;
mod planted;
mod poison;
mod provider;
mod run;
mod skew;
mod stock;
mod trace;
mod workload;
mod world;

use std::process::ExitCode;

const USAGE: &str = "usage: sim [--seeds COUNT] [--from SEED] [--jobs COUNT]   many seeds, each in a process of its own
       sim --seed SEED [--trace] [--bug NAME]           one seed again; --trace prints what happened
       sim --day [--seeds COUNT] [--from SEED] [--seed SEED] [--bug NAME]  a day under one limit: 20 in 60 s
       sim --bugs [--seeds MOST] [--bug NAME]           how many seeds catch each planted bug";

/// The exit code of a program that does not know what it is asked for.
pub(crate) const UNASKED: i32 = 2;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) seed: Option<u64>,
    pub(crate) seeds: Option<u64>,
    pub(crate) from: u64,
    pub(crate) jobs: Option<usize>,
    pub(crate) trace: bool,
    pub(crate) bugs: bool,
    pub(crate) day: bool,
    pub(crate) bug: Option<String>,
}

fn asked() -> Option<Asked> {
    let mut asked = Asked { from: 1, ..Asked::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--trace" => asked.trace = true,
            "--bugs" => asked.bugs = true,
            "--day" => asked.day = true,
            "--seed" => asked.seed = Some(words.next()?.parse().ok()?),
            "--seeds" => asked.seeds = Some(words.next()?.parse().ok()?),
            "--from" => asked.from = words.next()?.parse().ok()?,
            "--jobs" => asked.jobs = Some(words.next()?.parse().ok()?),
            "--bug" => asked.bug = Some(words.next()?),
            _ => return None,
        }
    }
    Some(asked)
}

fn main() -> ExitCode {
    let Some(asked) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(seed) = asked.seed {
        return run::one(seed, &asked);
    }
    if asked.bugs { many::bugs(&asked) } else { many::seeds(&asked) }
}
