//! Measures the actors alone: how many deliveries a second go from the state through dispatcher, template, sender and
//! recorder back into the state, over a ledger in memory and a provider that takes everything at once.
//!
//! `cargo run --release -p tidings-actors --features testing --example rate [deliveries] [partitions]`

use std::time::{Duration, Instant};

use tidings_actors::Settings;
use tidings_actors::testing::{FakeChannel, Spec, World};

const PER_MESSAGE: u16 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<u32>().ok());
    let total = args.next().unwrap_or(200_000) / u32::from(PER_MESSAGE) * u32::from(PER_MESSAGE);
    let partitions = u16::try_from(args.next().unwrap_or(4))?;
    for (name, spec, latency) in [
        ("shared content", Spec::default(), Duration::ZERO),
        ("own variables", Spec { own: Some("{\"name\":\"Bo\"}".to_owned()), ..Spec::default() }, Duration::ZERO),
        ("shared content, proposals of 2 ms", Spec::default(), Duration::from_millis(2)),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let took = runtime.block_on(run(total, partitions, &spec, latency))?;
        let rate = f64::from(total) / took.as_secs_f64();
        print_figure(name, total, partitions, took, rate);
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn print_figure(name: &str, total: u32, partitions: u16, took: Duration, rate: f64) {
    println!("{name}: {total} deliveries over {partitions} partitions in {took:.2?}: {rate:.0}/s on one core");
}

/// Accepts everything in waves, as a busy edge would, and gives the time until the last has ended.
async fn run(
    total: u32,
    partitions: u16,
    spec: &Spec,
    latency: Duration,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let world = World::new(partitions, latency, Settings::default(), FakeChannel::quiet()).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    let mut sent = 0u32;
    while sent < total {
        // No more than some thousands pending, so that the state stays as small as it would be.
        while sent - u32::try_from(world.ledger.ended_count())? > 20_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let to: Vec<String> = (0..PER_MESSAGE).map(|n| format!("+86{:011}", sent + u32::from(n))).collect();
        world.send_to(spec, &to);
        sent += u32::from(PER_MESSAGE);
        tokio::task::yield_now().await;
    }
    while world.ledger.ended_count() < usize::try_from(total)? {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(start.elapsed())
}
