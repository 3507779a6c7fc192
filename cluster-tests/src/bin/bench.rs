//! `bench`: prints the table of rates, `bench only NODES BATCH [CALLERS]` one row of it; `bench receiver`, `bench relay` and
//! `bench load KEY PLAN` are its parts.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidings_cluster_tests::bench::run::{Amount, nodes, relay};
use tidings_cluster_tests::bench::table::{Loaded, markdown};
use tidings_cluster_tests::bench::{disk, relay as bare};
use tidings_cluster_tests::client::Client;
use tidings_cluster_tests::load::Load;
use tidings_cluster_tests::receiver::{self, Manners};
use tidings_cluster_tests::{Failure, Proof, When};
use tokio::net::TcpListener;

/// Callers at once: as many as it takes until more of them give no more, with the relay as with a node.
const CALLERS: usize = 256;
/// One message a request, end to end.
const SINGLE: Amount = Amount { callers: CALLERS, batch: 1, warm: 5_000, measured: 60_000 };
/// A hundred recipients a request.
const HUNDRED: Amount = Amount { callers: CALLERS, batch: 100, warm: 10_000, measured: 100_000 };
/// The default of a new cluster.
const PARTITIONS: u16 = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = match args.as_slice() {
        [] => table().await,
        ["only", nodes, batch] => only(nodes, batch, CALLERS).await,
        ["only", nodes, batch, callers] => match callers.parse() {
            Ok(callers) => only(nodes, batch, callers).await,
            Err(_) => Err(Failure::new("CALLERS is a number")),
        },
        ["receiver"] => receive().await,
        ["relay"] => bare_relay().await,
        ["load", key, plan] => load(key, plan).await,
        _ => Err(Failure::new("usage: bench")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn table() -> Proof {
    let dir = TempDir::with_prefix("tidings-bench-").when("making a temporary folder")?;
    let syncs = disk::syncs_per_second(dir.path(), Duration::from_secs(2))?;
    let mut rows = vec![relay(SINGLE).await?];
    rows.extend(nodes(1, PARTITIONS, &[SINGLE, HUNDRED]).await?);
    rows.extend(nodes(3, PARTITIONS, &[SINGLE, HUNDRED]).await?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}", markdown(&rows));
    println!(
        "4 KiB append and fdatasync: {syncs}/s. {cores} cores for load, nodes and receiver together; {CALLERS} callers."
    );
    Ok(())
}

/// One row, for whoever tunes: `0` nodes are the bare relay.
async fn only(count: &str, batch: &str, callers: usize) -> Proof {
    let count: usize = count.parse().when("reading how many nodes")?;
    let amount = Amount { callers, ..if batch == "1" { SINGLE } else { HUNDRED } };
    let rows = if count == 0 { vec![relay(amount).await?] } else { nodes(count, PARTITIONS, &[amount]).await? };
    println!("{}", markdown(&rows));
    Ok(())
}

async fn receive() -> Proof {
    let listener = listen().await?;
    receiver::serve(listener, Manners::default(), Arc::default()).await;
    Ok(())
}

async fn bare_relay() -> Proof {
    bare::serve(listen().await?).await
}

/// Binds a free port and says which, for the process that started this one.
async fn listen() -> Proof<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.when("binding a port")?;
    println!("http://{}", listener.local_addr().when("binding a port")?);
    Ok(listener)
}

async fn load(key: &str, plan: &str) -> Proof {
    let plan = serde_json::from_str(plan).when("reading the plan")?;
    let tally = Load::start(&Client::new(key), plan).finish().await?;
    let loaded = Loaded {
        accepted: tally.accepted.len() as u64,
        other: tally.refused + tally.unknown.len() as u64,
        span_us: u64::try_from(tally.span().as_micros()).unwrap_or(u64::MAX),
        p50_ms: tally.latency_ms(0.5),
        p99_ms: tally.latency_ms(0.99),
    };
    println!("{}", serde_json::to_string(&loaded).when("writing what was loaded")?);
    Ok(())
}
