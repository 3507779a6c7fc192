//! Webhooks are verified by an independent implementation of Standard Webhooks: the `standardwebhooks` package for Python.

use std::time::Duration;

use super::plan;
use crate::cluster::{Cluster, Shape};
use crate::failure::ensure;
use crate::load::Load;
use crate::receiver::{Manners, Receiver, SECRET};
use crate::report::Report;
use crate::{Proof, python};

/// Runs one node, sends `messages`, and has every call verified.
///
/// # Errors
/// When one does not verify, or Python or the package is missing.
pub async fn run(messages: u64) -> Proof<Report> {
    let cluster = Cluster::start(&Shape::full(1, 2)).await?;
    cluster.teach_webhook(SECRET).await?;
    let receiver = Receiver::start(Manners { keep: true, verify: true, ..Manners::default() })?;
    let tally = Load::start(&cluster.admin, plan(&cluster, &receiver, 8, messages)).finish().await?;
    cluster.wait_drained().await?;
    receiver.wait_quiet(Duration::from_millis(500)).await;
    let seen = receiver.seen();
    ensure(seen.wrong.is_empty(), || format!("our own check refused {:?}", seen.wrong.first()))?;
    ensure(tally.accepted.len() == seen.arrivals.len(), || format!("{} arrived", seen.arrivals.len()))?;
    let said = python::verify(&cluster, "webhook", SECRET, &seen.kept)?;
    ensure(said == format!("{} verified", seen.calls), || format!("{} calls came, Python says: {said}", seen.calls))?;
    let mut report = Report::new("webhooks against an independent implementation (Python standardwebhooks)");
    report.line("calls", seen.calls);
    report.line("the other implementation says", said);
    Ok(report)
}
