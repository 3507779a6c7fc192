//! One seed: builds the world, steps it to its end, and judges.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, SystemTime};

use crate::faults::Faults;
use crate::host::{Looks, live, name};
use crate::plan::{LATENCY_MS, Plan};
use crate::world::{Phase, World};
use crate::{Asked, day, invariants, operator, planted, poison, trace, workload};

/// How long a seed and a day may take, in seconds of the true time. A seed takes less than one, a day about a minute.
const MOST: (u64, u64) = (120, 2_400);

/// Ends this process as a seed that broke if it does not end by itself: where something goes round at one moment of simulated
/// time, that time does not go on.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which holds nobody up")]
fn watch(seed: u64, day: bool) {
    let seconds = if day { MOST.1 } else { MOST.0 };
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(seconds));
        println!("seed {seed}: the simulation ends: it has not in {seconds} s");
        std::process::exit(1);
    });
}

/// Runs one seed in this process and prints its result in one line.
pub(crate) fn one(seed: u64, asked: &Asked) -> ExitCode {
    if let Some(bug) = &asked.bug
        && !planted::plant(bug)
    {
        eprintln!("there is no planted bug {bug:?} in this build");
        return ExitCode::from(2);
    }
    watch(seed, asked.day);
    tidings_sim_chance::seed(seed);
    trace::print(asked.trace);
    if let Ok(filter) = std::env::var("SIM_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    poison::install();
    let world = World::new(if asked.day { Plan::of_a_day(seed) } else { Plan::new(seed) });
    if let Err(error) = simulate(&world) {
        world.violated("the simulation runs", error.to_string());
    }
    let violations = world.violations.borrow();
    for violation in violations.iter() {
        println!("seed {seed}: {violation}");
    }
    let (lines, hash) = trace::sum();
    let book = world.book.borrow();
    let verdict = if violations.is_empty() { "held" } else { "BROKEN" };
    let sum = if asked.day {
        day::figures(&world)
    } else {
        let (sends, deliveries, arrivals) = (book.sends.len(), book.traces.len(), world.arrivals.lock().len());
        format!("{sends} sends, {deliveries} deliveries, {arrivals} arrivals")
    };
    println!("seed {seed} {verdict}: {sum}, {lines} lines, trace {hash:016x}");
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulate(world: &World) -> turmoil::Result {
    let plan = &world.plan;
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(plan.tick())
        .simulation_duration(plan.most())
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(LATENCY_MS))
        .tcp_capacity(4_096)
        .build();
    let looks = Looks::default();
    let clocks: Vec<Arc<AtomicI64>> = (0..plan.nodes).map(|_| Arc::default()).collect();
    let mut faults = Faults::new(plan, clocks.clone());
    for node in 1..=plan.nodes {
        let (world, ahead, looks) = (world.clone(), Arc::clone(&clocks[node - 1]), looks.clone());
        sim.host(name(node), move || live(world.clone(), node, Arc::clone(&ahead), looks.clone()));
    }
    if plan.day {
        sim.client("operator", day::operate(world.clone()));
        sim.client("c1", day::demand(world.clone()));
    } else {
        sim.client("operator", operator::operate(world.clone()));
        for number in 1..=plan.callers {
            sim.client(format!("c{number}"), workload::call_on(world.clone(), number));
        }
    }
    let mut began = None;
    let mut compared = 0;
    while world.phase() != Phase::Done {
        sim.step()?;
        let now = sim.elapsed().as_millis() as u64;
        if world.phase() == Phase::Work {
            let began = *began.get_or_insert(now);
            *world.began.borrow_mut() = began;
            faults.turn(world, &mut sim, &looks, now - began);
            if *world.callers_left.borrow() == 0 {
                faults.end(world, &mut sim);
                world.enter(Phase::Settling, now);
            }
        }
        if now >= compared + plan.compare_every() {
            compared = now;
            invariants::replicas::compare(world, &looks.borrow());
        }
    }
    // What could not be read cannot be judged, and is reported already.
    if world.violations.borrow().is_empty() {
        if plan.day {
            invariants::replicas::compare(world, &looks.borrow());
            day::judge(world);
        } else {
            invariants::judge(world, &looks.borrow());
        }
    }
    world.damage.borrow_mut().broke = faults.broke();
    Ok(())
}
