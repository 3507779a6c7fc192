//! How the accounts stand, as this node knows it from control, and the probes it was granted.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidings_contract::Time;
use tidings_machine::control::{Breakers, Standing};
use tidings_machine::partition::Health;

/// The shortest time between two questions for a probe of the same account, in milliseconds.
const ASK_AGAIN_MS: u64 = 1_000;

/// Shared by all actors of a process. Outdated for a moment at most: a breaker that opened meanwhile costs a few calls.
#[derive(Debug, Default)]
pub(crate) struct Healths {
    breakers: RwLock<Arc<Breakers>>,
    /// Probes that this node may make, each once.
    granted: Mutex<HashMap<String, Granted>>,
    /// When a probe was asked for last.
    asked: Mutex<HashMap<String, Time>>,
}

/// A probe that this node may make.
#[derive(Clone, Copy, Debug)]
struct Granted {
    epoch: u64,
    until: Time,
}

impl Healths {
    /// Takes over what control says now.
    pub(crate) fn learn(&self, breakers: Breakers) {
        *self.breakers.write() = Arc::new(breakers);
    }

    /// The breakers as they are known now.
    pub(crate) fn breakers(&self) -> Arc<Breakers> {
        Arc::clone(&self.breakers.read())
    }

    /// A probe was granted until then.
    pub(crate) fn grant(&self, account: String, epoch: u64, until: Time) {
        self.granted.lock().insert(account, Granted { epoch, until });
    }

    /// Takes the probe of an account, if this node has it: nobody else gets it.
    pub(crate) fn take_probe(&self, account: &str, epoch: u64, now: Time) -> bool {
        self.granted.lock().remove(account).is_some_and(|granted| granted.epoch == epoch && now < granted.until)
    }

    /// Whether it is worth asking for a probe of the account at this moment: not again and again while control cannot be reached.
    pub(crate) fn may_ask(&self, account: &str, now: Time) -> bool {
        let mut asked = self.asked.lock();
        if asked.get(account).is_some_and(|last| now < last.after_ms(ASK_AGAIN_MS)) {
            return false;
        }
        asked.insert(account.to_owned(), now);
        true
    }

    /// How an account stands at `now`; a probe that is there is not taken yet. The second says that one should be asked for.
    pub(crate) fn of(&self, breakers: &Breakers, account: &str, now: Time) -> (Health, bool) {
        let Some(breaker) = breakers.accounts.get(account) else { return (Health::Closed, false) };
        match breaker.standing(now) {
            Standing::Closed => (Health::Closed, false),
            Standing::Open(until) => (Health::Open(until), false),
            Standing::HalfOpen(probe) => {
                let granted = self.granted.lock().get(account).copied();
                if granted.is_some_and(|granted| granted.epoch == breaker.epoch && now < granted.until) {
                    (Health::Probe, false)
                } else {
                    (Health::HalfOpen, probe.is_none())
                }
            }
        }
    }
}
