//! The judges of `judges/`: promises tried by Python programs that share no code with Tidings and see only its processes.

use std::process::{Command, Output, Stdio};

use crate::report::Report;
use crate::{Failure, Proof, When, binary};

/// What the judge's last line begins with.
const VERDICT: &str = "judged: ";

/// What happens to the disks of three nodes: one is lost while another node is away, a node is just away, a majority is lost.
pub const LOST_DISKS: &[&[&str]] =
    &[&["wipe"], &["rollback"], &["back"], &["two-wiped"], &["all-rolled-back"], &["all-rolled-back-at-once"]];

/// Runs `judge` once for each of `cases` (its arguments), one after another.
///
/// # Errors
/// The first case that does not hold, with everything the judge printed.
pub async fn run(judge: &str, cases: &[&[&str]]) -> Proof<Report> {
    let mut report = Report::new(format!("{judge}: three real nodes, driven and judged by a program of its own"));
    for case in cases {
        let output = judged(judge, case).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = said.lines().rev().find_map(|line| line.strip_prefix(VERDICT));
        let Some(verdict) = verdict.filter(|_| output.status.success()) else {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("{judge} {}:\n{said}{words}", case.join(" "))));
        };
        report.line(case.join(" "), verdict);
        for line in said.lines().filter_map(|line| line.split_once("] ok   ")) {
            report.line("", line.1);
        }
    }
    Ok(report)
}

/// Runs one case. Every wait of a judge is bounded, so it ends by itself.
async fn judged(judge: &str, case: &[&str]) -> Proof<Output> {
    let python = std::env::var("TIDINGS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg("-B").arg(binary::root().join(format!("cluster-tests/judges/{judge}.py"))).args(case);
    command.env("TIDINGS_BIN", binary::tidings()?).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    ended.when("waiting for a judge")?.when("running a judge in Python")
}
