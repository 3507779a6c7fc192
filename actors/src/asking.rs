//! Asks suppliers what became of single deliveries, for the partitions this process owns. What is due stands in the state;
//! here is only remembered which accounts are being asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tidings_contract::{DeliveryId, PartitionId, Receipt, ReceiptMark, Sent, Token, Unsupported};
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
/// After how many questions, the last of them an hour after it was sent, a delivery is given up that the supplier has not
/// said a word about: it does not tell of everything it took.
const SILENT: u16 = 7;
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
                let next = match ready {
                    Some(Ok(ready)) => ask(&board, &name, &ready, &due).await,
                    // Somebody may mend it.
                    Some(Err(_)) => Next::Again,
                    None => Next::Never,
                };
                note(&board, &due, &next).await;
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
        for (delivery, ask) in state.asks(now.after(board.parts.ledger.ahead(partition)), LOOKED_AT) {
            let (ids, due) = all.entry(ask.account.as_str().into()).or_default();
            if ids.contains(&ask.provider_id) || ids.len() < IDS {
                ids.insert(ask.provider_id.clone());
                due.push(Due { partition, delivery: *delivery, ask: ask.clone() });
            }
        }
    });
    all.into_iter().map(|(account, (_, due))| (account, due)).collect()
}

/// What comes after a question.
enum Next {
    /// It could not be asked, or nobody heard the answer: it is asked again at once, and nothing is noted.
    AtOnce,
    /// The same question again, later.
    Again,
    /// No such question again.
    Never,
    /// The supplier answered, and these are the deliveries that it has ever said anything about.
    Said(BTreeSet<DeliveryId>),
}

/// Asks the supplier and has what it says marked.
async fn ask(board: &Switchboard, name: &Arc<str>, ready: &Ready, due: &[Due]) -> Next {
    let channel = &ready.opened.channel;
    let mut token = None;
    if ready.opened.features.wants_token {
        match obtain(board, &Wanting::of(name, ready)).await {
            Ok(good) => token = Some(good),
            Err(NoToken::Failing { .. }) => return Next::Again,
            Err(NoToken::NotYet) => return Next::AtOnce,
        }
    }
    let sent: Vec<Sent> = due.iter().map(Due::sent).collect();
    let asking = channel.ask_receipts(&sent, token.as_ref().map(|token| &token.secret));
    match timeout(QUESTION, AssertUnwindSafe(asking).catch_unwind()).await {
        Ok(Ok(Err(Unsupported(_)))) => Next::Never,
        Ok(Ok(Ok(Ok(mut receipts)))) => {
            let told = |due: &&Due| {
                receipts.iter().any(|receipt| due.is_meant(receipt)) || due.is_marked(board, ReceiptMark::Received)
            };
            let said = due.iter().filter(told);
            let said = said.map(|due| due.delivery).collect();
            receipts.retain(|receipt| !due.iter().any(|due| due.has(board, receipt)));
            if receipts.is_empty() {
                return Next::Said(said);
            }
            match report(board, name, receipts, OFFER_FOR).await {
                Ok(_) => Next::Said(said),
                Err(error) => {
                    tracing::warn!(account = name.as_ref(), %error, "receipts could not be kept; they are asked for again");
                    Next::AtOnce
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
            Next::Again
        }
        // A provider that panics or hangs is asked again at the next turn.
        Ok(Err(_)) | Err(_) => Next::Again,
    }
}

impl Due {
    fn sent(&self) -> Sent {
        let Ask { provider_id, to, .. } = &self.ask;
        Sent { delivery: self.delivery, to: to.clone(), provider_id: provider_id.clone() }
    }

    /// Whether the receipt is for this delivery.
    fn is_meant(&self, receipt: &Receipt) -> bool {
        self.ask.provider_id == receipt.provider_id && receipt.to.as_ref() == Some(&self.ask.to)
    }

    /// Whether the receipt is for this delivery and its mark is set already: it is not proposed over and over.
    fn has(&self, board: &Switchboard, receipt: &Receipt) -> bool {
        self.is_meant(receipt) && self.is_marked(board, receipt.mark)
    }

    fn is_marked(&self, board: &Switchboard, mark: ReceiptMark) -> bool {
        let Ask { account, provider_id, .. } = &self.ask;
        let mut marked = false;
        board.parts.ledger.with_partition(self.partition, &mut |state| {
            marked = state.is_marked(&self.delivery, account, provider_id, mark);
        });
        marked
    }
}

/// Has it noted that the supplier was asked, and whether to ask again. If that cannot be done, it is asked once more.
async fn note(board: &Switchboard, due: &[Due], next: &Next) {
    let mut by_partition: BTreeMap<PartitionId, Vec<Command>> = BTreeMap::new();
    for one in due {
        let (delivery, tries) = (one.delivery, one.ask.tries);
        let more = match next {
            Next::AtOnce => return,
            Next::Again => true,
            Next::Never => false,
            Next::Said(about) => tries + 1 < SILENT || about.contains(&delivery),
        };
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
