//! Getting an account's access token: from the replica, from the account's home, or, with the home's lease, from the
//! supplier. Whoever asks, one at a time does so in a process, and one process at a time in the cluster.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidings_contract::{Channel, PartitionId, Reason, Secret, Time, Token, partition_of};
use tidings_machine::partition::{Answer, Command, HeldToken, Owner, Refusal, TokenAnswer, TokenCommand};
use tokio::time::{Instant, sleep, timeout};

use crate::LedgerError;
use crate::meters;
use crate::opened::Ready;
use crate::switchboard::Switchboard;
use crate::token_cache::{Good, Known};

/// Longest time of one fetch; shorter than the lease of an account's home.
const FETCH: Duration = Duration::from_secs(10);
/// How long a fetch and the telling of it may take together: as long as the lease.
const LEASE: Duration = Duration::from_secs(15);
/// How long somebody waits for others to fetch, or for a home without a leader.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the replica is looked at meanwhile, and how often the home is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A token is not used in the last tenth of its life, nor in its last minute: a call takes time.
const MARGIN: Duration = Duration::from_secs(60);

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoToken {
    /// The supplier does not give one.
    Failing {
        /// Why.
        reason: Reason,
        /// When it is worth asking again.
        again: Time,
    },
    /// Nobody can tell yet: the home has no leader, or somebody else still fetches.
    NotYet,
}

/// An account whose token is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanting {
    pub(crate) name: Arc<str>,
    /// The account's revision when it was opened: a token belongs to one.
    pub(crate) revision: u64,
    pub(crate) channel: Arc<dyn Channel>,
    /// The name of its provider, for figures.
    pub(crate) provider: &'static str,
}

impl Wanting {
    /// The token of an account that was opened.
    pub(crate) fn of(name: &Arc<str>, ready: &Ready) -> Self {
        Self {
            name: Arc::clone(name),
            revision: ready.revision,
            channel: Arc::clone(&ready.opened.channel),
            provider: ready.opened.info.name,
        }
    }
}

/// The token of an account, from wherever it is.
pub(crate) async fn obtain(board: &Switchboard, wanting: &Wanting) -> Result<Good, NoToken> {
    let turn = board.tokens.turn(&wanting.name);
    let _turn = turn.lock().await;
    let (now, revision) = (board.now(), wanting.revision);
    if let Some(good) = board.tokens.get(&wanting.name, revision, now) {
        return Ok(good);
    }
    find(board, wanting).await
}

/// The next token of an account whose present one is due for renewal, if there is one.
pub(crate) async fn renew(board: &Switchboard, wanting: &Wanting) -> Result<Good, NoToken> {
    let turn = board.tokens.turn(&wanting.name);
    let _turn = turn.lock().await;
    find(board, wanting).await
}

