//! The callers: each does one operation after the other, chosen by the seed, at any node.

mod ahead;
mod batch;
mod cancel;
mod due;
mod letter;
mod listed;
mod newest;
mod redrive;
mod repeat;
mod revoke;
mod send;
mod suppress;

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::time::sleep;

use crate::clock::elapsed;
use crate::early::Kind;
use crate::http::call;
use crate::plan::stream;
use crate::trace;
use crate::world::{Letter, Phase, Send, Verdict, World};

/// One caller.
pub(crate) struct Caller {
    pub(crate) world: World,
    pub(crate) number: usize,
    pub(crate) chance: StdRng,
    /// Addresses of which this caller does not know whether they stand on the suppression list.
    pub(crate) doubtful: BTreeSet<String>,
    /// How many mail addresses of its own it has used; each is used once.
    pub(crate) mails: usize,
}

/// Calls until its time is over.
pub(crate) async fn call_on(world: World, number: usize) -> turmoil::Result {
    let chance = stream(world.plan.seed, &format!("caller {number}"));
    let mut caller = Caller { world, number, chance, doubtful: BTreeSet::new(), mails: 0 };
    caller.world.reached(Phase::Work).await;
    let end = elapsed() + caller.world.plan.work_ms;
    match caller.world.plan.early {
        Some(early) if early.kind == Kind::Frozen && number == 1 => due::due(&mut caller, early).await,
        Some(early) if early.kind == Kind::CutOff && number == 2 => revoke::revoke(&mut caller, early).await,
        _ => {}
    }
    while elapsed() < end {
        match caller.chance.random_range(0..100) {
            0..35 => send::send(&mut caller).await,
            35..38 => newest::newest(&mut caller).await,
            38..48 => suppress::suppress(&mut caller).await,
            48..64 => repeat::repeat(&mut caller).await,
            64..71 => batch::batch(&mut caller).await,
            71..81 => cancel::cancel(&mut caller).await,
            81..86 => ahead::ahead(&mut caller).await,
            86..92 => listed::listed(&mut caller).await,
            _ => redrive::redrive(&mut caller).await,
        }
        let pause = caller.chance.random_range(20..300);
        sleep(Duration::from_millis(pause)).await;
    }
    *caller.world.callers_left.borrow_mut() -= 1;
    Ok(())
}

impl Caller {
    pub(crate) fn node(&mut self) -> usize {
        self.chance.random_range(1..=self.world.plan.nodes)
    }

    /// Asks a node, notes what became of it, and gives that.
    pub(crate) async fn ask(&self, node: usize, path: &str, key: Option<&str>, body: &Value) -> Verdict {
        let bearer = self.world.book.borrow().key.clone();
        let verdict = Verdict::of_send(call(node, &bearer, "POST", path, key, Some(body)).await);
        trace::note(elapsed(), &format!("c{} n{node} {path} {key:?} {body} {verdict:?}", self.number));
        verdict
    }

    pub(crate) fn keep(&self, began: u64, key: Option<String>, letter: &Letter, verdict: Verdict) {
        let (ended, letter) = (elapsed(), letter.clone());
        self.world.book.borrow_mut().sends.push(Send { began, ended, key, letter, verdict });
    }

    /// Sends a letter once, without a key, and gives the ids of what was kept.
    pub(crate) async fn send(&mut self, letter: &Letter) -> Vec<String> {
        let (node, began) = (self.node(), elapsed());
        let verdict = self.ask(node, "/v1/messages", None, &letter.body).await;
        self.keep(began, None, letter, verdict);
        let book = self.world.book.borrow();
        book.sends.last().into_iter().flat_map(Send::deliveries).map(|(id, _)| id.to_owned()).collect()
    }
}
