//! One call to a provider, with its deadline, whatever the provider does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tidings_contract::{
    Call, Charge, Charged, Features, Fence, Materials, Outcome, Reason, Target, Time, fenced, planted,
};
use tokio::time::{Instant, timeout};

use crate::gate::Gate;
use crate::media::{self, Used, fill};
use crate::opened::Means;
use crate::parts;
use crate::receipts::expect;
use crate::recorder::{came_back, not_made};
use crate::switchboard::Switchboard;
use crate::tokens::judge;
use crate::work::Letter;

/// Letters whose call is under way. Dropped before the outcomes are known, it records that nobody can tell.
struct UnderWay {
    board: Arc<Switchboard>,
    letters: Vec<Letter>,
    began: Time,
    features: Features,
    /// What the supplier charges for each, as far as it said so.
    charges: Vec<Option<Charge>>,
}

impl UnderWay {
    fn end(&mut self, mut outcomes: impl Iterator<Item = Outcome>) {
        let mut charges = std::mem::take(&mut self.charges).into_iter();
        for mut letter in self.letters.drain(..) {
            let outcome = outcomes.next();
            let outcome = outcome.unwrap_or_else(|| unknown("no_outcome", "the provider gave too few outcomes"));
            if outcome.is_fenced() {
                not_made(&self.board, letter);
                continue;
            }
            if self.features.calls_recipients {
                name_endpoint(&self.board, &mut letter, &outcome);
            }
            if self.features.reports {
                expect(&self.board, &letter, &outcome, self.features.asks);
            }
            let charge = charges.next().flatten();
            came_back(&self.board, letter, self.began, Charged { outcome, charge });
        }
    }
}

/// Says what was called, so that the outcome speaks for or against it. A yes of what is well is worth no byte in the log.
fn name_endpoint(board: &Switchboard, letter: &mut Letter, outcome: &Outcome) {
    let Some(endpoint) = letter.work.endpoint else { return };
    let mut told = !matches!(outcome, Outcome::Delivered { .. });
    if !told {
        board.parts.ledger.with_partition(letter.work.ticket.desk().partition, &mut |partition| {
            told = partition.is_watched(&endpoint);
        });
    }
    // A probe of the account says that it was called, also where all is well.
    if told || letter.via.is_some() {
        letter.via.get_or_insert_default().endpoint = Some(endpoint);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end(std::iter::repeat_with(|| unknown("cut", "the sender died during the call")));
    }
}

/// Sends letters of one account, template version and message type, and has what became of them recorded.
pub(crate) async fn call(board: Arc<Switchboard>, means: Means, mut letters: Vec<Letter>) {
    let Means { ready: account, token } = means;
    let began = board.now();
    let (channel, revision) = (account.opened.channel.as_ref(), account.revision);
    let used = letters.iter_mut().map(|letter| fill(&board, channel, revision, letter, began));
    let used: Option<Vec<Used>> = used.collect();
    let name = letters.first().map(|letter| Arc::clone(&letter.account_name));
    let request = request(&letters, began, board.parts.accounts.materials());
    let request = Call { token: token.as_ref().map(|token| token.secret.clone()), ..request };
    let further: Vec<_> = letters.iter().map(|letter| Arc::clone(&letter.further)).collect();
    let calls = u32::try_from(parts::calls(&letters)).unwrap_or(1);
    let features = account.opened.features;
    let gate = Gate::of(&board, &letters);
    let mut under_way = UnderWay { board, letters, began, features, charges: Vec::new() };
    let Some(used) = used else {
        let outcomes = all(&under_way, &Outcome::later("media_expired", "the id of a file ended just before the call"));
        under_way.end(outcomes.into_iter());
        return;
    };
    if !gate.holds() {
        under_way.end(std::iter::repeat_with(Outcome::fenced));
        return;
    }
    let start = Instant::now();
    let sending = AssertUnwindSafe(fenced(gate, parts::send(channel, request, further))).catch_unwind();
    let own = under_way.letters.iter().filter_map(|letter| letter.timeout).min();
    let deadline = own.unwrap_or(account.opened.info.deadline).min(account.opened.info.deadline);
    let mut outcomes = match timeout(deadline * calls, sending).await {
        Ok(Ok(charged)) => {
            let split = charged.into_iter().map(|Charged { outcome, charge }| (outcome, charge));
            let (outcomes, charges) = split.unzip();
            under_way.charges = charges;
            outcomes
        }
        Ok(Err(_)) => all(&under_way, &unknown("panic", "the provider panicked")),
        Err(_) => all(&under_way, &unknown("timeout", "the provider did not answer within its deadline")),
    };
    if let Some(name) = &name {
        judge(&under_way.board, name, token.as_ref(), &mut outcomes);
    }
    media::judge(&under_way.board, channel, &used, &mut outcomes);
    account.meters.call(start.elapsed());
    outcomes.iter().filter(|outcome| !outcome.is_fenced()).for_each(|outcome| account.meters.attempt(outcome));
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
        to: letter.work.delivery.address().to_owned(),
        content: Arc::clone(&letter.content),
        part: 0,
    };
    let sheet = letters.first().map(|letter| &letter.work.sheet);
    let channel = letters.first().map(|letter| letter.work.sheet.leg(letter.work.delivery.leg()).channel.to_owned());
    Call {
        channel: channel.unwrap_or_default(),
        message_type: sheet.map(|sheet| sheet.message_type).unwrap_or_default(),
        at,
        targets: letters.iter().map(target).collect(),
        token: None,
        materials,
    }
}
