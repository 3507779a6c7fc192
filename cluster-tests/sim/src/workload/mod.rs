//! The callers: each does one operation after the other, chosen by the seed, at any node.

mod batch;
mod cancel;
mod redrive;
mod repeat;
mod send;
mod suppress;

use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clock::{elapsed, in_ms};
use crate::http::{Got, call};
use crate::plan::stream;
use crate::trace;
use crate::world::{Phase, Send, Verdict, World};

/// One caller.
pub(crate) struct Caller {
    pub(crate) world: World,
    pub(crate) number: usize,
    pub(crate) chance: StdRng,
    /// Addresses of which this caller does not know whether they stand on the suppression list.
    pub(crate) doubtful: BTreeSet<String>,
}

/// Calls until its time is over.
pub(crate) async fn call_on(world: World, number: usize) -> turmoil::Result {
    let chance = stream(world.plan.seed, &format!("caller {number}"));
    let mut caller = Caller { world, number, chance, doubtful: BTreeSet::new() };
    caller.world.reached(Phase::Work).await;
    let end = elapsed() + caller.world.plan.work_ms;
    while elapsed() < end {
        match caller.chance.random_range(0..100) {
            0..44 => send::send(&mut caller).await,
            44..52 => suppress::suppress(&mut caller).await,
            52..72 => repeat::repeat(&mut caller).await,
            72..80 => batch::batch(&mut caller).await,
            80..92 => cancel::cancel(&mut caller).await,
            _ => redrive::redrive(&mut caller).await,
        }
        let pause = caller.chance.random_range(20..300);
        sleep(Duration::from_millis(pause)).await;
    }
    *caller.world.callers_left.borrow_mut() -= 1;
    Ok(())
}

/// What a send is about.
pub(crate) struct Letter {
    pub(crate) template: &'static str,
    pub(crate) number: u64,
    pub(crate) to: Vec<String>,
    pub(crate) body: Value,
}

impl Caller {
    pub(crate) fn node(&mut self) -> usize {
        self.chance.random_range(1..=self.world.plan.nodes)
    }

    /// A new letter. Numbers are used once, but for the template with dedup, where few numbers and recipients meet often.
    pub(crate) fn letter(&mut self) -> Letter {
        let template = match self.chance.random_range(0..100) {
            0..10 => "plain",
            10..18 => "routed",
            18..30 => "often",
            30..36 if self.world.plan.quiet => "night",
            30..50 => "once",
            50..70 => "unique",
            70..85 => "capped",
            _ => "bad",
        };
        let unique = template == "unique";
        // Few recipients, so that they are sent to often.
        let few = unique || template == "often";
        let number =
            if unique { self.chance.random_range(0..6) } else { self.chance.random_range(1_000..u64::MAX >> 12) };
        let count = if self.chance.random_ratio(1, 3) { self.chance.random_range(2..6) } else { 1 };
        let first = self.chance.random_range(0..if few { 4 } else { 40_u32 });
        let to: Vec<String> = (0..count).map(|n| format!("+86138001{:05}", first * 7 + n)).collect();
        let mut body = json!({"template": template, "to": to, "variables": {"n": number.to_string()}});
        if self.chance.random_ratio(1, 6) {
            body["send_at"] = in_ms(self.chance.random_range(500..5_000)).into();
        } else if self.chance.random_ratio(1, 10) {
            body["expires_at"] = in_ms(self.chance.random_range(1_000..4_000)).into();
        }
        Letter { template, number, to, body }
    }

    /// Asks a node, notes what became of it, and gives that.
    pub(crate) async fn ask(&self, node: usize, path: &str, key: Option<&str>, body: &Value) -> Verdict {
        let bearer = self.world.book.borrow().key.clone();
        let verdict = match call(node, &bearer, "POST", path, key, Some(body)).await {
            Got::Answer(200 | 202, answer) => Verdict::Accepted(answer),
            Got::Answer(status, problem) => {
                let code = problem["code"].as_str().unwrap_or("none").to_owned();
                // A request that ran into its deadline may have been kept, wholly or in part.
                if code == "timeout" || status == 500 { Verdict::Unknown(code) } else { Verdict::Refused(status, code) }
            }
            Got::NotSent => Verdict::Refused(0, "not_sent".to_owned()),
            Got::NoAnswer(why) => Verdict::Unknown(why),
        };
        trace::note(elapsed(), &format!("c{} n{node} {path} {key:?} {body} {verdict:?}", self.number));
        verdict
    }

    pub(crate) fn keep(&self, began: u64, key: Option<String>, letter: &Letter, verdict: Verdict) {
        let Letter { template, number, to, .. } = letter;
        let (template, number, to) = (*template, *number, to.clone());
        let ended = elapsed();
        self.world.book.borrow_mut().sends.push(Send { began, ended, key, template, number, to, verdict });
    }
}
