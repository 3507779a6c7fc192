//! A node's life: opened, served, stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidings_actors::{Motion, Parts};
use tidings_channels::Registry;
use tidings_config::Config;
use tidings_contract::{Clock, Secret};
use tidings_raft::Ledgers;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::accounts::SealedAccounts;
use crate::app::{App, Founding, Shared};
use crate::clock::SystemClock;
use crate::founding::found;
use crate::ledger::NodeLedger;
use crate::problem::Problem;
use crate::seal::Sealer;
use crate::{api, listener, look, meters, wiring};

/// How often the recorder of figures tidies up what it holds.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why a node could not be started. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The groups could not be opened: the directory, the disk, the peer address, an option.
    #[error(transparent)]
    Open(#[from] tidings_raft::OpenError),
    /// The address of the API cannot be bound.
    #[error("cannot listen for the API on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The actors could not be started.
    #[error(transparent)]
    Actors(#[from] tidings_actors::StartError),
}

/// Why a lone node could not be made a cluster.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FoundError(String);

/// A node that runs. Dropping it without [`Running::stop`] cuts everything off; what was accepted is kept all the same.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub api_addr: SocketAddr,
    /// Where peers reach the node.
    pub peer_addr: SocketAddr,
    pub(crate) app: Shared,
    motion: Motion,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

/// Starts a node with the clock of the machine and everything that is built in.
///
/// # Errors
/// See [`StartError`].
pub async fn serve(config: Config) -> Result<Running, StartError> {
    serve_with(config, Arc::new(SystemClock), Registry::new()).await
}

/// Starts a node with another clock or another registry.
///
/// # Errors
/// See [`StartError`].
pub async fn serve_with(config: Config, clock: Arc<dyn Clock>, registry: Registry) -> Result<Running, StartError> {
    let ledgers = Ledgers::open(wiring::raft(&config), Arc::clone(&clock)).await?;
    match assemble(&config, clock, registry, ledgers.clone()).await {
        Ok(running) => Ok(running),
        Err(error) => {
            // The disk must be let go of, or the next start finds it held.
            ledgers.shutdown().await;
            Err(error)
        }
    }
}

async fn assemble(
    config: &Config,
    clock: Arc<dyn Clock>,
    registry: Registry,
    ledgers: Ledgers,
) -> Result<Running, StartError> {
    let addr = config.node.api_listen;
    let (listener, api_addr) = listener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    let peer_addr = ledgers.peer_addr();
    let boot = ledgers.boot();
    let ledger = Arc::new(NodeLedger::new(ledgers));
    let sealer = Sealer::new(&config.cluster.secret);
    let parts = Parts {
        ledger: Arc::clone(&ledger) as Arc<dyn tidings_actors::Ledger>,
        clock: Arc::clone(&clock),
        accounts: Arc::new(SealedAccounts { registry: registry.clone(), sealer: sealer.clone() }),
        settings: wiring::actors(config),
        boot,
        limits: wiring::partition(config),
    };
    let motion = tidings_actors::start(parts).await?;
    let app = Arc::new(App {
        ledger,
        motion: motion.clone(),
        registry,
        sealer,
        clock,
        settings: wiring::requests(config),
        templates: Default::default(),
        freshness: Default::default(),
        metrics: meters::recorder(),
        stopping: AtomicBool::new(false),
        founding: Founding {
            secret: config.cluster.secret.clone(),
            partitions: config.cluster.partitions,
            replication: config.cluster.replication,
            peer_addr: config.node.advertised_peer(peer_addr),
            api_addr: config.node.advertised_api(api_addr),
            labels: config.node.labels.clone(),
        },
    });
    look::answer_peers(&app);
    let (stop, stopped) = watch::channel(false);
    let patience = Duration::from_millis(config.node.stop_deadline_ms / 3);
    let serving = tokio::spawn(listener::serve(listener, api::router(Arc::clone(&app)), stopped, patience));
    let upkeep = tokio::spawn(keep_up(app.metrics.clone()));
    Ok(Running { api_addr, peer_addr, app, motion, stop, serving, upkeep })
}

async fn keep_up(metrics: metrics_exporter_prometheus::PrometheusHandle) {
    let mut every = tokio::time::interval(UPKEEP);
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

impl Running {
    /// Stops in order: no longer ready, no new connections, requests under way finish, provider calls under way end and are
    /// recorded, the groups close and let go of the disk.
    pub async fn stop(self) {
        let Self { app, motion, stop, serving, upkeep, .. } = self;
        app.stopping.store(true, Ordering::SeqCst);
        stop.send_replace(true);
        if let Err(error) = serving.await {
            tracing::warn!(%error, "the API did not end in order");
        }
        motion.stop().await;
        upkeep.abort();
        app.ledger.shutdown().await;
    }
}

/// Founds a cluster of this node alone, with the partitions and the replication of its configuration, and gives its first
/// admin key, which cannot be seen again.
///
/// # Errors
/// When it was founded before, or the disk does not take it.
pub async fn found_dev(running: &Running) -> Result<Secret, FoundError> {
    let Founding { partitions, replication, .. } = running.app.founding;
    let founded = found(&running.app, partitions, replication).await;
    founded.map(|(_, key)| key).map_err(|problem: Problem| FoundError(problem.detail().to_owned()))
}
