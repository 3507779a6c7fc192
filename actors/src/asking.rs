//! Asks suppliers what became of single deliveries, for the partitions this process owns. What is due stands in the state;
//! here is only remembered which accounts are being asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tidings_contract::{DeliveryId, PartitionId, Receipt, Sent, Token, Unsupported};
use tidings_machine::partition::{Ask, Command, Owner, Partition, ReceiptCommand};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::opened::{OpenAccounts, Ready};
use crate::receipts::{BATCH, OFFER_FOR, offer, report};
use crate::switchboard::Switchboard;
use crate::token_fetch::{NoToken, Wanting, obtain};

/// Most accounts whose suppliers are asked at once.
const AT_ONCE: usize = 8;
/// Most due deliveries of a partition that are looked at in one look.
const LOOKED_AT: usize = 1_000;
/// Most ids of a supplier's in one question.
const IDS: usize = 10;
/// Longest time of one question.
const QUESTION: Duration = Duration::from_secs(30);

/// The accounts whose suppliers are being asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Questions(Arc<Mutex<HashSet<Arc<str>>>>);

/// A delivery that its supplier is to be asked about now.
#[derive(Debug)]
struct Due {
    partition: PartitionId,
    delivery: DeliveryId,
    ask: Ask,
}

/// An account that is being asked; the next look may ask again when this is dropped.
struct Busy(Questions, Arc<str>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Questions {
    /// Begins to ask about what is due.
    pub(crate) fn look(&self, board: &Arc<Switchboard>, opened: &mut OpenAccounts, asking: &mut JoinSet<()>) {
        for (name, due) in all_due(board) {
            if self.0.lock().len() >= AT_ONCE {
                return;
            }
            if !self.0.lock().insert(Arc::clone(&name)) {
                continue;
            }
            let busy = Busy(self.clone(), Arc::clone(&name));
            let ready = board.account(&name).map(|account| opened.named(board, &name, &account));
            let board = Arc::clone(board);
            asking.spawn(async move {
                let _busy = busy;
                let more = match ready {
                    Some(Ok(ready)) => ask(&board, &name, &ready, &due).await,
                    // Somebody may mend it.
                    Some(Err(_)) => Some(true),
                    None => Some(false),
                };
                if let Some(more) = more {
                    note(&board, &due, more).await;
                }
            });
        }
    }
}

/// Does something with the state of each partition that this process owns.
pub(crate) fn each_owned(board: &Switchboard, mut look: impl FnMut(PartitionId, &Partition)) {
    let parts = &board.parts;
    let me = Owner { node: parts.ledger.node(), boot: parts.boot };
    let leading = parts.ledger.leading().borrow().clone();
    for (partition, epoch) in leading {
        parts.ledger.with_partition(partition, &mut |state| {
            if state.owner().is_some_and(|(owner, owned, _)| owner == me && owned == epoch) {
                look(partition, state);
            }
        });
    }
}

/// What is due, by account; at most [`IDS`] of a supplier's ids for each.
fn all_due(board: &Switchboard) -> BTreeMap<Arc<str>, Vec<Due>> {
    let now = board.now();
    let mut all: BTreeMap<Arc<str>, (BTreeSet<String>, Vec<Due>)> = BTreeMap::new();
    each_owned(board, |partition, state| {
        for (delivery, ask) in state.asks(now, LOOKED_AT) {
            let (ids, due) = all.entry(ask.account.as_str().into()).or_default();
            if ids.contains(&ask.provider_id) || ids.len() < IDS {
                ids.insert(ask.provider_id.clone());
                due.push(Due { partition, delivery: *delivery, ask: ask.clone() });
            }
        }
    });
    all.into_iter().map(|(account, (_, due))| (account, due)).collect()
}

/// Asks the supplier and has what it says marked. Gives whether to ask again later; nothing, if it could not be asked or
/// nobody heard the answer: then it is asked again at once.
async fn ask(board: &Switchboard, name: &Arc<str>, ready: &Ready, due: &[Due]) -> Option<bool> {
    let channel = &ready.opened.channel;
    let mut token = None;
    if ready.wants_token {
        match obtain(board, &Wanting::of(name, ready)).await {
            Ok(good) => token = Some(good),
            Err(NoToken::Failing { .. }) => return Some(true),
            Err(NoToken::NotYet) => return None,
        }
    }
    let sent: Vec<Sent> = due.iter().map(Due::sent).collect();
    let asking = channel.ask_receipts(&sent, token.as_ref().map(|token| &token.secret));
    match timeout(QUESTION, AssertUnwindSafe(asking).catch_unwind()).await {
        Ok(Ok(Err(Unsupported(_)))) => Some(false),
        Ok(Ok(Ok(Ok(mut receipts)))) => {
            receipts.retain(|receipt| !due.iter().any(|due| due.has(board, receipt)));
            if receipts.is_empty() {
                return Some(true);
            }
            match report(board, name, receipts, OFFER_FOR).await {
                Ok(_) => Some(true),
                Err(error) => {
                    tracing::warn!(account = name.as_ref(), %error, "receipts could not be kept; they are asked for again");
                    None
                }
            }
        }
        Ok(Ok(Ok(Err(reason)))) => {
            if let Some(token) = token.filter(|_| reason.code == Token::INVALID) {
                board.tokens.forget(name, token.number);
            }
            tracing::warn!(
                account = name.as_ref(),
                code = reason.code,
                "the supplier did not say what became of deliveries"
            );
            Some(true)
        }
        // A provider that panics or hangs is asked again at the next turn.
        Ok(Err(_)) | Err(_) => Some(true),
    }
}

impl Due {
    fn sent(&self) -> Sent {
        let Ask { provider_id, to, .. } = &self.ask;
        Sent { delivery: self.delivery, to: to.clone(), provider_id: provider_id.clone() }
    }

    /// Whether the receipt is for this delivery and its mark is set already: it is not proposed over and over.
    fn has(&self, board: &Switchboard, receipt: &Receipt) -> bool {
        let Ask { account, provider_id, to, .. } = &self.ask;
        let ours = *provider_id == receipt.provider_id && receipt.to.as_ref() == Some(to);
        let mut marked = false;
        if ours {
            board.parts.ledger.with_partition(self.partition, &mut |state| {
                marked = state.is_marked(&self.delivery, account, provider_id, receipt.mark);
            });
        }
        marked
    }
}

/// Has it noted that the supplier was asked. If that cannot be done, it is asked once more.
async fn note(board: &Switchboard, due: &[Due], more: bool) {
    let mut by_partition: BTreeMap<PartitionId, Vec<Command>> = BTreeMap::new();
    for one in due {
        let (delivery, tries) = (one.delivery, one.ask.tries);
        let command = Command::Receipt(ReceiptCommand::Asked { delivery, tries, more });
        by_partition.entry(one.partition).or_default().push(command);
    }
    for (partition, commands) in by_partition {
        for some in commands.chunks(BATCH) {
            if let Err(error) = offer(board, partition, some, Instant::now() + Duration::from_secs(5)).await {
                tracing::debug!(%partition, %error, "that a supplier was asked could not be noted");
            }
        }
    }
}
