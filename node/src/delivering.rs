//! How something is delivered, in layers: what holds for all, the configuration, policies, a route, an account, a template.
//! Each layer says only what it sets; the last one that says something wins, and it can be asked which that was.

use serde::Serialize;
use tidings_config::Config;
use tidings_contract::FieldError;
use tidings_machine::partition::{BreakerPolicy, BreakerWishes, CallPolicy, RetryPolicy, RetryWishes, Wishes};
use utoipa::ToSchema;

/// Longest span that can be set, in milliseconds: 30 days.
const LONGEST_MS: u64 = 30 * 86_400_000;
/// The channel whose addresses are suppressed when they are nobody's, if nobody says otherwise.
const SUPPRESSES_BOUNCES: &str = "email";
/// After so many attempts without success an account is given up, if nobody says otherwise.
const ATTEMPTS_PER_ACCOUNT: u16 = 3;

/// What one layer says.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// `built-in`, `config`, `delivery/<policy>@<version>`, `route <name>@<version>`, `account <name>`, `template <name>@<version>`.
    pub from: String,
    /// What it says.
    pub wishes: Wishes,
}

/// Layers, the lowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers(pub Vec<Layer>);

/// A value that holds, and the layer it comes from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    /// The key.
    pub key: &'static str,
    /// The value; nothing where nobody sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// The layer.
    pub from: String,
}

/// How to read one key out of a layer.
type Read = fn(&Wishes) -> Option<u64>;

/// Every key, in the order in which they are shown.
const KEYS: &[(&str, Read)] = &[
    ("retry.max_attempts", |w| w.retry.max_attempts.map(u64::from)),
    ("retry.first_ms", |w| w.retry.first_ms),
    ("retry.longest_ms", |w| w.retry.longest_ms),
    ("retry.give_up_after_ms", |w| w.retry.give_up_after_ms),
    ("attempts_per_account", |w| w.attempts_per_account.map(u64::from)),
    ("suppress_bounces", |w| w.suppress_bounces.map(u64::from)),
    ("timeout_ms", |w| w.timeout_ms),
    ("expires_after_ms", |w| w.expires_after_ms),
    ("breaker.window_ms", |w| w.breaker.window_ms),
    ("breaker.min_calls", |w| w.breaker.min_calls.map(u64::from)),
    ("breaker.failure_percent", |w| w.breaker.failure_percent.map(u64::from)),
    ("breaker.consecutive", |w| w.breaker.consecutive.map(u64::from)),
    ("breaker.open_ms", |w| w.breaker.open_ms),
    ("breaker.longest_open_ms", |w| w.breaker.longest_open_ms),
];

impl Layers {
    /// When to try again.
    pub(crate) fn retry(&self) -> RetryPolicy {
        let mut retry = self.0.iter().fold(RetryPolicy::default(), |below, layer| layer.wishes.retry.over(below));
        // Layers may contradict each other: the first wait is then the longest one.
        retry.longest_ms = retry.longest_ms.max(retry.first_ms);
        retry
    }

    /// When the breaker opens.
    pub(crate) fn breaker(&self) -> BreakerPolicy {
        let breaker = self.0.iter().fold(BreakerPolicy::default(), |below, layer| layer.wishes.breaker.over(below));
        BreakerPolicy { longest_open_ms: breaker.longest_open_ms.max(breaker.open_ms), ..breaker }
    }

