//! The breakers of a node: learns from control how they stand, and asks control to open, probe and close them. What it is
//! told may be told again or be lost: control answers by epoch, and calls that go on failing tell again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::Time;
use tidings_machine::control::{Action, Answer};
use tidings_machine::partition::Hint;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::meters;
use crate::status::Gauge;
use crate::switchboard::Switchboard;

/// How long a probe may take, in milliseconds, before another one is granted.
const PROBE_MS: u64 = 15_000;
/// The wait between two tries to tell control what became of a probe, and how many there are.
const TELL_AGAIN: (Duration, u32) = (Duration::from_millis(200), 50);

/// What it is told.
#[derive(Debug)]
pub(crate) enum BreakersMsg {
    /// The state hints at how calls went.
    Hints(Vec<Hint>),
    /// A delivery could be the probe of this account.
    WantProbe(String),
    /// Control has changed.
    Learn,
    /// Control was asked about an account.
    Asked { account: String, granted: Option<(u64, Time)> },
}

/// The actor.
#[derive(Debug)]
pub(crate) struct BreakersOfNode;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Watching {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    /// Accounts that control is being asked about.
    asking: BTreeSet<String>,
    /// The probes that came back, with what is told of each.
    shown: HashMap<String, u64>,
    /// Questions, and the watch on control; aborted when the actor dies.
    running: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for BreakersOfNode {
    type Msg = BreakersMsg;
    type State = Watching;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<BreakersMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Watching, ActorProcessingErr> {
        board.breakers.move_in(myself.clone());
        let mut running = JoinSet::new();
        let mut version = board.parts.ledger.control_version();
        running.spawn(async move {
            while version.changed().await.is_ok() {
                version.borrow_and_update();
                if myself.send_message(BreakersMsg::Learn).is_err() {
                    return;
                }
            }
        });
        let mut state = Watching { board, gauge, asking: BTreeSet::new(), shown: HashMap::new(), running };
        state.learn();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<BreakersMsg>,
        message: BreakersMsg,
        state: &mut Watching,
    ) -> Result<(), ActorProcessingErr> {
        while state.running.try_join_next().is_some() {}
        match message {
            BreakersMsg::Learn => state.learn(),
            BreakersMsg::Hints(hints) => hints.into_iter().for_each(|hint| state.hear(hint, &myself)),
            BreakersMsg::WantProbe(account) => state.probe(account, &myself),
            BreakersMsg::Asked { account, granted } => {
                state.asking.remove(&account);
                // Before anybody chooses again, so that a breaker that has just opened is seen.
                state.learn();
                if let Some((epoch, until)) = granted {
                    state.board.healths.grant(account, epoch, until);
                }
            }
        }
        state.gauge.set(0, state.asking.len());
        Ok(())
    }
}

impl Watching {
    fn learn(&mut self) {
        let mut now = None;
        let known = self.board.healths.breakers();
        self.board.parts.ledger.with_control(&mut |control| {
            if control.breakers != *known {
                now = Some(control.breakers.clone());
            }
        });
        let Some(breakers) = now else { return };
        for (account, breaker) in &breakers.accounts {
            let open = breaker.until.is_some();
            meters::breaker(account, open);
            if open && self.shown.insert(account.clone(), breaker.epoch) != Some(breaker.epoch) {
                tracing::warn!(account, why = breaker.why, until = ?breaker.until, "the breaker of an account opened");
            }
        }
        self.board.healths.learn(breakers);
    }

    fn hear(&mut self, hint: Hint, myself: &ActorRef<BreakersMsg>) {
        match hint {
            Hint::Failing { account, epoch, calls, failures, policy } => {
                let stale = self.board.healths.breakers().epoch(&account) != epoch;
                if stale || !self.asking.insert(account.clone()) {
                    return;
                }
                let why = format!("{failures} of {calls} calls failed within {} ms", policy.window_ms);
                self.ask(account.clone(), Action::TripAccount { account, epoch, policy, why }, 1, myself);
            }
            Hint::Probed { account, epoch, good: true, .. } => {
                self.ask(account.clone(), Action::CloseAccount { account, epoch }, TELL_AGAIN.1, myself);
            }
            Hint::Probed { account, epoch, policy, .. } => {
                let why = "the probe failed".to_owned();
                self.ask(account.clone(), Action::TripAccount { account, epoch, policy, why }, TELL_AGAIN.1, myself);
            }
            Hint::Alert { account, code, route } => {
                meters::alert(&account, &code);
                tracing::warn!(account, code, route, "a rule of a route asks to tell about this error code");
            }
            _ => {}
        }
    }

    fn probe(&mut self, account: String, myself: &ActorRef<BreakersMsg>) {
        if !self.asking.insert(account.clone()) {
            return;
        }
        let epoch = self.board.healths.breakers().epoch(&account);
        let node = self.board.parts.ledger.node();
        let action = Action::ProbeAccount { account: account.clone(), epoch, node, lapse_ms: PROBE_MS };
        self.ask(account, action, 1, myself);
    }

    /// Asks control, at most so many times, and tells this actor what came of it.
    fn ask(&mut self, account: String, action: Action, tries: u32, myself: &ActorRef<BreakersMsg>) {
        let (board, myself) = (Arc::clone(&self.board), myself.clone());
        self.running.spawn(async move {
            let mut granted = None;
            for _ in 0..tries {
                // It counts from before the question, so that it lapses here no later than there.
                let until = board.now().after_ms(PROBE_MS);
                match board.parts.ledger.change(action.clone()).await {
                    Ok(Answer::Done) => {
                        if let Action::ProbeAccount { epoch, .. } = &action {
                            granted = Some((*epoch, until));
                        }
                        break;
                    }
                    Ok(_) => break,
                    Err(error) => tracing::debug!(account, %error, "control could not be asked about a breaker"),
                }
                sleep(TELL_AGAIN.0).await;
            }
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(BreakersMsg::Asked { account, granted });
        });
    }
}
