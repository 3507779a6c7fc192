//! The bench's table: one row a measured arrangement, every rate beside its share of the relay's.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What the load process says when it is done.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Loaded {
    /// Recipients accepted.
    pub accepted: u64,
    /// Recipients refused or without an answer.
    pub other: u64,
    /// From the first acceptance to the last, in microseconds.
    pub span_us: u64,
    /// The median time of an answer, in milliseconds.
    pub p50_ms: f64,
    /// The time in which 99 of 100 answers came, in milliseconds.
    pub p99_ms: f64,
}

/// One measured arrangement.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Recipients accepted a second.
    pub accepted: f64,
    /// Deliveries a second at the receiver, from its first to its last.
    pub delivered: f64,
    /// The median time of an answer, in milliseconds.
    pub p50_ms: f64,
    /// The time in which 99 of 100 answers came, in milliseconds.
    pub p99_ms: f64,
    /// Processor time of all its processes for one recipient, in microseconds.
    pub cpu_us: f64,
    /// Memory afterwards, of each process, in bytes.
    pub rss: Vec<u64>,
}

/// The rows as Markdown. The first row is what the others are compared with.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| arrangement | accepted/s | of relay | delivered/s | of relay | p50 ms | p99 ms | CPU µs | memory MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    let Some(relay) = rows.first() else { return text };
    for row in rows {
        let memory: Vec<_> = row.rss.iter().map(|bytes| (bytes >> 20).to_string()).collect();
        let _never = writeln!(
            text,
            "| {} | {:.0} | {:.2} | {:.0} | {:.2} | {:.1} | {:.1} | {:.0} | {} |",
            row.what,
            row.accepted,
            row.accepted / relay.accepted,
            row.delivered,
            row.delivered / relay.delivered,
            row.p50_ms,
            row.p99_ms,
            row.cpu_us,
            memory.join(" + ")
        );
    }
    text
}
