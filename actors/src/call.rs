//! One call to a provider, with its deadline, whatever the provider does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tidings_contract::{Call, Materials, Outcome, Reason, Target, Time, planted};
use tokio::time::{Instant, timeout};

use crate::opened::Ready;
use crate::parts;
use crate::recorder::came_back;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// Letters whose call is under way. Dropped before the outcomes are known, it records that nobody can tell.
struct UnderWay {
    board: Arc<Switchboard>,
    letters: Vec<Letter>,
    began: Time,
}

impl UnderWay {
    fn end(&mut self, mut outcomes: impl Iterator<Item = Outcome>) {
        for letter in self.letters.drain(..) {
            let outcome = outcomes.next();
            let outcome = outcome.unwrap_or_else(|| unknown("no_outcome", "the provider gave too few outcomes"));
            came_back(&self.board, letter, self.began, outcome);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end(std::iter::repeat_with(|| unknown("cut", "the sender died during the call")));
    }
}

/// Sends letters of one account, template version and message type, and has what became of them recorded.
pub(crate) async fn call(board: Arc<Switchboard>, account: Ready, letters: Vec<Letter>) {
    let began = board.now();
    let request = request(&letters, began, board.parts.accounts.materials());
    let further: Vec<_> = letters.iter().map(|letter| Arc::clone(&letter.further)).collect();
    let calls = u32::try_from(parts::calls(&letters)).unwrap_or(1);
    let mut under_way = UnderWay { board, letters, began };
    let start = Instant::now();
    let sending = AssertUnwindSafe(parts::send(account.opened.channel.as_ref(), request, further)).catch_unwind();
    let outcomes = match timeout(account.opened.info.deadline * calls, sending).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(_)) => all(&under_way, &unknown("panic", "the provider panicked")),
        Err(_) => all(&under_way, &unknown("timeout", "the provider did not answer within its deadline")),
    };
    account.meters.call(start.elapsed());
    outcomes.iter().for_each(|outcome| account.meters.attempt(outcome));
    under_way.end(outcomes.into_iter());
}

fn all(under_way: &UnderWay, outcome: &Outcome) -> Vec<Outcome> {
    vec![outcome.clone(); under_way.letters.len()]
}

fn unknown(code: &str, words: &str) -> Outcome {
    if planted("cut_is_later") {
        return Outcome::later(code, words);
    }
    Outcome::Unknown { reason: Reason::new(code, words) }
}

fn request(letters: &[Letter], at: Time, materials: Option<Arc<dyn Materials>>) -> Call {
    let target = |letter: &Letter| Target {
        delivery: letter.work.delivery.id,
        attempt: letter.attempt(),
        to: letter.work.delivery.to.clone(),
        content: Arc::clone(&letter.content),
    };
    let sheet = letters.first().map(|letter| &letter.work.sheet);
    Call {
        channel: sheet.map(|sheet| sheet.channel.clone()).unwrap_or_default(),
        message_type: sheet.map(|sheet| sheet.message_type).unwrap_or_default(),
        at,
        targets: letters.iter().map(target).collect(),
        token: None,
        materials,
    }
}
