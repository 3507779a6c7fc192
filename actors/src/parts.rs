//! A content that goes out as several messages: sent one after the other, and counted as one attempt.

use std::sync::Arc;

use serde_json::Value;
use tidings_contract::{Call, Channel, Charged, Fence, Outcome, Reason, Target, fence, fenced};

use crate::work::Letter;

/// The messages of one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) first: Arc<Value>,
    pub(crate) further: Arc<[Arc<Value>]>,
}

impl Rendered {
    /// Contents in the order in which they go out; none counts as an empty one.
    pub(crate) fn of(contents: Vec<Value>) -> Self {
        let mut contents = contents.into_iter().map(Arc::new);
        let first = contents.next().unwrap_or_default();
        Self { first, further: contents.collect() }
    }
}

/// How many calls the longest of `letters` needs.
pub(crate) fn calls(letters: &[Letter]) -> usize {
    letters.iter().map(|letter| letter.further.len() + 1).max().unwrap_or(1)
}

/// Makes the call, and then calls for further parts of what was taken, in order.
pub(crate) async fn send(channel: &dyn Channel, call: Call, further: Vec<Arc<[Arc<Value>]>>) -> Vec<Charged> {
    let mut outcomes = channel.send_charged(&call).await;
    let rounds = further.iter().map(|parts| parts.len()).max().unwrap_or(0);
    for round in 0..rounds {
        let wanted = |at: usize| outcomes.get(at).is_some_and(|one| matches!(one.outcome, Outcome::Delivered { .. }));
        let next = further.iter().enumerate().filter(|(at, _)| wanted(*at));
        let next: Vec<(usize, Arc<Value>)> =
            next.filter_map(|(at, parts)| Some((at, Arc::clone(parts.get(round)?)))).collect();
        let target = |(at, content): &(usize, Arc<Value>)| {
            let part = u16::try_from(round + 1).unwrap_or(u16::MAX);
            call.targets.get(*at).map(|target| Target { content: Arc::clone(content), part, ..target.clone() })
        };
        let targets: Vec<Target> = next.iter().filter_map(target).collect();
        if targets.is_empty() {
            break;
        }
        // Another owner may have begun with the first part again by now.
        let begun = fence().map(Begun);
        let may_go = begun.as_ref().is_none_or(Fence::holds);
        let call = Call { targets, ..call.clone() };
        let round_outcomes = match begun {
            None => channel.send_charged(&call).await,
            Some(begun) if may_go => fenced(Arc::new(begun), channel.send_charged(&call)).await,
            Some(_) => call.targets.iter().map(|_| Outcome::fenced().into()).collect(),
        };
        let mut round_outcomes = round_outcomes.into_iter();
        for (at, _) in &next {
            let (outcome, charge) = round_outcomes.next().map_or((None, None), |one| (Some(one.outcome), one.charge));
            let Some(whole) = outcomes.get_mut(*at) else { continue };
            if matches!(outcome, Some(Outcome::Delivered { .. })) {
                whole.charge = whole.charge.take().zip(charge).and_then(|(before, this)| before.and(this).some());
            } else {
                whole.outcome = partly(round + 2, further[*at].len() + 1, outcome.as_ref());
            }
        }
    }
    outcomes
}

/// The fence around what belongs to an attempt that has begun: its permits were used with the first part.
struct Begun(Arc<dyn Fence>);

impl Fence for Begun {
    fn holds(&self) -> bool {
        self.0.goes_on()
    }
}

/// Some parts were taken and this one was not: nobody can call the delivery sent, and nobody can call it unsent.
fn partly(part: usize, of: usize, outcome: Option<&Outcome>) -> Outcome {
    let reason = outcome.and_then(Outcome::reason);
    let words = reason.map_or_else(|| "the provider gave too few outcomes".to_owned(), Reason::to_string);
    Outcome::unknown("partly_sent", format!("part {part} of {of}: {words}"))
}