    /// Longest time of one call, if somebody sets one.
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        self.0.iter().rev().find_map(|layer| layer.wishes.timeout_ms)
    }

    /// How an account is called.
    pub(crate) fn call(&self, channel: &str) -> CallPolicy {
        CallPolicy {
            timeout_ms: self.timeout_ms(),
            breaker: self.breaker(),
            suppress_bounces: self.suppress_bounces(channel),
        }
    }

    /// How long a message is worth sending, if somebody says so.
    pub(crate) fn expires_after_ms(&self) -> Option<u64> {
        self.0.iter().rev().find_map(|layer| layer.wishes.expires_after_ms)
    }

    /// After how many attempts an account is given up.
    pub(crate) fn attempts_per_account(&self) -> u16 {
        self.0.iter().rev().find_map(|layer| layer.wishes.attempts_per_account).unwrap_or(ATTEMPTS_PER_ACCOUNT)
    }

    /// Whether an address of that channel that is nobody's goes on the suppression list.
    pub(crate) fn suppress_bounces(&self, channel: &str) -> bool {
        let said = self.0.iter().rev().find_map(|layer| layer.wishes.suppress_bounces);
        said.unwrap_or(channel == SUPPRESSES_BOUNCES)
    }

    /// Every key with its value and the layer it comes from.
    pub(crate) fn held(&self) -> Vec<Held> {
        let (retry, breaker) = (self.retry(), self.breaker());
        let built_in = |key: &str| match key {
            "retry.max_attempts" => Some(retry.max_attempts.into()),
            "retry.first_ms" => Some(retry.first_ms),
            "retry.longest_ms" => Some(retry.longest_ms),
            "retry.give_up_after_ms" => Some(retry.give_up_after_ms),
            "attempts_per_account" => Some(self.attempts_per_account().into()),
            "breaker.window_ms" => Some(breaker.window_ms),
            "breaker.min_calls" => Some(breaker.min_calls.into()),
            "breaker.failure_percent" => Some(breaker.failure_percent.into()),
            "breaker.consecutive" => Some(breaker.consecutive.into()),
            "breaker.open_ms" => Some(breaker.open_ms),
            "breaker.longest_open_ms" => Some(breaker.longest_open_ms),
            _ => None,
        };
        let one = |(key, read): &(&'static str, Read)| {
            let said = self.0.iter().rev().find_map(|layer| Some((read(&layer.wishes)?, &layer.from)));
            let (value, from) = said.map_or((None, "built-in"), |(value, from)| (Some(value), from.as_str()));
            Held { key, value: built_in(key).or(value), from: from.to_owned() }
        };
        KEYS.iter().map(one).collect()
    }
}

/// What the configuration says that the program would not say by itself.
pub(crate) fn of_config(config: &Config) -> Wishes {
    fn other<T: PartialEq>(said: T, built_in: T) -> Option<T> {
        (said != built_in).then_some(said)
    }
    let (retry, breaker, delivery) = (&config.retry, &config.breaker, &config.delivery);
    let (base, of) = (RetryPolicy::default(), BreakerPolicy::default());
    Wishes {
        retry: RetryWishes {
            max_attempts: other(retry.max_attempts, base.max_attempts),
            first_ms: other(retry.first_ms, base.first_ms),
            longest_ms: other(retry.longest_ms, base.longest_ms),
            give_up_after_ms: other(retry.give_up_after_ms, base.give_up_after_ms),
        },
        breaker: BreakerWishes {
            window_ms: other(breaker.window_ms, of.window_ms),
            min_calls: other(breaker.min_calls, of.min_calls),
            failure_percent: other(breaker.failure_percent, of.failure_percent),
            consecutive: other(breaker.consecutive, of.consecutive),
            open_ms: other(breaker.open_ms, of.open_ms),
            longest_open_ms: other(breaker.longest_open_ms, of.longest_open_ms),
        },
        timeout_ms: other(delivery.timeout_ms, 0),
        attempts_per_account: other(delivery.attempts_per_account, ATTEMPTS_PER_ACCOUNT),
        expires_after_ms: other(delivery.expires_after_ms, 0),
        // What holds where nobody says anything depends on the channel.
        suppress_bounces: None,
    }
}

