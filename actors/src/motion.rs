//! The motion seen from outside: start it, look at it, stop it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{Actor, ActorRef};
use tidings_contract::{Clock, PartitionId, VendorTemplate};
use tidings_machine::control::TemplateVersion;
use tidings_machine::partition::Limits;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::dedup::{Ask, DedupMsg, FingerprintError, FingerprintItem, Fingerprints, Places};
use crate::receipts::{CallbackError, called_back, hears_callbacks};
use crate::recorder::all_recorded;
use crate::render::Variables;
use crate::supervisor::{NAME, Supervisor, SupervisorMsg};
use crate::switchboard::Switchboard;
use crate::vendor_templates::{TemplatesError, vendor_templates};
use crate::{Accounts, ActorStatus, Ledger, Pause, Settings, meters};

/// How long to wait before a supervisor that died is started again.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a stopping process looks whether the last outcome is recorded.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the motion stands on.
#[derive(Clone)]
pub struct Parts {
    /// The replicated state.
    pub ledger: Arc<dyn Ledger>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Opens accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Bounds and waits.
    pub settings: Settings,
    /// A number drawn when the process started: a restarted process is another owner.
    pub boot: u64,
    /// What a partition may hold, from each takeover on.
    pub limits: Limits,
}

/// The motion could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor could not be started: {0}")]
pub struct StartError(String);

/// The running actors. Clones are the same actors.
#[derive(Clone)]
pub struct Motion {
    board: Arc<Switchboard>,
    root: Arc<Mutex<Option<ActorRef<SupervisorMsg>>>>,
    watching: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Starts all actors. They follow the ledger from here on.
///
/// # Errors
/// When not even the supervisor can be started.
pub async fn start(parts: Parts) -> Result<Motion, StartError> {
    let board = Arc::new(Switchboard::new(parts));
    let (first, mut handle) =
        Actor::spawn(None, Supervisor, Arc::clone(&board)).await.map_err(|error| StartError(error.to_string()))?;
    let root = Arc::new(Mutex::new(Some(first)));
    let (here, switchboard) = (Arc::clone(&root), Arc::clone(&board));
    let watching = tokio::spawn(async move {
        // The supervisor has nobody above it: this watches it alone. Its children die with it and are started by the next.
        loop {
            let _ = handle.await;
            if switchboard.is_stopping() {
                return;
            }
            tracing::error!("the supervisor died and is started again with everything below it");
            switchboard.register.gauge(NAME).restarts.fetch_add(1, Ordering::Relaxed);
            meters::restarted(NAME);
            handle = loop {
                sleep(AGAIN).await;
                match Actor::spawn(None, Supervisor, Arc::clone(&switchboard)).await {
                    Ok((next, handle)) => {
                        *here.lock() = Some(next);
                        break handle;
                    }
                    Err(error) => tracing::error!(%error, "the supervisor could not be started"),
                }
            };
        }
    });
    Ok(Motion { board, root, watching: Arc::new(Mutex::new(Some(watching))) })
}

impl Motion {
    /// Begins nothing new from here on. What is under way goes on and is recorded.
    pub fn begin_stopping(&self) {
        self.board.begin_stopping();
        self.board.look_around();
    }

    /// Begins nothing new in a partition and waits, at most `within`, until no attempt is under way there and all that came
    /// back is recorded. Gives whether that is so; what is under way still may be sent once more by the next owner.
    pub async fn pause(&self, partition: PartitionId, within: Duration) -> (Pause, bool) {
        let desk = self.board.desk(partition);
        let pause = Pause::begin(Arc::clone(&desk));
        self.board.look_around();
        let until = Instant::now() + within;
        while !desk.is_quiet() && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        (pause, desk.is_quiet())
    }

    /// Changes, while everything runs, how many calls of a pool may be under way and how many deliveries of a pool and a
    /// partition may be in motion. More are begun at once; with fewer, what is under way ends as usual.
    pub fn resize(&self, pool_size: usize, in_motion: usize) {
        self.board.pool_size.store(pool_size.max(1), Ordering::Relaxed);
        self.board.in_motion.store(in_motion.max(1), Ordering::Relaxed);
        self.board.look_around();
    }

    /// Like [`Motion::stop_within`], with the time of the settings.
    pub async fn stop(&self) {
        self.stop_within(self.board.parts.settings.stop_within).await;
    }

    /// Begins nothing new, waits until provider calls under way have ended and their outcomes are recorded, at most `within`,
    /// and stops all actors. What is cut then counts as unknown for its next owner.
    pub async fn stop_within(&self, within: Duration) {
        self.begin_stopping();
        let until = Instant::now() + within;
        while !all_recorded(&self.board) && Instant::now() < until {
            sleep(LOOK_EVERY).await;
        }
        if let Some(root) = self.root.lock().take() {
            root.stop(None);
        }
        let watching = self.watching.lock().take();
        if let Some(watching) = watching {
            let _ = watching.await;
        }
    }

    /// What content dedup compares for each recipient, in order.
    ///
    /// # Errors
    /// See [`FingerprintError`].
    pub async fn fingerprints(
        &self,
        template: &str,
        version: &Arc<TemplateVersion>,
        shared: Variables,
        items: Vec<FingerprintItem>,
    ) -> Fingerprints {
        let places = Places::take(&self.board, items.len()).ok_or(FingerprintError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let version = Arc::clone(version);
        let ask = Ask { template: template.to_owned(), version, shared, items, reply, places };
        self.board.dedup.send(DedupMsg::Ask(Box::new(ask)));
        answer.await.unwrap_or(Err(FingerprintError::Lost))
    }

    /// Whether anybody calls back for an account, so that a body need not be read where nobody does.
    ///
    /// # Errors
    /// `NotHere` where nobody does; `Refused` when the account cannot be opened.
    pub fn hears_callbacks(&self, account: &str) -> Result<(), CallbackError> {
        hears_callbacks(&self.board, account).map(drop)
    }

    /// Verifies, reads and keeps a callback of an account's supplier. Gives the media type and the body of what the supplier
    /// wants to hear.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub async fn called_back(
        &self,
        account: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<(&'static str, &'static str), CallbackError> {
        called_back(&self.board, account, headers, body).await
    }

    /// The templates that the supplier of an account has approved, as it tells them at this moment; at most 20 s.
    ///
    /// # Errors
    /// See [`TemplatesError`].
    pub async fn vendor_templates(&self, account: &str) -> Result<Vec<VendorTemplate>, TemplatesError> {
        vendor_templates(&self.board, account).await
    }

    /// Every actor as it stands, by name.
    pub fn observe(&self) -> Vec<ActorStatus> {
        self.board.register.observe()
    }

    /// Kills an actor in the middle of whatever it does; its supervisor starts it again. Gives whether there is one of that
    /// name.
    pub fn kill(&self, name: &str) -> bool {
        self.board.register.kill(name)
    }
}

impl std::fmt::Debug for Motion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Motion").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).field("boot", &self.boot).finish_non_exhaustive()
    }
}
