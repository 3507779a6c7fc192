//! Many seeds, each in a process of its own, as many at once as there are processors. A process has no memory of the seed
//! before it, so a seed alone gives what it gave among others.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::planted::BUGS;
use crate::{Asked, UNASKED};

/// Seeds that are run unless another number is asked for.
const SEEDS: u64 = 1_000;
/// Days that are run unless another number is asked for.
const DAYS: u64 = 2;

/// How a seed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Held,
    Broke,
    /// Nothing is known of it: its process could not be started, or is another program by now.
    NotRun,
}

impl End {
    /// What an exit code says; there is none where a signal ended the process.
    fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Held,
            // It does not understand what it is asked, because another program stands in its place.
            Some(UNASKED) => Self::NotRun,
            _ => Self::Broke,
        }
    }
}

/// What a seed came to.
struct Ended {
    seed: u64,
    end: End,
    words: String,
}

impl Ended {
    fn not_run(seed: u64, why: impl std::fmt::Display) -> Self {
        Self { seed, end: End::NotRun, words: format!("seed {seed} could not be run: {why}") }
    }
}

/// Runs seeds until the last or until `enough` says so; gives what they came to, in no order.
fn run(seeds: std::ops::Range<u64>, jobs: usize, more: &[&str], enough: impl Fn(&Ended) -> bool + Sync) -> Vec<Ended> {
    let next = AtomicU64::new(seeds.start);
    let ended = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let one = one(seed, more);
                    if enough(&one) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                    ended.lock().push(one);
                }
            });
        }
    });
    ended.into_inner()
}

fn one(seed: u64, more: &[&str]) -> Ended {
    let run = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--seed", &seed.to_string()]).args(more).stderr(Stdio::null());
        command.output()
    };
    let output = match run() {
        Ok(output) => output,
        Err(error) => return Ended::not_run(seed, error),
    };
    let words = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    match End::of(output.status.code()) {
        End::NotRun => Ended::not_run(seed, output.status),
        end if words.is_empty() => Ended { seed, end, words: format!("seed {seed}: {}", output.status) },
        end => Ended { seed, end, words },
    }
}

fn jobs(asked: &Asked) -> usize {
    asked.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1)
}

/// Runs many seeds and prints every one that broke a promise, with the line that runs it again.
pub(crate) fn seeds(asked: &Asked) -> ExitCode {
    let usual = if asked.day { DAYS } else { SEEDS };
    let (count, start) = (asked.seeds.unwrap_or(usual), Instant::now());
    let tell = |ended: &Ended| {
        let mut out = std::io::stdout().lock();
        if ended.end == End::NotRun {
            let _ = writeln!(out, "{}", ended.words);
        } else if ended.end == End::Broke {
            let again = if asked.day { "sim --day --seed" } else { "just sim-seed" };
            let _ = writeln!(out, "{}\n  again: {again} {}", ended.words, ended.seed);
        } else if asked.day {
            let _ = writeln!(out, "{}", ended.words);
        }
        false
    };
    let bug = asked.bug.iter().flat_map(|bug| ["--bug", bug]);
    let more: Vec<&str> = bug.chain(asked.day.then_some("--day")).collect();
    let ended = run(asked.from..asked.from + count, jobs(asked), &more, tell);
    let count = |end: End| ended.iter().filter(|one| one.end == end).count();
    let (broken, missing) = (count(End::Broke), count(End::NotRun));
    let not_run = if missing > 0 { format!(", {missing} could not be run") } else { String::new() };
    println!(
        "{} seeds from {}, {broken} broke a promise{not_run}, {:.0} s",
        ended.len() - missing,
        asked.from,
        start.elapsed().as_secs_f64()
    );
    if broken + missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints how many seeds catch each planted bug; fails if one is not caught within its number.
pub(crate) fn bugs(asked: &Asked) -> ExitCode {
    println!("| planted bug | what it breaks | caught by seed | must be within | noticed as |");
    println!("|---|---|---:|---:|---|");
    let mut missed = 0;
    for bug in BUGS.iter().filter(|bug| asked.bug.as_deref().is_none_or(|name| name == bug.name)) {
        let most = asked.seeds.unwrap_or(bug.within);
        let ended =
            run(asked.from..asked.from + most, jobs(asked), &["--bug", bug.name], |ended| ended.end != End::Held);
        // What could not be run has noticed nothing.
        if let Some(one) = ended.iter().find(|ended| ended.end == End::NotRun) {
            println!("{}", one.words);
            return ExitCode::FAILURE;
        }
        let caught = ended.iter().filter(|ended| ended.end == End::Broke).min_by_key(|ended| ended.seed);
        match caught {
            Some(Ended { seed, words, .. }) => {
                let first = words.lines().next().unwrap_or_default();
                let promise = first.split(": ").nth(1).unwrap_or(first);
                let number = seed - asked.from + 1;
                println!("| `{}` | {} | {number} | {} | {promise} |", bug.name, bug.what, bug.within);
            }
            None => {
                missed += 1;
                println!("| `{}` | {} | not by {most} | {} | |", bug.name, bug.what, bug.within);
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_know_what_it_is_asked_has_broken_nothing() {
        for (code, end) in [
            (Some(0), End::Held),
            (Some(1), End::Broke),
            (Some(101), End::Broke),
            (None, End::Broke),
            (Some(2), End::NotRun),
        ] {
            assert_eq!(End::of(code), end, "{code:?}");
        }
    }
}
