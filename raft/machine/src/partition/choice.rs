//! Which account the next attempt is made with. A pure choice: the same delivery, attempt and health give the same account.

use tidings_contract::{Time, stable_hash};

use super::way::WayAccount;
use super::{CallPolicy, Delivery, Sheet};

/// How an account stands, as the cluster knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its breaker is closed: it can be used.
    Closed,
    /// Its breaker is open until then.
    Open(Time),
    /// Its breaker is half-open, and the one probe is somebody else's.
    HalfOpen,
    /// Its breaker is half-open, and the one probe is ours to make.
    Probe,
}

/// What to do about a delivery that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Try it with this account.
    Go {
        /// The account.
        account: &'a str,
        /// How it is called.
        call: CallPolicy,
        /// Whether the attempt is the probe of a half-open breaker.
        probe: bool,
        /// Why this one, for the trace; empty where there was nothing to choose.
        why: String,
    },
    /// No account that is left can be used now.
    Wait {
        /// When the first open breaker half-opens; `None` while a probe is under way.
        until: Option<Time>,
        /// Which stand in the way, for the trace.
        why: String,
    },
}

/// Chooses the account for the next attempt at `delivery`: of the first tier that has a usable one, by weight and a hash of
/// the delivery and the attempt. `health` is asked only about accounts that come into question.
pub fn choose<'a>(delivery: &'a Delivery, sheet: &'a Sheet, health: &mut dyn FnMut(&str) -> Health) -> Choice<'a> {
    let leg = sheet.leg(delivery.leg());
    let named = leg.account.or_else(|| leg.way.is_none_or(|way| way.accounts.is_empty()).then(|| delivery.address()));
    if let Some(account) = named {
        return only(account, delivery.call(sheet, account), health);
    }
    let Some(way) = leg.way else { return only(delivery.address(), None, health) };
    let free = |(place, one): (usize, &'a WayAccount)| {
        // A list has at most 255 accounts: those behind cannot be tried.
        let place = u8::try_from(place).ok()?;
        let ours = delivery.pinned().is_none_or(|pinned| pinned == place);
        (ours && one.weight > 0 && !delivery.gave_up(place)).then_some(one)
    };
    let free: Vec<&WayAccount> = way.accounts.iter().enumerate().filter_map(free).collect();
    let mut tiers: Vec<u8> = free.iter().map(|one| one.tier).collect();
    tiers.sort_unstable();
    tiers.dedup();
    let (mut until, mut skipped) = (None, Vec::new());
    for tier in tiers {
        let mut usable = Vec::new();
        for one in free.iter().filter(|one| one.tier == tier) {
            match health(&one.account) {
                Health::Closed => usable.push(*one),
                Health::Probe => {
                    let why = format!("probe of the half-open breaker of {}{}", one.account, tail(&skipped));
                    return Choice::Go { account: &one.account, call: one.call, probe: true, why };
                }
                Health::Open(opens) => {
                    until = Some(until.map_or(opens, |until: Time| until.min(opens)));
                    skipped.push(format!("{}: breaker open until {opens}", one.account));
                }
                Health::HalfOpen => skipped.push(format!("{}: breaker half-open", one.account)),
            }
        }
        if let Some((one, of)) = by_weight(&usable, delivery) {
            let tier = if tier == 0 { String::new() } else { format!(" in tier {tier}") };
            let why = format!("weight {} of {of}{tier}{}", one.weight, tail(&skipped));
            return Choice::Go { account: &one.account, call: one.call, probe: false, why };
        }
    }
    Choice::Wait { until, why: skipped.join("; ") }
}

/// The choice where there is only one account.
fn only<'a>(account: &'a str, call: Option<CallPolicy>, health: &mut dyn FnMut(&str) -> Health) -> Choice<'a> {
    let Some(call) = call else {
        return Choice::Go { account, call: CallPolicy::default(), probe: false, why: String::new() };
    };
    let go = |probe, why| Choice::Go { account, call, probe, why };
    match health(account) {
        Health::Closed => go(false, String::new()),
        Health::Probe => go(true, format!("probe of the half-open breaker of {account}")),
        Health::Open(until) => {
            Choice::Wait { until: Some(until), why: format!("{account}: breaker open until {until}") }
        }
        Health::HalfOpen => Choice::Wait { until: None, why: format!("{account}: breaker half-open") },
    }
}

fn by_weight<'a>(usable: &[&'a WayAccount], delivery: &Delivery) -> Option<(&'a WayAccount, u64)> {
    let of: u64 = usable.iter().map(|one| u64::from(one.weight)).sum();
    let mut bytes = [0; 24];
    bytes[..21].copy_from_slice(delivery.id.bytes());
    bytes[21..23].copy_from_slice(&delivery.attempts.to_be_bytes());
    // Told apart from the hash that spreads retries.
    bytes[23] = b'w';
    let mut at = stable_hash(&bytes).checked_rem(of)?;
    for one in usable {
        let weight = u64::from(one.weight);
        if at < weight {
            return Some((one, of));
        }
        at -= weight;
    }
    None
}

fn tail(skipped: &[String]) -> String {
    if skipped.is_empty() { String::new() } else { format!("; skipped {}", skipped.join(", ")) }
}
