//! Which ways a delivery may go: the accounts of a leg with their weights and tiers, and the legs behind the first one.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

use super::{Delivery, Endpoint, RetryPolicy, Sheet};

/// When the breaker of an account opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Length of the window in which a partition counts, in milliseconds.
    pub window_ms: u64,
    /// Fewer calls than so many in a window say nothing about their share of failures; at least 1.
    pub min_calls: u32,
    /// It opens when so many of a hundred calls in the window failed; 0 for never.
    pub failure_percent: u8,
    /// It opens when so many calls in a row failed; 0 for never.
    pub consecutive: u32,
    /// How long it stays open the first time, in milliseconds; each further time twice as long.
    pub open_ms: u64,
    /// How long it stays open at most, in milliseconds.
    pub longest_open_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window_ms: 10_000,
            min_calls: 20,
            failure_percent: 50,
            consecutive: 0,
            open_ms: 2_000,
            longest_open_ms: 60_000,
        }
    }
}

/// How an account is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPolicy {
    /// Longest time of one call in milliseconds, where it is shorter than the provider's own deadline.
    pub timeout_ms: Option<u64>,
    /// When its breaker opens.
    pub breaker: BreakerPolicy,
    /// Whether an address that turns out to be nobody's goes on the suppression list.
    #[serde(default)]
    pub suppress_bounces: bool,
}

/// An account that a leg may be sent with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayAccount {
    /// Its name.
    pub account: String,
    /// Its share among the accounts of its tier.
    pub weight: u32,
    /// A tier is used when no account of the tiers before it can be; from 0.
    pub tier: u8,
    /// How it is called.
    pub call: CallPolicy,
}

/// What to do about a provider's error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeAction {
    /// Try again, whatever the provider's class of it.
    Retry,
    /// Give the account up and go on with the next one.
    Switch,
    /// Give the leg up and go on with the fallback channel.
    SwitchChannel,
    /// End here.
    Stop,
    /// Tell somebody: counted and logged. What becomes of the delivery is decided by the other rules, or by the outcome.
    Alert,
}

/// A rule on provider error codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeRule {
    /// A reason's code; `*` stands for any run of characters, also none.
    pub code: String,
    /// What to do.
    pub action: CodeAction,
}

/// A route at a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRef {
    /// Its name.
    pub name: String,
    /// The version.
    pub version: u32,
}

impl std::fmt::Display for RouteRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The accounts of a leg, and the rules for choosing among them. Fixed when the message is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The route they come from; `None` where a template names its account.
    pub route: Option<RouteRef>,
    /// The accounts; none where the recipient is the account (robots).
    pub accounts: Vec<WayAccount>,
    /// What to do about which error codes; of those that match, the first one that is no alert decides.
    pub rules: Vec<CodeRule>,
    /// After so many attempts that did not come through, an account is given up if there is anything else; 0 for never.
    pub attempts_per_account: u16,
    /// How an account is called that is not in the list.
    pub call: CallPolicy,
}

impl Way {
    /// Where `account` stands in the list.
    pub fn index(&self, account: &str) -> Option<u8> {
        self.accounts.iter().position(|one| one.account == account).and_then(|index| u8::try_from(index).ok())
    }

    /// How `account` is called.
    pub fn call(&self, account: &str) -> CallPolicy {
        let listed = self.accounts.iter().find(|one| one.account == account);
        listed.map_or(self.call, |one| one.call)
    }
}

/// A further leg: where a delivery goes when the leg before it is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The template's name.
    pub template: String,
    /// Its version.
    pub version: u32,
    /// Its channel.
    pub channel: String,
    /// Its accounts.
    pub way: Way,
    /// When to try again within this leg.
    pub retry: RetryPolicy,
}

/// What is the same about the first leg and the further ones.
#[derive(Clone, Copy, Debug)]
pub struct LegView<'a> {
    /// The template's name.
    pub template: &'a str,
    /// Its version.
    pub version: u32,
    /// Its channel.
    pub channel: &'a str,
    /// The account that the sheet itself names.
    pub account: Option<&'a str>,
    /// Its accounts; `None` in sheets of older programs.
    pub way: Option<&'a Way>,
    /// When to try again within this leg.
    pub retry: &'a RetryPolicy,
}

impl Sheet {
    /// Leg number `leg`, from 0; the first one if there is none of that number.
    pub fn leg(&self, leg: u8) -> LegView<'_> {
        match usize::from(leg).checked_sub(1).and_then(|further| self.legs.get(further)) {
            Some(leg) => LegView {
                template: &leg.template,
                version: leg.version,
                channel: &leg.channel,
                account: None,
                way: Some(&leg.way),
                retry: &leg.retry,
            },
            None => LegView {
                template: &self.template,
                version: self.version,
                channel: &self.channel,
                account: self.account.as_deref(),
                way: self.way.as_deref(),
                retry: &self.policy.retry,
            },
        }
    }
}

