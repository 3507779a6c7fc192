//! The provider's end: takes, refuses, delays, hangs and breaks off by a hash of the seed, and counts what arrived. It lives
//! outside the nodes: what it was given stays given when a node dies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Settings, Target, fence, stable_hash,
};
use tidings_node::sim::awake;

use crate::clock::elapsed;
use crate::trace;

static INFO: ProviderInfo = info(2);
/// Where a node is frozen with calls at their first byte. The timers of a real node stand still with it; those of a simulated one
/// would end the call meanwhile.
static PATIENT: ProviderInfo = info(PATIENT_S);
/// The deadline of a call there, in seconds: longer than any such freeze.
pub(crate) const PATIENT_S: u64 = 6;

const fn info(deadline_s: u64) -> ProviderInfo {
    ProviderInfo {
        name: "simulated",
        channel: "*",
        doc: "Takes, refuses, delays, hangs and breaks off by the seed.",
        source: "the simulation",
        settings: &[],
        example: "{}",
        // One, so that every attempt has its own fate.
        max_recipients: 1,
        deadline: Duration::from_secs(deadline_s),
    }
}

/// What the provider does with one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Takes it and says so.
    Take,
    /// Does not take it; it may be tried again.
    Later,
    /// Does not take it and never will.
    Never,
    /// Takes it and breaks off.
    TakeAndBreakOff,
    /// Does not take it and breaks off.
    BreakOff,
    /// Takes it and says nothing for ever.
    TakeAndHang,
    /// Says nothing for ever.
    Hang,
}

impl Deed {
    /// Whether the recipient gets it.
    pub(crate) fn takes(self) -> bool {
        matches!(self, Self::Take | Self::TakeAndBreakOff | Self::TakeAndHang)
    }

    /// Whether the caller learns what became of it, if it lives until then.
    pub(crate) fn tells(self) -> bool {
        matches!(self, Self::Take | Self::Later | Self::Never)
    }
}

/// One attempt as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// When, in simulated milliseconds.
    pub(crate) at: u64,
    /// When the answer went back, if it did before the call was cut off.
    pub(crate) answered: Option<u64>,
    pub(crate) node: usize,
    pub(crate) account: String,
    pub(crate) delivery: String,
    pub(crate) attempt: u16,
    pub(crate) to: String,
    pub(crate) text: String,
    pub(crate) deed: Deed,
}

/// The provider as one node reaches it.
#[derive(Clone, Debug)]
pub(crate) struct Simulated {
    pub(crate) seed: u64,
    pub(crate) node: usize,
    /// Whether calls may take longer than usual.
    pub(crate) patient: bool,
    pub(crate) arrivals: Arc<Mutex<Vec<Arrival>>>,
}

#[derive(Debug)]
struct Account {
    name: String,
    provider: Simulated,
}

impl Provider for Simulated {
    fn info(&self) -> &'static ProviderInfo {
        if self.patient { &PATIENT } else { &INFO }
    }

    fn open(&self, account: &str, _settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        Ok(Arc::new(Account { name: account.to_owned(), provider: self.clone() }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(call.targets.len());
        for target in &call.targets {
            let chance = self.chance(target);
            let deed = deed(&self.name, chance % 100);
            // The connection is made, the node may be frozen meanwhile, and right before the first byte the fence is asked.
            tokio::time::sleep(Duration::from_millis((chance >> 24) % 20)).await;
            awake(self.provider.node as u64).await;
            if fence().is_some_and(|fence| !fence.holds()) {
                outcomes.push(Outcome::fenced());
                continue;
            }
            let place = self.arrive(target, deed);
            tokio::time::sleep(Duration::from_millis((chance >> 8) % 400)).await;
            if matches!(deed, Deed::Hang | Deed::TakeAndHang) {
                std::future::pending::<()>().await;
            }
            self.provider.arrivals.lock()[place].answered = Some(elapsed());
            outcomes.push(outcome(deed, target));
        }
        outcomes
    }
}

impl Account {
    fn chance(&self, target: &Target) -> u64 {
        let text = format!("{} {} {} {}", self.provider.seed, self.name, target.to, target.attempt);
        stable_hash(format!("{text} {}", target.content["text"]).as_bytes())
    }

    fn arrive(&self, target: &Target, deed: Deed) -> usize {
        let arrival = Arrival {
            at: elapsed(),
            answered: None,
            node: self.provider.node,
            account: self.name.clone(),
            delivery: target.delivery.to_string(),
            attempt: target.attempt,
            to: target.to.clone(),
            text: target.content["text"].as_str().unwrap_or_default().to_owned(),
            deed,
        };
        let Arrival { at, node, delivery, attempt, .. } = &arrival;
        trace::note(*at, &format!("n{node} attempts {delivery} {attempt} by {}: {deed:?}", self.name));
        let mut arrivals = self.provider.arrivals.lock();
        arrivals.push(arrival);
        arrivals.len() - 1
    }
}

fn deed(account: &str, percent: u64) -> Deed {
    let table: &[(u64, Deed)] = match account {
        "good" => &[(80, Deed::Take), (90, Deed::Later), (95, Deed::TakeAndBreakOff), (100, Deed::BreakOff)],
        "shaky" => &[
            (45, Deed::Take),
            (60, Deed::Later),
            (72, Deed::TakeAndBreakOff),
            (80, Deed::BreakOff),
            (92, Deed::TakeAndHang),
            (100, Deed::Hang),
        ],
        "left" => &[
            (30, Deed::Take),
            (65, Deed::Later),
            (75, Deed::TakeAndBreakOff),
            (90, Deed::BreakOff),
            (100, Deed::Never),
        ],
        "tardy" => &[(40, Deed::Take), (85, Deed::Later), (95, Deed::TakeAndBreakOff), (100, Deed::BreakOff)],
        "picky" => &[
            (15, Deed::Take),
            (40, Deed::Later),
            (48, Deed::TakeAndBreakOff),
            (60, Deed::BreakOff),
            (100, Deed::Never),
        ],
        "second" => &[(70, Deed::Take), (85, Deed::Later), (93, Deed::TakeAndBreakOff), (100, Deed::BreakOff)],
        "bad" => &[(20, Deed::Take), (60, Deed::Later), (100, Deed::Never)],
        _ => &[(100, Deed::Take)],
    };
    table.iter().find(|(below, _)| percent < *below).map_or(Deed::Take, |(_, deed)| *deed)
}

fn outcome(deed: Deed, target: &Target) -> Outcome {
    match deed {
        Deed::Take => Outcome::Delivered { provider_id: Some(format!("{}/{}", target.delivery, target.attempt)) },
        Deed::Later => Outcome::later("busy", "come back"),
        Deed::Never => Outcome::never(Blame::Recipient, "no_such_number", "nobody there"),
        _ => Outcome::unknown("broke_off", "the connection broke"),
    }
}
