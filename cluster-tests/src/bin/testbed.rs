//! `testbed up | down | faults [NAME…] | soak [MESSAGES]`: the compose testbed and the faults.
//! `testbed receiver ADDRESS` and `testbed late MEAN SPREAD` are parts of it.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_cluster_tests::faults::{self, FAULTS, soak, table};
use tidings_cluster_tests::receiver::{self, Manners, Seen};
use tidings_cluster_tests::testbed::late::hold;
use tidings_cluster_tests::testbed::{compose, person};
use tidings_cluster_tests::{Failure, Proof, When};
use tokio::signal::unix::{SignalKind, signal};

/// Messages of a soak unless another number is given.
const SOAK: u64 = 1_000_000;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // What was started is taken away when the future is dropped, so a signal ends it in order.
    let result = tokio::select! {
        result = run(&args) => result,
        () = told_to_stop() => Err(Failure::new("stopped; what was started is taken away")),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[String]) -> Proof<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["up"] => {
            build()?;
            println!("{}", person::up().await?);
        }
        ["down"] => person::down()?,
        ["faults", ref names @ ..] => return run_faults(names).await,
        ["soak"] => println!("{}", soak::run(SOAK).await?.text()),
        ["soak", messages] => println!("{}", soak::run(messages.parse().when("reading the number")?).await?.text()),
        ["receiver", address] => receive(address).await?,
        ["late", mean, spread] => late(mean, spread)?,
        _ => return Err(Failure::new("testbed up | down | faults [NAME…] | soak [MESSAGES] | receiver ADDRESS")),
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Proof {
    let own = std::env::current_exe().when("finding the running program")?;
    print!("{}", compose::build_images(own.parent().when("finding the programs")?)?);
    Ok(())
}

/// Runs the named faults, or all, one after another; the table comes line by line.
async fn run_faults(names: &[&str]) -> Proof<ExitCode> {
    let known = |name: &str| FAULTS.iter().find(|fault| fault.name == name);
    if let Some(unknown) = names.iter().find(|name| known(name).is_none()) {
        let all: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
        return Err(Failure::new(format!("there is no fault {unknown}; there are: {}", all.join(", "))));
    }
    build()?;
    println!("{}", table::HEAD);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut words = Vec::new();
    for fault in FAULTS.iter().filter(|fault| names.is_empty() || names.contains(&fault.name)) {
        let ending = match (fault.missing)() {
            Some(why) => table::Ending::Skipped(why),
            None => match faults::run(fault.name).await {
                Ok(row) => table::Ending::Judged(Box::new(row)),
                Err(failure) => {
                    words.push(format!("{}: {failure}", fault.name));
                    table::Ending::Broken(failure.to_string())
                }
            },
        };
        passed += u32::from(ending.passed());
        failed += u32::from(ending.failed());
        skipped += u32::from(matches!(ending, table::Ending::Skipped(_)));
        println!("{}", table::line(fault.name, fault.what, &ending));
    }
    println!("\n{}", words.join("\n"));
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Holds packets inside a node's network, for so many milliseconds.
fn late(mean: &str, spread: &str) -> Proof {
    let ms = |text: &str| text.parse().map(Duration::from_millis).when("reading the milliseconds");
    hold(ms(mean)?, ms(spread)?)
}

/// The provider double: counts until it is stopped.
async fn receive(address: &str) -> Proof {
    let listener = tokio::net::TcpListener::bind(address).await.when(format!("listening on {address}"))?;
    receiver::serve(listener, Manners::default(), Arc::new(Mutex::new(Seen::default()))).await;
    Ok(())
}

async fn told_to_stop() {
    // Without a handler the signal ends the process at once, as it would without this function.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
