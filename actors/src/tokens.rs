//! The tokens actor: where letters wait for the access token of their account, or for the supplier's id of a file, and who
//! has both renewed in time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tidings_contract::{Blame, Outcome, Reason, Time, Token};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::media::lacking;
use crate::opened::OpenAccounts;
use crate::recorder::came_back;
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::token_cache::Good;
use crate::token_fetch::{NoToken, Wanting, obtain, obtain_id, renew};
use crate::work::Letter;

/// How often it is looked which tokens should be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a letter rests in the state for which there is no token and no reason, in milliseconds.
const REST_MS: u64 = 1_000;
/// How long a renewal that brought nothing new is not tried again, in milliseconds.
const AGAIN_MS: u64 = 10_000;

/// What the tokens actor is told.
#[derive(Debug)]
pub(crate) enum TokensMsg {
    /// Letters that lack their account's token or the id of a file.
    Letters(Vec<Letter>),
    /// Somebody found out about a token or an id, by the name under which it is kept, as the account was at that revision.
    Came { name: Arc<str>, revision: u64, token: Result<Good, NoToken> },
    /// It is time to look what should be renewed.
    Look,
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Tokens;

/// Where the letters wait that lack the same.
#[derive(Debug)]
struct Waiting {
    wanting: Wanting,
    letters: VecDeque<Letter>,
    asked: bool,
    /// A renewal is not tried before.
    renew_after: Time,
    /// Why there is none, until when it is not asked for again, and whose fault it is if it will never come.
    failing: Option<(Reason, Time, Option<Blame>)>,
}

impl Waiting {
    fn is_failing(&self, now: Time) -> bool {
        self.failing.as_ref().is_some_and(|(_, again, _)| now < *again)
    }
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Tending {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    accounts: OpenAccounts,
    rooms: HashMap<Arc<str>, Waiting>,
    /// Questions that are under way; aborted when the actor dies.
    asking: JoinSet<()>,
}

#[async_trait::async_trait]
impl Actor for Tokens {
    type Msg = TokensMsg;
    type State = Tending;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<TokensMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Tending, ActorProcessingErr> {
        board.tokens_actor.move_in(myself.clone());
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                if myself.send_message(TokensMsg::Look).is_err() {
                    return;
                }
            }
        });
        Ok(Tending { board, gauge, accounts: OpenAccounts::default(), rooms: HashMap::new(), asking })
    }

    async fn handle(
        &self,
        myself: ActorRef<TokensMsg>,
        message: TokensMsg,
        state: &mut Tending,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        match message {
            TokensMsg::Letters(letters) => state.receive(letters, &myself),
            TokensMsg::Came { name, revision, token } => state.heard(&name, revision, token, &myself),
            TokensMsg::Look => state.look(&myself),
        }
        let waiting = state.rooms.values().map(|room| room.letters.len()).sum();
        state.gauge.set(waiting, state.rooms.values().filter(|room| room.asked).count());
        Ok(())
    }
}

impl Tending {
    fn receive(&mut self, letters: Vec<Letter>, myself: &ActorRef<TokensMsg>) {
        let most = self.board.parts.settings.waiting_for_permits;
        let mut ready = Vec::new();
        for letter in letters {
            if self.board.is_stopping() && !letter.begun {
                continue;
            }
            let now = self.board.now();
            // Of an account that cannot be opened the sender says why.
            let ready_now = self.accounts.get(&self.board, &letter).ok();
            let Some(wanting) = ready_now.and_then(|account| lacking(&self.board, &account, &letter, now)) else {
                ready.push(letter);
                continue;
            };
            let room = self.room(wanting);
            if letter.begun {
                room.letters.push_front(letter);
            } else if room.letters.len() < most {
                room.letters.push_back(letter);
            } else {
                letter.work.ticket.not_before(now.after_ms(REST_MS));
            }
        }
        self.board.to_senders(ready);
        let names: Vec<_> = self.rooms.iter().filter(|(_, r)| !r.letters.is_empty()).map(|(n, _)| n.clone()).collect();
        let now = self.board.now();
        for name in names {
            let failing = self.rooms.get(&name).and_then(|room| room.failing.clone());
            match failing.filter(|(_, again, _)| now < *again) {
                Some((reason, again, blame)) => self.came(&name, Err(NoToken::Failing { reason, again, blame })),
                None => self.ask(&name, false, myself),
            }
        }
    }

