//! Getting an account's access token: from the replica, from the account's home, or, with the home's lease, from the
//! supplier. Whoever asks, one at a time does so in a process, and one process at a time in the cluster. The ids of files
//! that a supplier took are had the same way, with an upload in the place of the fetch.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidings_contract::{Blame, Channel, Outcome, PartitionId, Reason, Secret, Time, Token, partition_of};
use tidings_machine::partition::{Answer, Command, HeldToken, Owner, Refusal, TokenAnswer, TokenCommand};
use tokio::time::{Instant, sleep, timeout};

use crate::LedgerError;
use crate::media::Media;
use crate::meters;
use crate::opened::Ready;
use crate::switchboard::Switchboard;
use crate::token_cache::{Good, Known, TokenCache};
use crate::upload::{present, upload};

/// Longest time of one fetch; shorter than the lease of an account's home.
const FETCH: Duration = Duration::from_secs(10);
/// How long a fetch and the telling of it may take together: as long as the lease.
const LEASE_LASTS: Duration = Duration::from_secs(15);
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
        /// Whose fault it is, if it will never come.
        blame: Option<Blame>,
    },
    /// Nobody can tell yet: the home has no leader, or somebody else still fetches.
    NotYet,
}

/// Why a supplier did not give what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// Whose fault it is, if there is no sense in asking again.
    pub(crate) blame: Option<Blame>,
    /// How long the supplier wants to be left alone, in milliseconds.
    pub(crate) after_ms: u64,
}

impl Refused {
    /// Not now.
    pub(crate) fn later(reason: Reason) -> Self {
        Self { reason, blame: None, after_ms: 0 }
    }

    /// What an outcome says that is not a yes. What nobody can tell may be asked for again: nothing was sent.
    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Never { reason, blame } => Self { blame: Some(blame), ..Self::later(reason) },
            Outcome::Later { reason, after_ms } => Self { after_ms: after_ms.unwrap_or(0), ..Self::later(reason) },
            Outcome::Unknown { reason } => Self::later(reason),
            _ => Self::later(Reason::new("answer", "the answer lacks what was asked for")),
        }
    }
}

/// An account whose token is wanted, or the supplier's id of a file.
#[derive(Clone, Debug)]
pub(crate) struct Wanting {
    /// Under which name it is kept: the account's for a token.
    pub(crate) name: Arc<str>,
    /// The account's revision when it was opened: a token belongs to one.
    pub(crate) revision: u64,
    pub(crate) channel: Arc<dyn Channel>,
    /// The name of its provider, for figures.
    pub(crate) provider: &'static str,
    /// The file whose id it is.
    pub(crate) media: Option<Media>,
}

impl Wanting {
    /// The token of an account that was opened.
    pub(crate) fn of(name: &Arc<str>, ready: &Ready) -> Self {
        Self {
            name: Arc::clone(name),
            revision: ready.revision,
            channel: Arc::clone(&ready.opened.channel),
            provider: ready.opened.info.name,
            media: None,
        }
    }

    /// Where this process remembers it.
    pub(crate) fn cache<'a>(&self, board: &'a Switchboard) -> &'a TokenCache {
        if self.media.is_some() { &board.media } else { &board.tokens }
    }
}

/// The token of an account, from wherever it is.
pub(crate) async fn obtain(board: &Switchboard, wanting: &Wanting) -> Result<Good, NoToken> {
    let turn = board.tokens.turn(&wanting.name);
    let _turn = turn.lock().await;
    if let Some(good) = board.tokens.get(&wanting.name, wanting.revision, board.now()) {
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
    let mut search = Search::begin(board, wanting).await;
    loop {
        match search.next().await? {
            Found::Good(good) => return Ok(good),
            Found::Lease(lease) => {
                // Where the result was not kept, or nobody can tell, the home tells when it is asked again.
                if let Some(held) = fetch(board, search.home, wanting, lease).await? {
                    return open(board, wanting, held);
                }
            }
        }
    }
}

/// The supplier's id of a file, from wherever it is; another one if the present one is due for renewal.
pub(crate) async fn obtain_id(board: &Switchboard, wanting: &Wanting, media: &Media) -> Result<Good, NoToken> {
    let turn = board.media.turn(&wanting.name);
    let _turn = turn.lock().await;
    present(board, media).await?;
    let mut search = Search::begin(board, wanting).await;
    loop {
        match search.next().await? {
            Found::Good(good) => return Ok(good),
            Found::Lease(lease) => {
                if let Some(held) = upload(board, search.home, wanting, media, lease).await? {
                    return open(board, wanting, held);
                }
            }
        }
    }
}

/// The right to fetch, given by a home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) number: u64,
    /// When it was given, or a little later.
    pub(crate) since: Instant,
}

