//! A node's life: opened, served, stopped.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::FutureExt;
use tidings_actors::{Motion, Parts};
use tidings_channels::Registry;
use tidings_config::{Change, Config, Mistakes};
use tidings_contract::{Clock, PartitionId, Secret};
use tidings_raft::Ledgers;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::accounts::{NodeAccounts, SealedAccounts};
use crate::app::{App, Founding, Shared};
use crate::bodies::Bodies;
use crate::clock::SystemClock;
use crate::connections::Connections;
use crate::founding::{found, recover};
use crate::ledger::NodeLedger;
use crate::materials::Shelf;
use crate::private::{self, Exposed};
use crate::problem::Problem;
use crate::seal::Sealer;
use crate::secret_check::{Judged, OTHER_SECRET, judge};
use crate::{api, descriptors, fresh, guard, listener, look, meters, wiring};

/// How often the recorder of figures tidies up what it holds.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often a running node looks whether it can go on.
const LOOK: Duration = Duration::from_millis(500);

/// Why a node could not be started. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The groups could not be opened: the directory, the disk, the peer address, an option.
    #[error(transparent)]
    Open(#[from] tidings_raft::OpenError),
    /// Nothing sealed opens with the configured secret.
    #[error("{OTHER_SECRET}")]
    OtherSecret,
    /// The data directory cannot be kept from other people of this machine.
    #[error(transparent)]
    Exposed(#[from] Exposed),
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
    /// What it runs with: what it was started with, and the live keys of what it read since.
    config: Config,
    pub(crate) app: Shared,
    motion: Motion,
    stop: watch::Sender<Option<Duration>>,
    serving: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    guarding: JoinHandle<()>,
    confirming: JoinHandle<()>,
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
    private::keep(&config.node.data_dir)?;
    let ledgers = Ledgers::open(wiring::raft(&config), clock).await?;
    match assemble(config, registry, ledgers.clone()).await {
        Ok(running) => Ok(running),
        Err(error) => {
            // The disk must be let go of, or the next start finds it held.
            ledgers.shutdown().await;
            Err(error)
        }
    }
}

async fn assemble(config: Config, registry: Registry, ledgers: Ledgers) -> Result<Running, StartError> {
    descriptors::raise();
    let addr = config.node.api_listen;
    let (listener, api_addr) = listener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    let peer_addr = ledgers.peer_addr();
    let (boot, clock) = (ledgers.boot(), ledgers.clock());
    let ledger = Arc::new(NodeLedger::new(ledgers));
    let sealer = Sealer::new(&config.cluster.secret);
    if !ledger.secret_is_known() && ledger.control(|control| judge(control, &sealer)) == Judged::Other {
        return Err(StartError::OtherSecret);
    }
    let shelf = Arc::new(Shelf::default());
    let accounts = SealedAccounts { ledger: Arc::clone(&ledger), registry: registry.clone(), sealer: sealer.clone() };
    let parts = Parts {
        ledger: Arc::clone(&ledger) as Arc<dyn tidings_actors::Ledger>,
        clock: Arc::clone(&clock),
        accounts: Arc::new(NodeAccounts { accounts, shelf: Arc::clone(&shelf) }),
        settings: wiring::actors(&config),
        boot,
        limits: wiring::partition(&config),
    };
    let motion = tidings_actors::start(parts).await?;
    let app = Arc::new(App {
        ledger,
        motion: motion.clone(),
        registry,
        sealer,
        clock,
        settings: ArcSwap::from_pointee(wiring::requests(&config)),
        templates: Default::default(),
        known_ways: Default::default(),
        dictionaries: Default::default(),
        policies: Default::default(),
        freshness: Default::default(),
        secret_check: Default::default(),
        sign_ins: Default::default(),
        metrics: meters::recorder(),
        said: Default::default(),
        stopping: AtomicBool::new(false),
        founding: Founding {
            secret: config.cluster.secret.clone(),
            partitions: config.cluster.partitions,
            replication: config.cluster.replication,
            peer_addr: config.node.advertised_peer(peer_addr),
            api_addr: config.node.advertised_api(api_addr),
            labels: config.node.labels.clone(),
        },
        guard: guard::fresh(),
        bodies: Arc::new(Bodies::new(&config.http)),
        heavy: Default::default(),
        places: Default::default(),
        shelf,
    });
    app.shelf.stand_in(&app);
    look::answer_peers(&app);
    be_asked_before_a_hand_over(&app);
    let (stop, stopped) = watch::channel(None);
    let connections = Connections::new(api::router(Arc::clone(&app)), &config.http, Arc::clone(&app.bodies));
    let _ = app.places.set(Arc::downgrade(&connections.places));
    let serving = tokio::spawn(listener::serve(listener, connections, stopped));
    let upkeep = tokio::spawn(keep_up(app.metrics.clone()));
    let guarding = tokio::spawn(guard::watch(Arc::downgrade(&app)));
    let confirming = tokio::spawn(fresh::keep(Arc::downgrade(&app)));
    Ok(Running { api_addr, peer_addr, config, app, motion, stop, serving, upkeep, guarding, confirming })
}

async fn keep_up(metrics: metrics_exporter_prometheus::PrometheusHandle) {
    let mut every = tokio::time::interval(UPKEEP);
    loop {
        every.tick().await;
        metrics.run_upkeep();
    }
}

/// A partition that is handed over begins nothing new and ends what it began, so that the next owner repeats nothing.
fn be_asked_before_a_hand_over(app: &Shared) {
    let weak = Arc::downgrade(app);
    let quiet = move |partition: PartitionId| {
        let app = weak.upgrade();
        async move {
            let Some(app) = app else { return (Box::new(()) as Box<dyn Any + Send>, true) };
            let (pause, quiet) = app.motion.pause(partition, app.limits().quiet_within).await;
            (Box::new(pause) as Box<dyn Any + Send>, quiet)
        }
        .boxed()
    };
    app.ledger.before_hand_over(Arc::new(quiet));
}

impl Running {
    /// How long stopping may take.
    pub fn stop_deadline(&self) -> Duration {
        Duration::from_millis(self.config.node.stop_deadline_ms)
    }

    /// Takes over the live keys of `next`, at once, and gives everything that differs; what is not live needs a restart.
    ///
    /// # Errors
    /// When they do not fit what the node runs with; then nothing is taken over.
    pub fn reconfigure(&mut self, next: &Config) -> Result<Vec<Change>, Mistakes> {
        let mixed = self.config.with_live(next)?;
        let changes = self.config.changes(next);
        let limits = wiring::requests(&mixed);
        self.app.ledger.set_propose_within(limits.deadline);
        self.app.settings.store(Arc::new(limits));
        self.app.known_ways.forget();
        self.motion.resize(mixed.dispatch.pool_size, mixed.dispatch.max_outstanding);
        self.config = mixed;
        Ok(changes)
    }

    /// Returns when this process cannot go on because its storage failed, one of its groups died or one of its tasks
    /// panicked, and says why. A disk that is merely full is no failure: that goes away by itself.
    pub async fn failed(&self) -> String {
        let mut every = tokio::time::interval(LOOK);
        loop {
            every.tick().await;
            let failed = self.app.ledger.failure().or_else(|| self.app.secret_check.refused());
            if let Some(why) = failed.or_else(|| self.ended_task()) {
                return why;
            }
        }
    }

    /// The first of the node's own tasks that ended although nobody stopped it. They only do when they panic.
    fn ended_task(&self) -> Option<String> {
        let tasks = [
            ("the API", &self.serving),
            ("the upkeep of figures", &self.upkeep),
            ("the guard of disk and memory", &self.guarding),
            ("the confirming of control", &self.confirming),
        ];
        tasks.into_iter().find(|(_, task)| task.is_finished()).map(|(what, _)| format!("{what} died"))
    }

    /// Stops in order: no longer ready, new requests are turned away; nothing new is attempted, and what is led here goes to
    /// other nodes as soon as its attempts have ended; requests under way finish; the last attempts end and are recorded;
    /// the groups close and let go of the disk.
    ///
    /// Half of `node.stop_deadline_ms` is for handing over, a sixth each for requests, attempts and closing; what one part
    /// leaves is the next one's.
    pub async fn stop(self) {
        let deadline = self.stop_deadline();
        let attempts_until = Instant::now() + deadline * 5 / 6;
        let Self { app, motion, stop, serving, upkeep, guarding, confirming, .. } = self;
        app.stopping.store(true, Ordering::SeqCst);
        motion.begin_stopping();
        let stayed = app.ledger.leave(deadline / 2).await;
        if !stayed.is_empty() {
            tracing::warn!(groups = stayed.join(", "), "nobody took these over in time; they will elect a leader");
        }
        stop.send_replace(Some(deadline / 6));
        if let Err(error) = serving.await {
            tracing::warn!(%error, "the API did not end in order");
        }
        motion.stop_within(attempts_until.saturating_duration_since(Instant::now())).await;
        upkeep.abort();
        guarding.abort();
        confirming.abort();
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

/// Makes a new admin key for whoever runs the node and has lost theirs. The lost ones stay valid until they are revoked.
///
/// # Errors
/// When the node is of no cluster, or the disk does not take it.
pub async fn recover_dev(running: &Running) -> Result<Secret, FoundError> {
    let recovered = recover(&running.app).await;
    recovered.map(|recovered| recovered.minted.key).map_err(|problem| FoundError(problem.detail().to_owned()))
}