async fn find(board: &Switchboard, wanting: &Wanting) -> Result<Good, NoToken> {
    let started = Instant::now();
    let home = home(board, &wanting.name);
    drop_bad(board, home, wanting).await;
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(held) = replica(board, home, wanting) {
            return open(board, wanting, held);
        }
        if asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            asked = Some(Instant::now());
            match ask(board, home, claim(board, wanting)).await {
                Some(TokenAnswer::Held(held)) if !is_bad(board, wanting, &held) => return open(board, wanting, held),
                Some(TokenAnswer::Held(_)) => {
                    drop_bad(board, home, wanting).await;
                    asked = None;
                }
                Some(TokenAnswer::Fetch { lease, .. }) => match fetch(board, home, wanting, lease).await? {
                    Some(held) => return open(board, wanting, held),
                    // Whether or not the result was kept, the home tells.
                    None => asked = None,
                },
                Some(TokenAnswer::Failing { reason, again }) => return Err(NoToken::Failing { reason, again }),
                _ => {}
            }
        }
        if started.elapsed() >= PATIENCE {
            return Err(NoToken::NotYet);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The account's home: the partition that also decides about its limit.
fn home(board: &Switchboard, account: &str) -> PartitionId {
    let mut partitions = 1;
    board.parts.ledger.with_control(&mut |control| {
        partitions = control.cluster.as_ref().map_or(1, |cluster| cluster.partitions);
    });
    partition_of(account, partitions)
}

fn is_bad(board: &Switchboard, wanting: &Wanting, held: &HeldToken) -> bool {
    board.tokens.bad(&wanting.name).is_some_and(|bad| held.number <= bad)
}

/// What the local replica of the home holds, unless it should be renewed.
fn replica(board: &Switchboard, home: PartitionId, wanting: &Wanting) -> Option<HeldToken> {
    let now = board.now();
    let mut found = None;
    board.parts.ledger.with_partition(home, &mut |partition| {
        found = partition.token(&wanting.name, wanting.revision, now).cloned();
    });
    found.filter(|held| now < held.renew_at && !is_bad(board, wanting, held))
}

fn claim(board: &Switchboard, wanting: &Wanting) -> TokenCommand {
    let by = Owner { node: board.parts.ledger.node(), boot: board.parts.boot };
    TokenCommand::Claim { account: wanting.name.as_ref().to_owned(), revision: wanting.revision, by }
}

/// Tells the home of a token that the supplier called invalid. It forgets that one and no other.
async fn drop_bad(board: &Switchboard, home: PartitionId, wanting: &Wanting) {
    let Some(number) = board.tokens.bad(&wanting.name) else { return };
    let (mut held, revision) = (false, wanting.revision);
    let here = board.parts.ledger.with_partition(home, &mut |partition| {
        held = partition.token(&wanting.name, revision, Time(0)).is_some_and(|token| token.number == number);
    });
    if held || !here {
        let account = wanting.name.as_ref().to_owned();
        ask(board, home, TokenCommand::Drop { account, revision, number }).await;
    }
}

async fn ask(board: &Switchboard, home: PartitionId, command: TokenCommand) -> Option<TokenAnswer> {
    match board.parts.ledger.propose(home, vec![Command::Token(command)]).await.as_deref() {
        Ok([Answer::Token(answer)]) => Some(answer.clone()),
        Ok([Answer::Refused(Refusal::Outdated)]) => None,
        other => {
            tracing::debug!(%home, answer = ?other, "the home of an account's token did not answer");
            None
        }
    }
}

fn open(board: &Switchboard, wanting: &Wanting, held: HeldToken) -> Result<Good, NoToken> {
    let secret = board.parts.accounts.unseal_token(&wanting.name, &held.sealed);
    let secret = secret.map_err(|reason| NoToken::Failing { reason, again: board.now().after_ms(1_000) })?;
    let good = Good { secret, number: held.number };
    let known = Known::new(wanting.revision, good.clone(), held.renew_at, held.expires_at);
    board.tokens.put(&wanting.name, known);
    Ok(good)
}

/// Fetches from the supplier and has the home keep what came. Gives what is kept, if the home says so.
async fn fetch(
    board: &Switchboard,
    home: PartitionId,
    wanting: &Wanting,
    lease: u64,
) -> Result<Option<HeldToken>, NoToken> {
    let leased = Instant::now();
    let fetching = AssertUnwindSafe(wanting.channel.fetch_token_at(board.now())).catch_unwind();
    let fetched = match timeout(FETCH, fetching).await {
        Ok(Ok(Some(fetched))) => fetched,
        Ok(Ok(None)) => Err(Reason::new("no_token", "the provider has no access tokens")),
        Ok(Err(_)) => Err(Reason::new("panic", "the provider panicked")),
        Err(_) => Err(Reason::new("timeout", "the supplier gave no access token in time")),
    };
    let sealed = fetched.and_then(|token| seal(board, &wanting.name, &token));
    meters::token_fetched(wanting.provider, sealed.is_ok());
    let (account, revision) = (wanting.name.as_ref().to_owned(), wanting.revision);
    let (command, failure) = match sealed {
        Ok((sealed, good_ms)) => (TokenCommand::Put { account, revision, lease, sealed, good_ms }, None),
        Err(reason) => {
            // The code says at which step it failed; the words are the supplier's.
            let reason = Reason::new(format!("token_{}", reason.code), reason.words);
            tracing::warn!(account, code = reason.code, "no access token could be fetched");
            (TokenCommand::Failed { account, revision, lease, reason: reason.clone() }, Some(reason))
        }
    };
    let answer = tell(board, home, command, leased).await;
    match (failure, answer) {
        (None, Some(TokenAnswer::Held(held))) => Ok(Some(held)),
        (None, _) => Ok(None),
        (Some(_), Some(TokenAnswer::Failing { reason, again })) => Err(NoToken::Failing { reason, again }),
        (Some(reason), _) => Err(NoToken::Failing { reason, again: board.now().after_ms(1_000) }),
    }
}

/// Tells the home what came of a lease, until it answers or the lease is over: while the home has no leader nothing is kept, and
/// a token that was fetched and not told is fetched again. `None` also when the lease is another's, or the result was kept
/// before.
async fn tell(board: &Switchboard, home: PartitionId, command: TokenCommand, leased: Instant) -> Option<TokenAnswer> {
    loop {
        match board.parts.ledger.propose(home, vec![Command::Token(command.clone())]).await.as_deref() {
            Ok([Answer::Token(answer)]) => return Some(answer.clone()),
            Ok(_) | Err(LedgerError::Closed) => return None,
            Err(error) => tracing::debug!(%home, %error, "the home of an account's token could not be told"),
        }
        if leased.elapsed() >= LEASE {
            return None;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn seal(board: &Switchboard, account: &str, token: &Token) -> Result<(tidings_machine::control::Sealed, u64), Reason> {
    let good = token.expires_in.saturating_sub(MARGIN.min(token.expires_in / 10));
    let good_ms = u64::try_from(good.as_millis()).unwrap_or(u64::MAX);
    if good_ms == 0 {
        return Err(Reason::new("expired", "the supplier gave an access token that is good for no time"));
    }
    let secret: &Secret = &token.secret;
    Ok((board.parts.accounts.seal_token(account, secret)?, good_ms))
}
