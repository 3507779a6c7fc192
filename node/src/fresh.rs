//! How fresh this node's copy of control is: confirmed when somebody needs it and every few seconds besides, once for
//! everybody who waits; and not believed any more when it was not confirmed for too long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_contract::planted;
use tidings_machine::control::Control;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::awake::{self, Moment};
use crate::ledger::Setback;
use crate::problem::{Code, Problem};

/// Shortest and longest pause between confirmations that nobody asked for.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Pause after a confirmation that failed, and while there is nothing to confirm.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a request waits for a confirmation when the copy is too old: longer than a leader that is there needs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets callers share a confirmation that began after all of them came.
///
/// Strangers with made-up keys or template names can ask for as many confirmations as they like; one is under way at a time.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    begun: AtomicU64,
    ended: Mutex<Ended>,
    /// Whether one has succeeded in the life of this process.
    caught_up: AtomicBool,
    /// When the newest one began that succeeded, as [`Moment::bits`]; 0 for none.
    confirmed_at: AtomicU64,
    /// Why the last one failed, if it did.
    failing: parking_lot::Mutex<Option<String>>,
}

/// The last confirmation that ended.
#[derive(Debug)]
struct Ended {
    number: u64,
    result: Result<(), Setback>,
}

impl Default for Ended {
    fn default() -> Self {
        Self { number: 0, result: Ok(()) }
    }
}

impl Freshness {
    /// How long ago this node's copy of control was certainly complete, in milliseconds; `None` if it never was while this
    /// process lived.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        let bits = self.confirmed_at.load(Ordering::SeqCst);
        (bits > 0).then(|| awake::now().ms_since(Moment::of_bits(bits)))
    }

    fn failing(&self) -> Option<String> {
        self.failing.lock().clone()
    }

    fn succeeded(&self, began: Moment) {
        // A later one may have been faster.
        self.confirmed_at.fetch_max(began.bits(), Ordering::SeqCst);
        self.caught_up.store(true, Ordering::SeqCst);
        *self.failing.lock() = None;
    }
}

impl App {
    /// Returns once the local control has everything that was committed before the call.
    pub(crate) async fn fresh_control(&self) -> Result<(), Problem> {
        let fresh = &self.freshness;
        let seen = fresh.begun.load(Ordering::SeqCst);
        let mut ended = fresh.ended.lock().await;
        if ended.number > seen {
            return ended.result.clone().map_err(Problem::from);
        }
        let number = fresh.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let began = awake::now();
        let result = self.ledger.fresh_control().await;
        match &result {
            Ok(()) => fresh.succeeded(began),
            // Nothing was to be kept: a look was asked for.
            Err(setback) => {
                *fresh.failing.lock() = Some(setback.why().trim_start_matches("not kept: ").to_owned());
            }
        }
        *ended = Ended { number, result };
        ended.result.clone().map_err(Problem::from)
    }

    /// Returns once the local control has everything that was committed before this process began. A replica that comes
    /// back has the newest changes in its log and does not know that they are committed until somebody tells it: policies,
    /// templates and accounts are those of a moment ago till then.
    pub(crate) async fn caught_up(&self) -> Result<(), Problem> {
        if self.freshness.caught_up.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.fresh_control().await
    }

    /// Whether what this node knows of control may still be acted on: keys that were revoked, templates and accounts that
    /// were taken out of use stay in the copy of a node that is cut off.
    ///
    /// The age is compared at the moment of the call, by a clock that goes on while the machine sleeps, so a process that
    /// was frozen does not believe itself when it wakes.
    ///
    /// # Errors
    /// `cut_off` if the leader of control confirmed nothing for `access.stale_after_ms`, and does not now.
    pub(crate) async fn believes_control(&self) -> Result<(), Problem> {
        if !self.control_is_stale() {
            return Ok(());
        }
        // Whoever keeps it fresh has just failed and tries again: no request has to wait for that.
        if self.freshness.failing().is_none() {
            // It was frozen, or has just been started.
            let _ = timeout(PATIENCE, self.fresh_control()).await;
        }
        if self.control_is_stale() { Err(self.cut_off()) } else { Ok(()) }
    }

    /// Like [`App::fresh_control`], for somebody who may be a stranger: waits a moment, and not at all where the last
    /// confirmation failed and the next one is under way.
    ///
    /// # Errors
    /// `cut_off` if the leader of control does not answer by then.
    pub(crate) async fn fresh_control_soon(&self) -> Result<(), Problem> {
        if self.freshness.failing().is_none() && matches!(timeout(PATIENCE, self.fresh_control()).await, Ok(Ok(()))) {
            return Ok(());
        }
        Err(self.cut_off())
    }

    /// What `look` finds in control. Nothing is called missing that another node was told before the call.
    ///
    /// # Errors
    /// `cut_off` if it is not in this node's copy, and the leader of control does not say whether the copy is complete.
    pub(crate) async fn known<T>(&self, look: impl Fn(&Control) -> Option<T>) -> Result<Option<T>, Problem> {
        if let Some(found) = self.ledger.control(&look) {
            return Ok(Some(found));
        }
        self.fresh_control_soon().await?;
        Ok(self.ledger.control(&look))
    }

    fn control_is_stale(&self) -> bool {
        if planted("stale_control") {
            return false;
        }
        let most = self.limits().stale_after;
        self.freshness.age_ms().is_none_or(|age| u128::from(age) >= most.as_millis())
    }

    fn cut_off(&self) -> Problem {
        let node = self.ledger.node();
        Problem::new(Code::CutOff, format!("node {node} {}; so it does not know which keys count", self.silence()))
    }

    /// Why the copy of control is not believed, for whoever watches over the node; `None` while it is.
    pub(crate) fn cut_off_why(&self) -> Option<String> {
        let founded = self.ledger.control(|control| control.cluster.is_some());
        (founded && self.control_is_stale()).then(|| format!("the node {}", self.silence()))
    }

    fn silence(&self) -> String {
        let why = self.freshness.failing().map(|why| format!(" ({why})")).unwrap_or_default();
        match self.freshness.age_ms() {
            Some(age) => format!("has not heard from the leader of control for {} s{why}", age / 1_000),
            None => format!("has not heard from the leader of control since it was started{why}"),
        }
    }
}

/// Has control confirmed every few seconds, so that the copy is old only where it cannot be confirmed.
pub(crate) async fn keep(app: Weak<App>) {
    loop {
        let pause = {
            let Some(app) = app.upgrade() else { return };
            look(&app).await
        };
        sleep(pause).await;
    }
}

async fn look(app: &Arc<App>) -> Duration {
    app.sign_ins.tell();
    if app.ledger.control(|control| control.cluster.is_none()) || app.ledger.dismissed().is_some() {
        return AGAIN;
    }
    match app.fresh_control().await {
        Ok(()) => {
            app.settle_secret().await;
            (app.limits().stale_after / 6).clamp(PAUSE.0, PAUSE.1)
        }
        Err(_) => AGAIN,
    }
}
