//! Receipts: what suppliers report later. This actor asks those who have to be asked, each account on the node that leads
//! its home, or, where they tell about single deliveries only, for each partition; what others call back with comes from the edge. Either way it goes to the partition that expects it.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{Outcome, PartitionId, Reason, Receipt, Time, Token, Unsupported, partition_of};
use tidings_machine::control::Account;
use tidings_machine::partition::{Answer, Command, Expect, Mark, ReceiptAnswer, ReceiptCommand};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::LedgerError;
use crate::asking::Questions;
use crate::bounces::HandingOn;
use crate::meters;
use crate::opened::{OpenAccounts, Ready};
use crate::outbox::Entry;
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::token_fetch::{Wanting, obtain};
use crate::work::Letter;

/// How often it is looked which accounts are to be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most accounts that are asked at once.
const AT_ONCE: usize = 16;
/// Longest time of one question.
const PULL: Duration = Duration::from_secs(30);
/// Most questions in a row while the supplier has more.
const IN_A_ROW: usize = 20;
/// How long a receipt that nobody expects yet is kept, in milliseconds.
const PARK_MS: u64 = 600_000;
/// Longest time after it was taken that a supplier is asked about a delivery: what [`Channel::ask_receipts`] promises.
///
/// [`Channel::ask_receipts`]: tidings_contract::Channel::ask_receipts
const ASK_FOR: Duration = Duration::from_secs(86_400);
/// Most receipts in one proposal.
pub(crate) const BATCH: usize = 200;
/// How long receipts that were pulled are offered to the log: the supplier does not give them twice.
pub(crate) const OFFER_FOR: Duration = Duration::from_secs(120);
/// How long receipts that a supplier called back with are: it repeats them.
const CALLED_FOR: Duration = Duration::from_secs(4);
const OFFER_EVERY: Duration = Duration::from_millis(200);

/// What became of receipts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Receipts there were.
    pub receipts: usize,
    /// Marks that are new.
    pub fresh: u64,
    /// Receipts that nobody expects yet; they are kept for some minutes.
    pub parked: usize,
}

/// Why a callback of a supplier's was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// There is no such account, or its supplier does not call back.
    #[error("nothing is called back here")]
    NotHere,
    /// It is not the supplier's, or cannot be read.
    #[error("{0}")]
    Refused(Reason),
    /// It is the supplier's and could not be kept; it may come again.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What the receipts actor is told.
#[derive(Debug)]
pub(crate) enum ReceiptsMsg {
    /// It is time to look.
    Look,
    /// An account was asked; whether its supplier can be asked at all.
    Asked { account: Arc<str>, can: bool },
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Receipts;

/// How an account stands.
#[derive(Debug)]
struct Standing {
    revision: u64,
    under_way: bool,
    can: bool,
    next: Instant,
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Pulling {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    opened: OpenAccounts,
    accounts: HashMap<Arc<str>, Standing>,
    questions: Questions,
    handing_on: HandingOn,
    /// Questions under way; aborted when the actor dies.
    asking: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for Receipts {
    type Msg = ReceiptsMsg;
    type State = Pulling;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<ReceiptsMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Pulling, ActorProcessingErr> {
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                if myself.send_message(ReceiptsMsg::Look).is_err() {
                    return;
                }
            }
        });
        let (opened, accounts) = (OpenAccounts::default(), HashMap::new());
        let (questions, handing_on) = (Questions::default(), HandingOn::default());
        Ok(Pulling { board, gauge, opened, accounts, questions, handing_on, asking })
    }

    async fn handle(
        &self,
        myself: ActorRef<ReceiptsMsg>,
        message: ReceiptsMsg,
        state: &mut Pulling,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        match message {
            ReceiptsMsg::Look => state.look(&myself),
            ReceiptsMsg::Asked { account, can } => {
                let next = Instant::now() + state.board.parts.settings.pull_every;
                if let Some(standing) = state.accounts.get_mut(&account) {
                    (standing.under_way, standing.can, standing.next) = (false, can, next);
                }
            }
        }
        let under_way = state.accounts.values().filter(|standing| standing.under_way).count();
        state.gauge.set(0, under_way);
        Ok(())
    }
}