/// What a search comes upon.
enum Found {
    Good(Good),
    /// It is up to this process to fetch.
    Lease(Lease),
}

/// Looking for what is wanted, at the replica and at its home.
struct Search<'a> {
    board: &'a Switchboard,
    wanting: &'a Wanting,
    home: PartitionId,
    started: Instant,
    asked: Option<Instant>,
}

impl<'a> Search<'a> {
    async fn begin(board: &'a Switchboard, wanting: &'a Wanting) -> Self {
        let home = home(board, &wanting.name);
        drop_bad(board, home, wanting).await;
        Self { board, wanting, home, started: Instant::now(), asked: None }
    }

    async fn next(&mut self) -> Result<Found, NoToken> {
        let Self { board, wanting, home, .. } = *self;
        loop {
            if let Some(held) = replica(board, home, wanting) {
                return open(board, wanting, held).map(Found::Good);
            }
            if self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
                self.asked = Some(Instant::now());
                match ask(board, home, claim(board, wanting)).await {
                    Some(TokenAnswer::Held(held)) if !is_bad(board, wanting, &held) => {
                        return open(board, wanting, held).map(Found::Good);
                    }
                    Some(TokenAnswer::Held(_)) => {
                        drop_bad(board, home, wanting).await;
                        self.asked = None;
                    }
                    Some(TokenAnswer::Fetch { lease, .. }) => {
                        tracing::debug!(account = %wanting.name, lease, "this node fetches");
                        self.asked = None;
                        return Ok(Found::Lease(Lease { number: lease, since: Instant::now() }));
                    }
                    Some(TokenAnswer::Failing { reason, again }) => {
                        return Err(NoToken::Failing { reason: in_words(wanting, reason), again, blame: None });
                    }
                    _ => {}
                }
            }
            if self.started.elapsed() >= PATIENCE {
                return Err(NoToken::NotYet);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// The home knows tokens only; of a file it is said that its id is not taken.
fn in_words(wanting: &Wanting, reason: Reason) -> Reason {
    match reason.code.as_str() {
        "token_not_taken" if wanting.media.is_some() => {
            Reason::new("media_not_taken", "the supplier does not know the id of a file that it took a moment ago")
        }
        _ => reason,
    }
}

/// The account's home: the partition that also decides about its limit.
fn home(board: &Switchboard, account: &str) -> PartitionId {
    partition_of(account, board.partitions())
}

fn is_bad(board: &Switchboard, wanting: &Wanting, held: &HeldToken) -> bool {
    wanting.cache(board).bad(&wanting.name).is_some_and(|bad| held.number <= bad)
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

pub(crate) fn claim(board: &Switchboard, wanting: &Wanting) -> TokenCommand {
    let by = Owner { node: board.parts.ledger.node(), boot: board.parts.boot };
    TokenCommand::Claim { account: wanting.name.as_ref().to_owned(), revision: wanting.revision, by }
}

/// Tells the home of a token that the supplier called invalid. It forgets that one and no other.
async fn drop_bad(board: &Switchboard, home: PartitionId, wanting: &Wanting) {
    let Some(number) = wanting.cache(board).bad(&wanting.name) else { return };
    let (mut held, revision) = (false, wanting.revision);
    let here = board.parts.ledger.with_partition(home, &mut |partition| {
        held = partition.token(&wanting.name, revision, Time(0)).is_some_and(|token| token.number == number);
    });
    if held || !here {
        let account = wanting.name.as_ref().to_owned();
        ask(board, home, TokenCommand::Drop { account, revision, number }).await;
    }
}

pub(crate) async fn ask(board: &Switchboard, home: PartitionId, command: TokenCommand) -> Option<TokenAnswer> {
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
    let secret =
        secret.map_err(|reason| NoToken::Failing { reason, again: board.now().after_ms(1_000), blame: None })?;
    let good = Good { secret, number: held.number };
    let known = Known::new(wanting.revision, good.clone(), held.renew_at, held.expires_at);
    wanting.cache(board).put(&wanting.name, known);
    Ok(good)
}

/// Fetches from the supplier and has the home keep what came. Gives what is kept, if the home says so.
async fn fetch(
    board: &Switchboard,
    home: PartitionId,
    wanting: &Wanting,
    lease: Lease,
) -> Result<Option<HeldToken>, NoToken> {
    let fetching = AssertUnwindSafe(wanting.channel.fetch_token_at(board.now())).catch_unwind();
    let fetched = match timeout(FETCH, fetching).await {
        Ok(Ok(Some(fetched))) => fetched,
        Ok(Ok(None)) => Err(Reason::new("no_token", "the provider has no access tokens")),
        Ok(Err(_)) => Err(Reason::new("panic", "the provider panicked")),
        Err(_) => Err(Reason::new("timeout", "the supplier gave no access token in time")),
    };
    meters::token_fetched(wanting.provider, fetched.is_ok());
    // The code says at which step it failed; the words are the supplier's.
    let named = |reason: Reason| Refused::later(Reason::new(format!("token_{}", reason.code), reason.words));
    put(board, home, wanting, lease, fetched.map_err(named)).await
}

/// Has the home keep what came under `lease`, or why nothing came. Gives what is kept, if the home says so.
pub(crate) async fn put(
    board: &Switchboard,
    home: PartitionId,
    wanting: &Wanting,
    lease: Lease,
    came: Result<Token, Refused>,
) -> Result<Option<HeldToken>, NoToken> {
    let sealed = came.and_then(|token| seal(board, &wanting.name, &token).map_err(Refused::later));
    let (account, revision, number) = (wanting.name.as_ref().to_owned(), wanting.revision, lease.number);
    let (command, failure) = match sealed {
        Ok((sealed, good_ms)) => (TokenCommand::Put { account, revision, lease: number, sealed, good_ms }, None),
        Err(refused) => {
            tracing::warn!(account, code = refused.reason.code, "the supplier did not give what was asked for");
            (TokenCommand::Failed { account, revision, lease: number, reason: refused.reason.clone() }, Some(refused))
        }
    };
    let answer = tell(board, home, command, lease.since).await;
    let Some(Refused { reason, blame, after_ms }) = failure else {
        return Ok(match answer {
            Some(TokenAnswer::Held(held)) => Some(held),
            _ => None,
        });
    };
    let again = match answer {
        Some(TokenAnswer::Failing { again, .. }) => again,
        _ => board.now().after_ms(1_000),
    };
    Err(NoToken::Failing { reason, again: again.max(board.now().after_ms(after_ms)), blame })
}

/// Tells the home what came of a lease, until it answers or the lease is over: while the home has no leader nothing is kept, and
/// a token that was fetched and not told is fetched again. `None` also when the lease is another's, or the result was kept
/// before.
async fn tell(board: &Switchboard, home: PartitionId, command: TokenCommand, leased: Instant) -> Option<TokenAnswer> {
    loop {
        match board.parts.ledger.propose(home, vec![Command::Token(command.clone())]).await.as_deref() {
            Ok([Answer::Token(answer)]) => return Some(answer.clone()),
            Ok(other) => {
                tracing::debug!(?command, answer = ?other, "what came of a lease is not taken");
                return None;
            }
            Err(LedgerError::Closed) => return None,
            Err(error) => tracing::debug!(%home, %error, "the home of an account's token could not be told"),
        }
        if leased.elapsed() >= LEASE_LASTS {
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
