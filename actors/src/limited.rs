//! What limits a letter: its account, and whatever else has windows. Each is a subject with a home of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_contract::{AccountLimit, LimitUnit, PartitionId, Time, partition_of};
use tidings_machine::control::Account;

use crate::policies::{LimitOf, LimitRule};

/// Something that has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// As its home knows it: `account/<name>`, `template/<name>` …
    pub(crate) name: Arc<str>,
    /// What its home is found by: a recipient's address, so that it is at home where its deliveries are; else the name.
    home: Arc<str>,
    pub(crate) windows: Vec<AccountLimit>,
    pub(crate) unit: LimitUnit,
}

/// What limits look at: a letter as it goes out now, on the leg that its delivery is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited<'a> {
    /// The account it goes out with.
    pub(crate) account: &'a str,
    /// The channel of its leg.
    pub(crate) channel: &'a str,
    /// The template of its leg.
    pub(crate) template: &'a str,
    /// The API key that submitted it.
    pub(crate) key: &'a str,
    /// The address on its leg.
    pub(crate) to: &'a str,
}

/// Permits of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// Until when it may be used, by this node's clock.
    pub(crate) until: Time,
    /// When it lapses, as its home said.
    pub(crate) lapses: Time,
    /// Whether its home should hear when it was used: then the next one comes sooner.
    pub(crate) settles: bool,
}

/// Permits of one lease that were used for a call.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    /// The subject's name.
    pub(crate) name: Arc<str>,
    pub(crate) permit: Permit,
    pub(crate) count: u32,
}

/// A subject that limits a letter, and the permit that was taken for the letter, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) subject: Arc<Subject>,
    pub(crate) permit: Option<Permit>,
    /// Letters that are to go in one call share a permit where one for the call is enough. Whether it was used.
    pub(crate) shared: Option<Arc<AtomicBool>>,
}

impl Held {
    /// A subject without a permit yet.
    pub(crate) fn of(subject: Arc<Subject>) -> Self {
        Self { subject, permit: None, shared: None }
    }

    /// Whether the permit holds at `now` and no other call has used it.
    pub(crate) fn holds(&self, now: Time) -> bool {
        self.permit.is_some_and(|permit| now < permit.until)
            && self.shared.as_ref().is_none_or(|used| !used.load(Ordering::SeqCst))
    }

    /// Whether one permit is enough for a call.
    pub(crate) fn is_by_request(&self) -> bool {
        self.subject.unit == LimitUnit::Request
    }

    /// The permit was used for a call.
    pub(crate) fn uses(&self) {
        if let Some(used) = &self.shared {
            used.store(true, Ordering::SeqCst);
        }
    }

    /// Takes the permit out, for others; not one that is shared, because those it is shared with may use it.
    pub(crate) fn let_go(&mut self) -> Option<Permit> {
        let permit = self.permit.take();
        permit.filter(|_| self.shared.take().is_none())
    }
}

impl Subject {
    /// The account as a subject, if it has a limit. Its home is where programs looked for it that knew accounts only.
    pub(crate) fn of_account(name: &str, account: &Account) -> Option<Arc<Self>> {
        let windows = account.windows();
        let subject = |windows| Self {
            name: format!("account/{name}").into(),
            home: name.into(),
            windows,
            unit: account.limit_unit,
        };
        (!windows.is_empty()).then(|| Arc::new(subject(windows)))
    }

    /// What a policy limits about a letter.
    pub(crate) fn of_rule(rule: &LimitRule, policy: &str, letter: &Limited<'_>) -> Arc<Self> {
        let name: Arc<str> = rule.subject(policy, letter).into();
        let home = if rule.of == LimitOf::Recipient { letter.to.into() } else { Arc::clone(&name) };
        Arc::new(Self { name, home, windows: rule.windows.clone(), unit: rule.unit })
    }

    /// Its home among so many partitions.
    pub(crate) fn home(&self, partitions: u16) -> PartitionId {
        partition_of(&self.home, partitions)
    }

    /// The fewest permits of any window: more cannot be granted at once.
    pub(crate) fn most(&self) -> u32 {
        self.windows.iter().map(|window| window.permits).min().unwrap_or(u32::MAX).max(1)
    }

    /// How far apart permits are in a long demand, in milliseconds; at least 1.
    pub(crate) fn spacing_ms(&self) -> u64 {
        let spacing = |window: &AccountLimit| window.window_ms / u64::from(window.permits.max(1));
        self.windows.iter().map(spacing).max().unwrap_or(1).max(1)
    }
}
