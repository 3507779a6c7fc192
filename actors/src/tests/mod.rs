//! What the motion promises, on paused time over the real machine.

mod after_the_end;
mod asked;
mod calm;
mod deaths;
mod endpoints;
mod ends;
mod frozen;
mod leaving;
mod ledger_faults;
mod legs;
mod limits;
mod media;
mod outside;
mod parts;
mod pauses;
mod poison;
mod policies;
mod pools;
mod quiet;
mod routes;
mod suppressed;
mod takeovers;
mod tokens;
mod waits;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{Blame, Call, DeliveryId, Outcome, Target};
use tidings_machine::partition::{Ended, State, What};

use crate::Settings;
use crate::testing::{FakeChannel, Step, World};

/// How long a proposal takes in these tests.
const LATENCY: Duration = Duration::from_millis(3);
/// More than any of these tests needs.
const LONG: Duration = Duration::from_secs(3_600);

/// A node with two partitions and a provider that follows the script.
async fn world(script: impl Fn(&Call, &Target) -> Step + Send + Sync + 'static) -> World {
    World::new(2, LATENCY, Settings::default(), FakeChannel::new(script)).await.expect("a world starts")
}

/// Gives `outcome` after `ms` milliseconds.
fn after(ms: u64, outcome: Outcome) -> Step {
    Step::Give(Duration::from_millis(ms), outcome)
}

fn delivered() -> Outcome {
    Outcome::Delivered { provider_id: Some("id".to_owned()) }
}

fn busy() -> Outcome {
    Outcome::later("http_503", "busy")
}

fn refused() -> Outcome {
    Outcome::never(Blame::Recipient, "gone", "no such subscriber")
}

fn states(world: &World) -> BTreeMap<State, usize> {
    let mut states = BTreeMap::new();
    for ended in world.ledger.ended().values() {
        *states.entry(ended.delivery.state).or_default() += 1;
    }
    states
}

/// The outcomes recorded of a delivery: attempt, class, code.
fn attempts(ended: &Ended) -> Vec<(u16, &'static str, String)> {
    let outcome = |what: &What| match what {
        What::Attempted { attempt, outcome, .. } => {
            Some((*attempt, outcome.class(), outcome.reason().map(|r| r.code.clone()).unwrap_or_default()))
        }
        _ => None,
    };
    ended.delivery.events.iter().filter_map(|event| outcome(&event.what)).collect()
}

/// How often the provider took each delivery.
fn taken(channel: &Arc<FakeChannel>) -> BTreeMap<DeliveryId, usize> {
    let mut taken = BTreeMap::new();
    for seen in channel.seen().iter().filter(|seen| seen.taken) {
        *taken.entry(seen.delivery).or_default() += 1;
    }
    taken
}