impl Pulling {
    /// Asks for the accounts whose home this node leads, each once per interval.
    fn look(&mut self, myself: &ActorRef<ReceiptsMsg>) {
        if self.board.is_stopping() {
            return;
        }
        self.questions.look(&self.board, &mut self.opened, &mut self.asking);
        self.handing_on.look(&self.board, &mut self.asking);
        let leading = self.board.parts.ledger.leading().borrow().clone();
        let mut ours: Vec<(Arc<str>, Arc<Account>)> = Vec::new();
        self.board.parts.ledger.with_control(&mut |control| {
            let partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
            let here =
                control.accounts.iter().filter(|(name, _)| leading.contains_key(&partition_of(name, partitions)));
            ours = here.map(|(name, account)| (Arc::from(name.as_str()), Arc::clone(account))).collect();
        });
        self.accounts.retain(|name, standing| standing.under_way || ours.iter().any(|(ours, _)| ours == name));
        for (name, account) in ours {
            let free = self.accounts.values().filter(|standing| standing.under_way).count() < AT_ONCE;
            if free && self.is_due(&name, account.revision) {
                self.pull(name, account, myself);
            }
        }
    }

    fn is_due(&mut self, name: &Arc<str>, revision: u64) -> bool {
        let fresh = || Standing { revision, under_way: false, can: true, next: Instant::now() };
        let standing = self.accounts.entry(Arc::clone(name)).or_insert_with(fresh);
        if standing.revision != revision && !standing.under_way {
            *standing = fresh();
        }
        standing.can && !standing.under_way && standing.next <= Instant::now()
    }

    fn pull(&mut self, name: Arc<str>, account: Arc<Account>, myself: &ActorRef<ReceiptsMsg>) {
        let Some(standing) = self.accounts.get_mut(&name) else { return };
        let Ok(ready) = self.opened.named(&self.board, &name, &account) else {
            standing.next = Instant::now() + self.board.parts.settings.pull_every;
            return;
        };
        // A question would fetch an access token first, which nobody may ever use.
        standing.can = ready.opened.features.pulls;
        if !standing.can {
            return;
        }
        standing.under_way = true;
        let (board, myself) = (Arc::clone(&self.board), myself.clone());
        self.asking.spawn(async move {
            let pulling = AssertUnwindSafe(pull_all(&board, &name, &ready)).catch_unwind();
            // A provider that panics is asked again at the next turn.
            let can = pulling.await.unwrap_or(true);
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(ReceiptsMsg::Asked { account: name, can });
        });
    }
}

/// Asks until the supplier has no more. Gives whether it can be asked at all.
async fn pull_all(board: &Switchboard, name: &Arc<str>, ready: &Ready) -> bool {
    let channel = &ready.opened.channel;
    for _ in 0..IN_A_ROW {
        let mut token = None;
        if ready.opened.features.wants_token {
            let Ok(good) = obtain(board, &Wanting::of(name, ready)).await else { return true };
            token = Some(good);
        }
        let pulled =
            timeout(PULL, channel.pull_receipts_at(token.as_ref().map(|token| &token.secret), board.now())).await;
        match pulled {
            Ok(Err(Unsupported(_))) => return false,
            Ok(Ok(Ok(receipts))) if receipts.is_empty() => return true,
            Ok(Ok(Ok(receipts))) => {
                if let Err(error) = report(board, name, receipts, OFFER_FOR).await {
                    meters::receipts("lost", 1);
                    tracing::error!(account = name.as_ref(), %error, "receipts that were pulled could not be kept");
                    return true;
                }
            }
            Ok(Ok(Err(reason))) => {
                if let Some(token) = token.filter(|_| reason.code == Token::INVALID) {
                    board.tokens.forget(name, token.number);
                }
                tracing::warn!(account = name.as_ref(), code = reason.code, "the supplier gave no receipts");
                return true;
            }
            Err(_) => return true,
        }
    }
    true
}

/// Has the next entry's delivery expected by receipts, if the supplier took it and named it.
pub(crate) fn expect(board: &Switchboard, letter: &Letter, outcome: &Outcome, asks: bool) {
    let Outcome::Delivered { provider_id: Some(provider_id) } = outcome else { return };
    let (delivery, now) = (&letter.work.delivery, board.now());
    let wait = board.parts.settings.receipts_for;
    let expect = Expect {
        delivery: delivery.id,
        account: letter.account_name.as_ref().to_owned(),
        provider_id: provider_id.clone(),
        to: delivery.address().to_owned(),
        until: now.after(wait),
        ask_until: asks.then(|| now.after(wait.min(ASK_FOR))),
    };
    let command = Command::Receipt(ReceiptCommand::Expect(Box::new(expect)));
    let desk = Arc::clone(letter.work.ticket.desk());
    board.record(&desk, [Entry::Aside(Box::new(command))]);
}

