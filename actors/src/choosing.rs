//! Which account an attempt is made with, as this node knows the accounts' health, and when to look again if with none.

use std::time::Duration;

use tidings_contract::{DeliveryId, Time, stable_hash};
use tidings_machine::partition::{Choice, Health, Via, choose};

use crate::breakers::BreakersMsg;
use crate::switchboard::Switchboard;
use crate::work::Work;

/// How long a delivery waits while somebody else probes its account: spread, so that not all look again at once.
const PROBED_MS: (u64, u64) = (300, 1_200);
/// How long a delivery waits for the probe that it asked for, in milliseconds.
const GRANT_MS: u64 = 150;
/// How much later than its breaker half-opens a delivery looks again, at most.
const OPEN_SPREAD_MS: u64 = 200;

/// The account for an attempt.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) account: String,
    pub(crate) via: Option<Box<Via>>,
    pub(crate) timeout: Option<Duration>,
}

/// None can be used now.
#[derive(Debug)]
pub(crate) struct Held {
    /// When to look again.
    pub(crate) until: Time,
    /// Which breakers stand in the way.
    pub(crate) why: String,
    /// Whether it only waits for a probe that was asked for.
    pub(crate) for_probe: bool,
}

/// Chooses. Takes the probe of a half-open breaker if this node has it, and asks for it if it could be used.
pub(crate) fn choose_account(board: &Switchboard, work: &Work) -> Result<Chosen, Held> {
    let (delivery, sheet) = (&work.delivery, &work.sheet);
    let breakers = board.healths.breakers();
    let now = board.now();
    let mut asked = false;
    let mut health = |account: &str| {
        let (health, ask) = board.healths.of(&breakers, account, now);
        if ask && board.healths.may_ask(account, now) {
            asked = true;
            board.breakers.send(BreakersMsg::WantProbe(account.to_owned()));
        }
        if health == Health::Probe {
            // The first that comes takes it, if it is still there.
            let epoch = breakers.epoch(account);
            if !board.healths.take_probe(account, epoch, now) {
                return Health::HalfOpen;
            }
        }
        health
    };
    let choice = choose(delivery, sheet, &mut health);
    if asked && !matches!(choice, Choice::Go { probe: true, .. }) {
        // Whoever asks for a probe waits for it: where little is sent, nobody else may come while it is granted.
        return Err(Held { until: now.after_ms(GRANT_MS), why: String::new(), for_probe: true });
    }
    match choice {
        Choice::Go { account, call, probe, why } => {
            let breaker = breakers.epoch(account);
            let plain = breaker == 0 && !probe && why.is_empty();
            Ok(Chosen {
                account: account.to_owned(),
                via: (!plain).then(|| Box::new(Via { breaker, probe, why, ..Via::default() })),
                timeout: call.timeout_ms.map(Duration::from_millis),
            })
        }
        Choice::Wait { until, why } => {
            let spread = |most: u64| stable_hash(delivery.id.bytes()) % most;
            let until = until.map(|until| until.after_ms(spread(OPEN_SPREAD_MS)));
            Err(Held { until: until.unwrap_or_else(|| later(now, &delivery.id)), why, for_probe: false })
        }
    }
}

fn later(now: Time, delivery: &DeliveryId) -> Time {
    now.after_ms(PROBED_MS.0 + stable_hash(delivery.bytes()) % (PROBED_MS.1 - PROBED_MS.0))
}
