//! `proof [--short] [NAME…]`: runs the proofs that need real release processes, and says at the end how many passed.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use tidings_cluster_tests::report::Report;
use tidings_cluster_tests::scenarios::kills::Fault;
use tidings_cluster_tests::scenarios::{
    Scale, all_down, any_node, backup, bombs, callbacks, caps, endpoints, failover, grow, history, idempotency,
    isolation, judges, keys_cut_off, kills, limits, memory, phones, replace, rolling, smtp, strangers, vendors,
    webhook, weights,
};
use tidings_cluster_tests::vendors::{ARGUMENT as DOUBLE, serve};
use tidings_cluster_tests::{Failure, Proof};
use tokio::net::TcpListener;

const NAMES: [&str; 28] = [
    "kills",
    "freeze",
    "all-down",
    "rolling",
    "grow",
    "replace",
    "idempotency",
    "any-node",
    "history",
    "backup",
    "smtp",
    "vendors",
    "webhook",
    "phones",
    "callbacks",
    "memory",
    "limits",
    "isolation",
    "failover",
    "weights",
    "caps",
    "bombs",
    "strangers",
    "frozen-owner",
    "wrong-clock",
    "lost-disk",
    "dead-endpoint",
    "keys-cut-off",
];

#[tokio::main]
async fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let short = names.iter().position(|name| name == "--short").map(|at| names.remove(at)).is_some();
    if let [first, file] = names.as_slice()
        && first == DOUBLE
    {
        return double(Path::new(file)).await;
    }
    if names.is_empty() {
        names = NAMES.map(str::to_owned).to_vec();
    }
    let (mut passed, mut failed) = (0, 0);
    for name in &names {
        let began = Instant::now();
        match run(name, short).await {
            Ok(report) => {
                passed += 1;
                println!("proof {name} ... ok ({:.0} s)\n{}", began.elapsed().as_secs_f64(), report.text());
            }
            Err(failure) => {
                failed += 1;
                println!("proof {name} ... FAILED ({:.0} s)\n  {failure}\n", began.elapsed().as_secs_f64());
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Becomes the double of all vendors, and says where it listens.
async fn double(file: &Path) -> ExitCode {
    let (http, smtp) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let (Ok(http), Ok(smtp)) = (http.await, smtp.await) else { return ExitCode::FAILURE };
    let (Ok(address), Ok(mail)) = (http.local_addr(), smtp.local_addr()) else { return ExitCode::FAILURE };
    println!("http://{address} {}", mail.port());
    serve(http, smtp, file).await;
    ExitCode::SUCCESS
}

/// A short run does the same with less: what must hold is judged alike.
async fn run(name: &str, short: bool) -> Proof<Report> {
    match name {
        "kills" if short => kills::run(Fault::Kill, Scale { kills: 2, ..scale(20_000) }).await,
        "kills" => kills::run(Fault::Kill, Scale { kills: 3, ..scale(60_000) }).await,
        "freeze" if short => kills::run(Fault::Freeze, scale(10_000)).await,
        "freeze" => kills::run(Fault::Freeze, Scale { kills: 2, ..scale(20_000) }).await,
        "all-down" => all_down::run(scale(if short { 10_000 } else { 20_000 })).await,
        "rolling" => rolling::run(scale(8_000)).await,
        "grow" => grow::run(scale(4_000)).await,
        "replace" => replace::run(scale(if short { 10_000 } else { 20_000 })).await,
        "idempotency" => idempotency::run(9).await,
        "any-node" => any_node::run().await,
        "history" => history::run(4_000, 3).await,
        "backup" => backup::run(scale(8_000)).await,
        "smtp" => smtp::run(200).await,
        "vendors" => vendors::run().await,
        "webhook" => webhook::run(500).await,
        "phones" => phones::run(if short { 20_000 } else { 100_000 }).await,
        "callbacks" => callbacks::run(Scale { kills: 2, ..scale(8_000) }).await,
        "memory" => memory::run().await,
        "limits" if short => limits::run(160, 1).await,
        "limits" => limits::run(500, 2).await,
        "isolation" => isolation::run(if short { 30_000 } else { 100_000 }).await,
        "failover" => failover::run(6_000).await,
        "weights" => weights::run(10_000).await,
        "caps" => caps::run(if short { 1 } else { 3 }).await,
        "bombs" => bombs::run(short).await,
        "strangers" => strangers::run().await,
        "frozen-owner" if short => judges::run("frozen_owner", &[&["cancel"], &["short"]]).await,
        "frozen-owner" => {
            judges::run("frozen_owner", &[&["none"], &["cancel"], &["suppress"], &["twice"], &["short"]]).await
        }
        "wrong-clock" if short => judges::run("wrong_clock", &[&["90000"]]).await,
        "wrong-clock" => {
            let cases: [&[&str]; 6] = [&["3600"], &["90000"], &["2"], &["-3600"], &["90000", "2"], &["2592000"]];
            judges::run("wrong_clock", &cases).await
        }
        "lost-disk" if short => judges::run("lost_disk", &[&["rollback"]]).await,
        "lost-disk" => judges::run("lost_disk", judges::LOST_DISKS).await,
        "dead-endpoint" if short => judges::run("dead_endpoint", &[&["all"]]).await,
        "dead-endpoint" => judges::run("dead_endpoint", &[&["broken"], &["silent"], &["refused"], &["all"]]).await,
        "keys-cut-off" => keys_cut_off::run().await,
        "endpoints" => endpoints::run().await,
        other => Err(Failure::new(format!("there is no proof {other}; there are: {}", NAMES.join(", ")))),
    }
}

/// So many deliveries over the default number of partitions, one kill.
fn scale(messages: u64) -> Scale {
    Scale { messages, connections: 32, kills: 1, partitions: 8 }
}
