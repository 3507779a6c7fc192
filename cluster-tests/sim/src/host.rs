//! One simulated node: the real program on a simulated host, its clock, its disk, and a look into it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use tidings_contract::{Clock, Secret};
use tidings_node::sim::{Config, Look, Registry};

use crate::clock::SimClock;
use crate::early::Kind;
use crate::plan::MAX_OFFSET_MS;
use crate::provider::Simulated;
use crate::world::World;

/// What the nodes of a cluster share.
pub(crate) const SECRET: &str = "the secret of a simulated cluster";
/// How many partitions a simulated cluster has.
pub(crate) const PARTITIONS: u16 = 2;

/// How long a node believes what it knows of keys without hearing from control, in milliseconds, where that is tried.
pub(crate) const STALE_AFTER_MS: u64 = 2_000;

/// The looks into the nodes that run.
pub(crate) type Looks = Rc<RefCell<BTreeMap<usize, Look>>>;

/// The name of a node on the simulated network.
pub(crate) fn name(node: usize) -> String {
    format!("n{node}")
}

/// Where a node's data is on the simulated disk.
pub(crate) fn data_dir(node: usize) -> PathBuf {
    PathBuf::from(format!("simulated/n{node}"))
}

fn config(world: &World, node: usize) -> Config {
    let mut config = Config::default();
    config.node.id = node as u64;
    config.node.data_dir = data_dir(node);
    config.node.api_listen = ([0, 0, 0, 0], 7_400).into();
    config.node.peer_listen = ([0, 0, 0, 0], 7_500).into();
    config.node.api_addr = format!("{}:7400", name(node));
    config.node.peer_addr = format!("{}:7500", name(node));
    config.cluster.secret = Secret::new(SECRET);
    config.cluster.partitions = PARTITIONS;
    config.raft.heartbeat_ms = 100;
    config.raft.election_min_ms = 400;
    config.raft.election_max_ms = 800;
    if world.plan.day {
        // Hardly anything happens between two bursts: long waits keep a day affordable.
        config.raft.heartbeat_ms = 2_000;
        config.raft.election_min_ms = 5_000;
        config.raft.election_max_ms = 8_000;
    }
    config.raft.max_clock_offset_ms = MAX_OFFSET_MS;
    config.raft.snapshot_entries = world.plan.snapshot_entries;
    config.intake.deadline_ms = 3_000;
    if world.plan.early.is_some_and(|early| early.kind == Kind::CutOff) {
        config.access.stale_after_ms = STALE_AFTER_MS;
    }
    config
}

/// What runs on the host of a node, from each start to each death.
pub(crate) async fn live(world: World, node: usize, ahead: Arc<AtomicI64>, looks: Looks) -> turmoil::Result {
    let (seed, patient) = (world.plan.seed, world.plan.freezes_calls());
    let provider = Simulated { seed, node, patient, arrivals: Arc::clone(&world.arrivals) };
    let registry = Registry::new().with(Arc::new(provider));
    let clock: Arc<dyn Clock> = Arc::new(SimClock { ahead });
    let running = tidings_node::serve_with(config(&world, node), clock, registry).await?;
    looks.borrow_mut().insert(node, running.look());
    std::future::pending::<()>().await;
    drop(running);
    Ok(())
}