/// How the account of an attempt was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// The epoch of the account's breaker at that time.
    pub breaker: u64,
    /// Whether the attempt is the probe of a half-open breaker.
    pub probe: bool,
    /// Why this account, for the trace; empty where there was nothing to choose.
    pub why: String,
    /// The limit that the attempt waited for first, if it waited for one.
    #[serde(default)]
    pub waited: Option<Waited>,
    /// What was called, where the recipient is a URL and its host: then the outcome speaks for or against that and not the
    /// account.
    #[serde(default)]
    pub endpoint: Option<Endpoint>,
}

/// What an attempt waits for: a limit without room, or a server of a recipient's that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The rule: `limits/<policy>@<version>`, `account_limit/<account>@<revision>` for an account's own, `breaker/host` or
    /// `breaker/url` for the recipient's server.
    pub rule: String,
    /// Whose budget: `account/<name>`, `template/<name>`, `key/<id>`, `recipient/<channel>/<address>`, `all`; or the host or
    /// the URL that failed.
    pub subject: String,
    /// No attempt is made before.
    pub until: Time,
}

impl Waited {
    /// For a host of recipients whose breaker is open.
    pub const HOST: &str = "breaker/host";
    /// For a URL of recipients whose breaker is open.
    pub const URL: &str = "breaker/url";

    /// Whether it is a server of a recipient's that failed.
    pub fn of_endpoint(&self) -> bool {
        [Self::HOST, Self::URL].contains(&self.rule.as_str())
    }
}

/// How far a delivery has come on its ways. Only what left the first account or may leave it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Which leg, from 0.
    pub leg: u8,
    /// When this leg was due first; `None` on the first one, which was due with the delivery.
    pub began: Option<Time>,
    /// Attempts that came back before this leg.
    pub before: u16,
    /// What was tried of this leg's accounts.
    pub tried: Vec<Tried>,
    /// The account of an attempt that may have been taken: no other one is tried, unless the template allows it.
    pub pinned: Option<u8>,
    /// The addresses for the further legs, in their order; a leg without one is left out.
    pub addresses: Vec<Option<String>>,
    /// Until when the home of this leg's address holds its slots for it; `None` while that home was not asked.
    #[serde(default)]
    pub open_until: Option<Time>,
}

/// What was tried of one account of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its place in the list.
    pub account: u8,
    /// Attempts that came back without coming through.
    pub attempts: u16,
    /// Whether it is given up for this delivery.
    pub given_up: bool,
}

impl Delivery {
    /// Which leg it is on, from 0.
    pub fn leg(&self) -> u8 {
        self.course.as_ref().map_or(0, |course| course.leg)
    }

    /// The address on this leg.
    pub fn address(&self) -> &str {
        let further = self.course.as_ref().and_then(|course| {
            let place = usize::from(course.leg).checked_sub(1)?;
            course.addresses.get(place)?.as_deref()
        });
        further.unwrap_or(&self.to)
    }

    /// Whether the account at that place of the present leg's list is given up for this delivery.
    pub fn gave_up(&self, account: u8) -> bool {
        let tried = self.course.as_ref().and_then(|course| course.tried.iter().find(|one| one.account == account));
        tried.is_some_and(|one| one.given_up)
    }

    /// The account that alone may be tried, because an attempt with it may have been taken.
    pub fn pinned(&self) -> Option<u8> {
        self.course.as_ref().and_then(|course| course.pinned)
    }

    /// The next leg there is an address for.
    pub fn next_leg(&self, sheet: &Sheet) -> Option<u8> {
        let course = self.course.as_ref()?;
        let further = usize::from(course.leg)..sheet.legs.len();
        let place = further.into_iter().find(|place| course.addresses.get(*place).is_some_and(Option::is_some))?;
        u8::try_from(place + 1).ok()
    }
}

/// Whether `code` fits `pattern`, in which `*` stands for any run of characters.
pub fn code_fits(pattern: &str, code: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = code.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            // The earliest place leaves the most for the parts behind.
            let Some(at) = rest.find(middle) else { return false };
            rest = &rest[at + middle.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::code_fits;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, code, fits) in [
            ("http_503", "http_503", true),
            ("http_503", "http_5030", false),
            ("http_503", "http_50", false),
            ("*", "", true),
            ("*", "anything", true),
            ("http_5*", "http_5", true),
            ("http_5*", "http_503", true),
            ("http_5*", "http_404", false),
            ("*_503", "http_503", true),
            ("*_503", "http_503x", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(code_fits(pattern, code), fits, "{pattern} and {code}");
        }
    }
}
