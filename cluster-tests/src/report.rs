//! Prints figures as a table a person can read and a log can keep.

use std::fmt::Write as _;
use std::time::Duration;

use crate::load::Tally;
use crate::oracle::Verdict;

/// Lines of a name and a figure, under a title.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    lines: Vec<(String, String)>,
}

impl Report {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lines: Vec::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, name: impl Into<String>, figure: impl ToString) {
        self.lines.push((name.into(), figure.to_string()));
    }

    /// Adds what the judge found.
    pub fn verdict(&mut self, verdict: &Verdict, tally: &Tally) {
        self.line("accepted", verdict.accepted);
        self.line("delivered (of accepted)", verdict.delivered);
        self.line("lost", verdict.lost.len());
        self.line("never sent, arrived", verdict.invented.len());
        self.line("copies", verdict.duplicates);
        self.line("copies no kill explains", verdict.unexplained);
        self.line("in flight at kills", verdict.in_flight);
        self.line("without an answer (arrived)", format!("{} ({})", verdict.unknown.0, verdict.unknown.1));
        self.line("refused, retryable", tally.refused);
        self.line("longest gap in accepts", format!("{:.2} s", tally.longest_gap().as_secs_f64()));
        self.line("accepted per second", rate(verdict.accepted, tally.span()));
        let mut states: Vec<_> = verdict.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        states.sort_unstable();
        self.line("final states listed", states.join(", "));
        let mut codes: Vec<_> = tally.codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        codes.sort_unstable();
        self.line("refusals by code", if codes.is_empty() { "none".to_owned() } else { codes.join(", ") });
    }

    /// The text.
    pub fn text(&self) -> String {
        let width = self.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.title);
        for (name, figure) in &self.lines {
            let _never = writeln!(text, "  {name:<width$}  {figure}");
        }
        text
    }
}

/// A count over a time, as whole events a second.
pub fn rate(count: u64, span: Duration) -> u64 {
    let seconds = span.as_secs_f64();
    // Rates are far below 2^53.
    if seconds > 0.0 { (count as f64 / seconds) as u64 } else { 0 }
}

/// Bytes as mebibytes with one decimal.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1_024.0 * 1_024.0))
}
