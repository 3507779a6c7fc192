//! The table of faults: one row each, in Markdown, so that it can be read in a log and kept in a README.

use std::time::Duration;

use crate::load::Tally;
use crate::oracle::Verdict;

/// What one fault came to.
#[derive(Clone, Debug)]
pub struct Row {
    verdict: Verdict,
    gap: Duration,
    heal: Duration,
    refused: u64,
    note: String,
}

/// How a fault ended, for the last column.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It was run and judged.
    Judged(Box<Row>),
    /// It cannot be run on this machine, and why.
    Skipped(String),
    /// It could not be run to its end, and why.
    Broken(String),
}

impl Row {
    /// What the judge, the callers and the clock say.
    pub fn new(verdict: Verdict, tally: &Tally, heal: Duration, note: String) -> Self {
        Self { verdict, gap: tally.longest_gap(), heal, refused: tally.refused, note }
    }

    /// Judges the longest time in which nothing was accepted, too.
    #[must_use]
    pub fn with_gap_within(mut self, most: Duration) -> Self {
        if self.gap > most {
            let (gap, most) = (self.gap.as_secs_f64(), most.as_secs_f64());
            self.verdict.wrong.push(format!("nothing was accepted for {gap:.2} s; at most {most:.0} s are allowed"));
        }
        self
    }
}

impl Ending {
    /// Whether every promise was seen to hold.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Judged(row) if row.verdict.wrong.is_empty())
    }

    /// Whether something is wrong, as opposed to passed or skipped.
    pub fn failed(&self) -> bool {
        !self.passed() && !matches!(self, Self::Skipped(_))
    }
}

/// The head of the table.
pub const HEAD: &str = "\
| fault | what is done | accepted | delivered | lost | duplicates | refused | longest gap s | heals in s | judged |
|---|---|---:|---:|---:|---:|---:|---:|---:|---|";

/// One line of the table.
pub fn line(name: &str, what: &str, ending: &Ending) -> String {
    let row = match ending {
        Ending::Skipped(why) => return format!("| {name} | {what} | | | | | | | | *skipped*: {} |", one_line(why)),
        Ending::Broken(why) => return format!("| {name} | {what} | | | | | | | | **failed**: {} |", one_line(why)),
        Ending::Judged(row) => row,
    };
    let verdict = &row.verdict;
    let wrong = verdict.wrong.join("; ");
    let judged = if wrong.is_empty() { "passed".to_owned() } else { format!("**failed**: {}", one_line(&wrong)) };
    let note = if row.note.is_empty() { String::new() } else { format!("; {}", one_line(&row.note)) };
    let (gap, heal) = (row.gap.as_secs_f64(), row.heal.as_secs_f64());
    format!(
        "| {name} | {what} | {} | {} | {} | {} | {} | {gap:.2} | {heal:.1} | {judged}{note} |",
        verdict.accepted,
        verdict.delivered,
        verdict.lost.len(),
        verdict.duplicates,
        row.refused
    )
}

/// The first line, without what would end a cell.
fn one_line(words: &str) -> String {
    words.lines().next().unwrap_or_default().replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_is_too_long_is_wrong_though_nothing_was_lost() {
        let row = |gap: u64| Row {
            verdict: Verdict::default(),
            gap: Duration::from_millis(gap),
            heal: Duration::ZERO,
            refused: 0,
            note: String::new(),
        };
        for (gap, passed) in [(2_999, true), (3_000, true), (3_001, false)] {
            let row = row(gap).with_gap_within(Duration::from_secs(3));
            assert_eq!(Ending::Judged(Box::new(row)).passed(), passed, "{gap} ms");
        }
    }

    #[test]
    fn what_was_skipped_or_is_wrong_is_never_called_passed() {
        let judged = |wrong: Vec<String>| {
            let verdict = Verdict { wrong, ..Verdict::default() };
            Ending::Judged(Box::new(Row::new(verdict, &Tally::default(), Duration::ZERO, String::new())))
        };
        let skipped = Ending::Skipped("no iptables".to_owned());
        assert!(judged(Vec::new()).passed() && line("a", "b", &judged(Vec::new())).ends_with("| passed |"));
        for (ending, failed) in [
            (judged(vec!["1 lost".to_owned()]), true),
            (Ending::Broken("no docker\nlog".to_owned()), true),
            (skipped, false),
        ] {
            assert!(!ending.passed() && ending.failed() == failed);
            assert!(!line("a", "b", &ending).contains("passed"));
        }
    }
}