/// An account whose supplier calls back.
pub(crate) fn hears_callbacks(board: &Switchboard, name: &str) -> Result<Ready, CallbackError> {
    let mut account = None;
    board.parts.ledger.with_control(&mut |control| account = control.accounts.get(name).cloned());
    let account = account.ok_or(CallbackError::NotHere)?;
    let ready = board.called_back.lock().named(board, &name.into(), &account).map_err(CallbackError::Refused)?;
    // What is no callback at all is refused by whoever reads them, and is unsupported with all others.
    let channel = &ready.opened.channel;
    match catch_unwind(AssertUnwindSafe(|| channel.read_callback(&[], &[], board.now()))) {
        Ok(Err(Unsupported(_))) => Err(CallbackError::NotHere),
        _ => Ok(ready),
    }
}

/// Verifies, reads and keeps a callback of a supplier's. Gives what the supplier wants to hear.
pub(crate) async fn called_back(
    board: &Switchboard,
    name: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<(&'static str, &'static str), CallbackError> {
    let ready = hears_callbacks(board, name)?;
    let channel = &ready.opened.channel;
    let read = catch_unwind(AssertUnwindSafe(|| channel.read_callback(headers, body, board.now())));
    let receipts = match read {
        Ok(Ok(Ok(receipts))) => receipts,
        Ok(Ok(Err(reason))) => return Err(CallbackError::Refused(reason)),
        Ok(Err(Unsupported(_))) => return Err(CallbackError::NotHere),
        Err(_) => return Err(CallbackError::Refused(Reason::new("panic", "the provider panicked"))),
    };
    report(board, name, receipts, CALLED_FOR).await?;
    Ok(channel.callback_answer())
}

/// Puts receipts into the log of the partitions that expect them. What nobody here expects goes to all partitions: one of
/// them may be about to.
pub(crate) async fn report(
    board: &Switchboard,
    account: &str,
    receipts: Vec<Receipt>,
    within: Duration,
) -> Result<Reported, LedgerError> {
    let until = Instant::now() + within;
    let mut reported = Reported { receipts: receipts.len(), ..Reported::default() };
    let park_until = board.now().after_ms(PARK_MS);
    let mut by_partition: BTreeMap<PartitionId, Vec<Command>> = BTreeMap::new();
    let mut partitions = 1;
    board.parts.ledger.with_control(&mut |control| {
        partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
    });
    let all: Vec<PartitionId> = (0..partitions).map(PartitionId).collect();
    for receipt in receipts {
        let command = mark(account, receipt, park_until);
        let Command::Receipt(ReceiptCommand::Mark(one)) = &command else { continue };
        let mut expecting = all.clone();
        expecting.retain(|partition| {
            let mut expects = false;
            board.parts.ledger.with_partition(*partition, &mut |state| {
                expects = state.expects_receipt(&one.account, &one.provider_id, one.to.as_deref());
            });
            expects
        });
        let nobody = expecting.is_empty();
        reported.parked += usize::from(nobody);
        for partition in if nobody { &all } else { &expecting } {
            by_partition.entry(*partition).or_default().push(command.clone());
        }
    }
    for (partition, commands) in by_partition {
        for some in commands.chunks(BATCH) {
            reported.fresh += offer(board, partition, some, until).await?;
        }
    }
    meters::receipts("kept", reported.receipts as u64);
    Ok(reported)
}

fn mark(account: &str, receipt: Receipt, park_until: Time) -> Command {
    let Receipt { provider_id, to, mark, reason, at, gone, charge } = receipt;
    let (account, charge, park_until) = (account.to_owned(), charge.map(Box::new), Some(park_until));
    let mark = Mark { account, provider_id, to, mark, reason, at, park_until, gone, charge };
    Command::Receipt(ReceiptCommand::Mark(Box::new(mark)))
}

/// Proposes until it is kept or the time is up. Marking twice changes nothing.
pub(crate) async fn offer(
    board: &Switchboard,
    partition: PartitionId,
    commands: &[Command],
    until: Instant,
) -> Result<u64, LedgerError> {
    loop {
        match board.parts.ledger.propose(partition, commands.to_vec()).await {
            Ok(answers) => {
                let fresh = |answer: &Answer| match answer {
                    Answer::Receipt(ReceiptAnswer::Marked { fresh, .. }) => u64::from(*fresh),
                    _ => 0,
                };
                return Ok(answers.iter().map(fresh).sum());
            }
            Err(error) if error == LedgerError::Closed || Instant::now() + OFFER_EVERY >= until => return Err(error),
            Err(_) => sleep(OFFER_EVERY).await,
        }
    }
}
