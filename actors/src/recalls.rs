//! The recalls actor: asks providers to take deliveries back, for the partitions this node owns.
//!
//! It remembers nothing: which recalls are wanted stands in the state, and what a provider said is a command.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{Blame, DeliveryId, Fence, Outcome, PartitionId, Reason, Sent, Unsupported, fenced};
use tidings_machine::control::Account;
use tidings_machine::partition::{Command, Owner, Recall, RecallCommand};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::gate::Gate;
use crate::meters;
use crate::opened::{OpenAccounts, Ready};
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::token_fetch::{NoToken, Wanting, obtain};
use crate::tokens::judge;

/// How often the state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Most providers that are asked at once.
const AT_ONCE: usize = 16;
/// How often what a provider said is offered to the log before it is asked for anew.
const OFFERS: u32 = 10;
const OFFER_EVERY: Duration = Duration::from_millis(200);

/// What the recalls actor is told.
#[derive(Debug)]
pub(crate) enum RecallsMsg {
    /// It is time to look.
    Look,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Recalls;

/// What it works with.
#[derive(Debug)]
pub(crate) struct Recalling {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    accounts: OpenAccounts,
    under_way: Arc<Mutex<HashSet<DeliveryId>>>,
    /// Questions to providers; aborted when the actor dies. A provider that is asked again says so.
    asking: JoinSet<()>,
}

/// A recall that is to be made now.
struct Due {
    partition: PartitionId,
    epoch: u64,
    delivery: DeliveryId,
    recall: Recall,
}

#[async_trait::async_trait]
impl Actor for Recalls {
    type Msg = RecallsMsg;
    type State = Recalling;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<RecallsMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Recalling, ActorProcessingErr> {
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                if myself.send_message(RecallsMsg::Look).is_err() {
                    return;
                }
            }
        });
        Ok(Recalling { board, gauge, accounts: OpenAccounts::default(), under_way: Arc::default(), asking })
    }

    async fn handle(
        &self,
        _myself: ActorRef<RecallsMsg>,
        RecallsMsg::Look: RecallsMsg,
        state: &mut Recalling,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        state.look();
        Ok(())
    }
}

impl Recalling {
    fn look(&mut self) {
        let free = AT_ONCE.saturating_sub(self.under_way.lock().len());
        if self.board.is_stopping() || free == 0 {
            return;
        }
        let due = self.due(free);
        for one in due {
            self.begin(one);
        }
        self.gauge.set(0, self.under_way.lock().len());
    }

    /// What is wanted and due in the partitions this process owns.
    fn due(&self, most: usize) -> Vec<Due> {
        let (now, parts) = (self.board.now(), &self.board.parts);
        let me = Owner { node: parts.ledger.node(), boot: parts.boot };
        let leading = parts.ledger.leading().borrow().clone();
        let under_way = self.under_way.lock();
        let mut due = Vec::new();
        for (partition, epoch) in leading {
            let now = now.after(parts.ledger.ahead(partition));
            parts.ledger.with_partition(partition, &mut |state| {
                if state.owner().is_none_or(|(owner, owned, _)| owner != me || owned != epoch) {
                    return;
                }
                let ready = state.recalls().filter(|(id, recall)| recall.due <= now && !under_way.contains(id));
                let room = most.saturating_sub(due.len());
                due.extend(ready.take(room).map(|(delivery, recall)| Due {
                    partition,
                    epoch,
                    delivery: *delivery,
                    recall: recall.clone(),
                }));
            });
        }
        due
    }

    fn begin(&mut self, due: Due) {
        let name: Arc<str> = due.recall.sent.account.as_str().into();
        let mut account: Option<Arc<Account>> = None;
        self.board.parts.ledger.with_control(&mut |control| account = control.accounts.get(&*name).cloned());
        let opened = match &account {
            None => Err(Outcome::never(Blame::Account, "unknown_account", format!("there is no account `{name}`"))),
            Some(account) => self
                .accounts
                .named(&self.board, &name, account)
                .map_err(|reason| Outcome::Later { reason, after_ms: None }),
        };
        let opened = opened.map(|ready| (ready, name));
        self.under_way.lock().insert(due.delivery);
        let (board, under_way) = (Arc::clone(&self.board), Arc::clone(&self.under_way));
        self.asking.spawn(async move {
            let delivery = due.delivery;
            let _mark = Mark { under_way, delivery };
            let outcome = match opened {
                Ok((ready, name)) => ask(&board, &ready, &name, &due).await,
                Err(outcome) => Some(outcome),
            };
            if let Some(outcome) = outcome {
                record(&board, due, outcome).await;
            }
        });
    }
}

/// A recall that is under way; the next look may take it up again when this is dropped.
struct Mark {
    under_way: Arc<Mutex<HashSet<DeliveryId>>>,
    delivery: DeliveryId,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.delivery);
    }
}

/// Asks the provider; `None` if nothing was asked and nothing is known.
async fn ask(board: &Arc<Switchboard>, ready: &Ready, name: &Arc<str>, due: &Due) -> Option<Outcome> {
    let mut token = None;
    if ready.opened.features.wants_token {
        match obtain(board, &Wanting::of(name, ready)).await {
            Ok(good) => token = Some(good),
            Err(NoToken::Failing { reason, .. }) => return Some(Outcome::Later { reason, after_ms: None }),
            Err(NoToken::NotYet) => return None,
        }
    }
    let sent = &due.recall.sent;
    let sent = Sent { delivery: due.delivery, to: sent.to.clone(), provider_id: sent.provider_id.clone() };
    let secret = token.as_ref().map(|token| &token.secret);
    let gate = Gate::of_lease(board, due.partition, due.epoch);
    if !gate.holds() {
        return None;
    }
    let recalling = AssertUnwindSafe(fenced(gate, ready.opened.channel.recall(&sent, secret))).catch_unwind();
    let unknown = |code, words| Outcome::Unknown { reason: Reason::new(code, words) };
    let mut outcome = match timeout(ready.opened.info.deadline, recalling).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(Unsupported(what)))) => {
            Outcome::never(Blame::Account, "not_recallable", format!("{} has no {what}", ready.opened.info.name))
        }
        Ok(Err(_)) => unknown("panic", "the provider panicked"),
        Err(_) => unknown("timeout", "the provider did not answer within its deadline"),
    };
    if outcome.is_fenced() {
        return None;
    }
    judge(board, name, token.as_ref(), std::slice::from_mut(&mut outcome));
    meters::recall_asked(ready.opened.info.name, outcome.class());
    Some(outcome)
}

/// Puts what the provider said into the log. If that cannot be done, the provider is asked once more: it says then that
/// the delivery is taken back already, or that it cannot be any more.
async fn record(board: &Switchboard, due: Due, outcome: Outcome) {
    let Due { partition, epoch, delivery, recall } = due;
    let attempt = recall.attempts.saturating_add(1);
    let command = Command::Recall(RecallCommand::Outcome { delivery, epoch, attempt, outcome });
    for _ in 0..OFFERS {
        match board.parts.ledger.propose(partition, vec![command.clone()]).await {
            Ok(_) => return,
            Err(error) => tracing::debug!(%delivery, %error, "what came of a recall could not be recorded yet"),
        }
        sleep(OFFER_EVERY).await;
    }
}