    /// The room for what is wanted, with the account as it is now.
    fn room(&mut self, wanting: Wanting) -> &mut Waiting {
        let room = self.rooms.entry(Arc::clone(&wanting.name)).or_insert_with(|| Waiting {
            wanting: wanting.clone(),
            letters: VecDeque::new(),
            asked: false,
            renew_after: Time(0),
            failing: None,
        });
        if room.wanting.revision < wanting.revision {
            room.wanting = wanting;
            room.failing = None;
        }
        room
    }

    fn ask(&mut self, name: &Arc<str>, renewing: bool, myself: &ActorRef<TokensMsg>) {
        let Some(room) = self.rooms.get_mut(name).filter(|room| !room.asked) else { return };
        room.asked = true;
        let (board, wanting, name) = (Arc::clone(&self.board), room.wanting.clone(), Arc::clone(name));
        let myself = myself.clone();
        self.asking.spawn(async move {
            let token = match &wanting.media {
                Some(media) => obtain_id(&board, &wanting, media).await,
                None if renewing => renew(&board, &wanting).await,
                None => obtain(&board, &wanting).await,
            };
            // The actor aborts this when it dies, so it is there.
            let _ = myself.send_message(TokensMsg::Came { name, revision: wanting.revision, token });
        });
    }

    /// What was found out about an account that was changed meanwhile says nothing about the account of now: asked again.
    fn heard(&mut self, name: &Arc<str>, revision: u64, token: Result<Good, NoToken>, myself: &ActorRef<TokensMsg>) {
        if let Some(room) = self.rooms.get_mut(name).filter(|room| room.wanting.revision > revision) {
            room.asked = false;
            self.ask(name, false, myself);
        } else {
            self.came(name, token);
        }
    }

    fn came(&mut self, name: &Arc<str>, token: Result<Good, NoToken>) {
        let now = self.board.now();
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.asked = false;
        room.renew_after = now.after_ms(AGAIN_MS);
        room.failing = match &token {
            Err(NoToken::Failing { reason, again, blame }) => Some((reason.clone(), *again, *blame)),
            _ => None,
        };
        let letters = std::mem::take(&mut room.letters);
        match token {
            Ok(_) => self.board.to_senders(letters.into()),
            Err(NoToken::Failing { reason, again, blame }) => {
                // As with an account that cannot be opened: an attempt that certainly did not reach the supplier.
                let after_ms = u64::try_from(again.since(now).as_millis()).ok();
                for letter in letters {
                    let reason = reason.clone();
                    let outcome = match blame {
                        Some(blame) => Outcome::Never { reason, blame },
                        None => Outcome::Later { reason, after_ms },
                    };
                    came_back(&self.board, letter, now, outcome);
                }
            }
            Err(NoToken::NotYet) => {
                for letter in letters {
                    if letter.begun {
                        // Its attempt is in the log: it must come back.
                        let words = "no access token, or no id of a file, could be had";
                        came_back(&self.board, letter, now, Outcome::later("token_not_yet", words));
                    } else {
                        letter.work.ticket.not_before(now.after_ms(REST_MS));
                    }
                }
            }
        }
    }

    /// Has tokens renewed that are used and near their end. One process gets the lease; the others get what it brings.
    fn look(&mut self, myself: &ActorRef<TokensMsg>) {
        let now = self.board.now();
        let due: Vec<_> =
            [&self.board.tokens, &self.board.media].into_iter().flat_map(|cache| cache.due(now)).collect();
        for (name, revision) in due {
            let known = self.rooms.get(&name);
            let due = known.is_some_and(|room| room.renew_after <= now && room.wanting.revision == revision);
            if due && !self.board.is_stopping() {
                self.ask(&name, true, myself);
            }
        }
        let board = &self.board;
        self.rooms.retain(|name, room| {
            let known = room.wanting.cache(board).has(name, room.wanting.revision, now);
            known || room.asked || !room.letters.is_empty() || room.is_failing(now)
        });
    }
}

/// Has a token forgotten that the supplier calls invalid. What is wrong with a token is no fault of the delivery's, so such
/// an attempt may be repeated.
pub(crate) fn judge(board: &Switchboard, account: &Arc<str>, token: Option<&Good>, outcomes: &mut [Outcome]) {
    let Some(token) = token else { return };
    let mut invalid = false;
    for outcome in outcomes {
        if let Outcome::Later { reason, .. } | Outcome::Never { reason, .. } = outcome
            && reason.code == Token::INVALID
        {
            invalid = true;
            *outcome = Outcome::Later { reason: reason.clone(), after_ms: None };
        }
    }
    if invalid {
        board.tokens.forget(account, token.number);
    }
}