/// What is wrong with what a layer says; the fields begin with `prefix`.
pub(crate) fn check_wishes(wishes: &Wishes, prefix: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut within = |field: &str, value: Option<u64>, least: u64, most: u64| {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            errors.push(FieldError::new(format!("{prefix}{field}"), format!("must be between {least} and {most}")));
        }
    };
    let Wishes { retry, breaker, timeout_ms, attempts_per_account, expires_after_ms, suppress_bounces: _ } = *wishes;
    within("retry.max_attempts", retry.max_attempts.map(u64::from), 1, 100);
    within("retry.first_ms", retry.first_ms, 10, LONGEST_MS);
    within("retry.longest_ms", retry.longest_ms, retry.first_ms.unwrap_or(10), LONGEST_MS);
    within("retry.give_up_after_ms", retry.give_up_after_ms, 0, LONGEST_MS);
    within("timeout_ms", timeout_ms, 100, 120_000);
    within("attempts_per_account", attempts_per_account.map(u64::from), 0, 100);
    within("expires_after_ms", expires_after_ms, 1_000, LONGEST_MS);
    within("breaker.window_ms", breaker.window_ms, 1_000, 3_600_000);
    within("breaker.min_calls", breaker.min_calls.map(u64::from), 1, 1_000_000);
    within("breaker.failure_percent", breaker.failure_percent.map(u64::from), 0, 100);
    within("breaker.consecutive", breaker.consecutive.map(u64::from), 0, 1_000_000);
    within("breaker.open_ms", breaker.open_ms, 100, 3_600_000);
    within("breaker.longest_open_ms", breaker.longest_open_ms, breaker.open_ms.unwrap_or(100), 86_400_000);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(from: &str, max_attempts: Option<u16>, timeout_ms: Option<u64>) -> Layer {
        let retry = RetryWishes { max_attempts, ..RetryWishes::default() };
        Layer { from: from.to_owned(), wishes: Wishes { retry, timeout_ms, ..Wishes::default() } }
    }

    #[test]
    fn the_last_layer_that_says_something_wins_and_is_named() {
        let layers = Layers(vec![
            layer("config", Some(5), None),
            layer("account a", None, Some(900)),
            layer("template t@1", Some(2), None),
        ]);
        assert_eq!((layers.retry().max_attempts, layers.timeout_ms()), (2, Some(900)));
        let held = layers.held();
        let of = |key: &str| held.iter().find(|held| held.key == key).map(|held| (held.value, held.from.as_str()));
        assert_eq!(of("retry.max_attempts"), Some((Some(2), "template t@1")));
        assert_eq!(of("timeout_ms"), Some((Some(900), "account a")));
        assert_eq!(of("retry.first_ms"), Some((Some(1_000), "built-in")));
        assert_eq!(of("expires_after_ms"), Some((None, "built-in")));
    }

    #[test]
    fn the_defaults_of_the_configuration_are_those_of_the_program() {
        assert_eq!(of_config(&Config::default()), Wishes::default());
    }

    #[test]
    fn what_the_configuration_says_is_a_layer_above_the_program() {
        let mut config = Config::default();
        (config.delivery.timeout_ms, config.delivery.attempts_per_account) = (4_000, 0);
        let layers = Layers(vec![Layer { from: "config".to_owned(), wishes: of_config(&config) }]);
        assert_eq!((layers.timeout_ms(), layers.attempts_per_account()), (Some(4_000), 0));
        let held = layers.held();
        let of = |key: &str| held.iter().find(|held| held.key == key).map(|held| (held.value, held.from.as_str()));
        assert_eq!(of("timeout_ms"), Some((Some(4_000), "config")));
        assert_eq!(of("attempts_per_account"), Some((Some(0), "config")));
        assert_eq!(of("expires_after_ms"), Some((None, "built-in")));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_field() {
        type Spoil = fn(&mut Wishes);
        let cases: [(&str, Spoil); 6] = [
            ("retry.max_attempts", |w| w.retry.max_attempts = Some(0)),
            ("retry.longest_ms", |w| (w.retry.first_ms, w.retry.longest_ms) = (Some(1_000), Some(999))),
            ("timeout_ms", |w| w.timeout_ms = Some(99)),
            ("breaker.window_ms", |w| w.breaker.window_ms = Some(0)),
            ("breaker.failure_percent", |w| w.breaker.failure_percent = Some(101)),
            ("breaker.longest_open_ms", |w| (w.breaker.open_ms, w.breaker.longest_open_ms) = (Some(500), Some(499))),
        ];
        for (field, spoil) in cases {
            let mut wishes = Wishes::default();
            assert!(check_wishes(&wishes, "").is_empty());
            spoil(&mut wishes);
            let errors = check_wishes(&wishes, "spec.");
            assert_eq!(errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), [format!("spec.{field}")]);
        }
    }
}
