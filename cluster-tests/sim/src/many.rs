//! Many seeds, each in a process of its own, as many at once as there are processors. A process has no memory of the seed
//! before it, so a seed alone gives what it gave among others.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::Asked;
use crate::planted::BUGS;

/// Seeds that are run unless another number is asked for.
const SEEDS: u64 = 1_000;
/// Days that are run unless another number is asked for.
const DAYS: u64 = 2;

/// What a seed came to.
struct Ended {
    seed: u64,
    held: bool,
    words: String,
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
    match run() {
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            let words = if words.is_empty() { format!("seed {seed}: {}", output.status) } else { words };
            Ended { seed, held: output.status.success(), words }
        }
        Err(error) => Ended { seed, held: false, words: format!("seed {seed} could not be run: {error}") },
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
        if !ended.held {
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
    let mut broken: Vec<u64> = ended.iter().filter(|ended| !ended.held).map(|ended| ended.seed).collect();
    broken.sort_unstable();
    println!(
        "{} seeds from {}, {} broke a promise, {:.0} s",
        ended.len(),
        asked.from,
        broken.len(),
        start.elapsed().as_secs_f64()
    );
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints how many seeds catch each planted bug; fails if one is not caught within its number.
pub(crate) fn bugs(asked: &Asked) -> ExitCode {
    println!("| planted bug | what it breaks | caught by seed | must be within | noticed as |");
    println!("|---|---|---:|---:|---|");
    let mut missed = 0;
    for bug in BUGS.iter().filter(|bug| asked.bug.as_deref().is_none_or(|name| name == bug.name)) {
        let most = asked.seeds.unwrap_or(bug.within);
        let ended = run(asked.from..asked.from + most, jobs(asked), &["--bug", bug.name], |ended| !ended.held);
        let caught = ended.iter().filter(|ended| !ended.held).min_by_key(|ended| ended.seed);
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
