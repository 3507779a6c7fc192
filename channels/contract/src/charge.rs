//! What a supplier counted and charged for a message, in its own figures.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Decimal places that are kept of a price.
const PLACES: usize = 6;

/// What a supplier counted and charged for one message to one recipient, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// How many messages it counted.
    pub segments: Option<u32>,
    /// The price, in millionths of `currency`.
    pub micros: Option<u64>,
    /// The currency of the price (ISO 4217).
    pub currency: Option<String>,
}

impl Charge {
    /// So many messages, without a price.
    pub const fn segments(segments: u32) -> Self {
        Self { segments: Some(segments), micros: None, currency: None }
    }

    /// Nothing, if there is nothing in it.
    pub fn some(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Both together: what one message that goes out in parts costs. Prices of different currencies are not added; then,
    /// and where one of the two has none, there is no sum.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one.saturating_add(other));
        let segments = sum(self.segments.map(u64::from), other.segments.map(u64::from));
        let same = self.currency == other.currency;
        Self {
            segments: segments.map(|sum| u32::try_from(sum).unwrap_or(u32::MAX)),
            micros: if same { sum(self.micros, other.micros) } else { None },
            currency: if same { self.currency } else { None },
        }
    }

    /// The millionths of a price that is written as a decimal number. Suppliers write what is taken off an account with or
    /// without a minus: the sign is not looked at. `None` if it is no number.
    pub fn micros_of(price: &str) -> Option<u64> {
        let price = price.trim().trim_start_matches(['-', '+']);
        let (whole, rest) = price.split_once('.').unwrap_or((price, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && rest.is_empty()) || !digits(whole) || !digits(rest) {
            return None;
        }
        let rest: String = rest.chars().chain(std::iter::repeat('0')).take(PLACES).collect();
        format!("{whole}{rest}").parse().ok()
    }

    /// The price as a decimal number, if there is one.
    pub fn price(&self) -> Option<String> {
        let micros = self.micros?;
        let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
    }
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        said.extend(self.segments.map(|count| format!("{count} counted")));
        let currency = self.currency.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        said.extend(self.price().map(|price| format!("{price}{currency}")));
        f.write_str(&said.join(", "))
    }
}

/// What one target of a call came back with, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// What it came back with.
    pub outcome: Outcome,
    /// What the supplier charges, if its answer says so.
    pub charge: Option<Charge>,
}

impl From<Outcome> for Charged {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, charge: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_to_the_millionth_and_written_without_idle_zeros() {
        for (text, micros, shown) in [
            ("0.05", Some(50_000), "0.05"),
            ("-0.00750", Some(7_500), "0.0075"),
            ("12", Some(12_000_000), "12"),
            (".5", Some(500_000), "0.5"),
            ("0.1234567", Some(123_456), "0.123456"),
            ("0", Some(0), "0"),
            ("", None, ""),
            (".", None, ""),
            ("1e3", None, ""),
            ("99999999999999999999", None, ""),
        ] {
            assert_eq!(Charge::micros_of(text), micros, "{text}");
            let charge = Charge { micros, ..Charge::default() };
            assert_eq!(charge.price().unwrap_or_default(), shown, "{text}");
        }
    }

    #[test]
    fn parts_are_added_only_where_the_sum_is_known() {
        let yuan = |micros| Charge { segments: Some(1), micros: Some(micros), currency: Some("CNY".to_owned()) };
        let both = yuan(50_000).and(yuan(50_000));
        assert_eq!(both, Charge { segments: Some(2), ..yuan(100_000) });
        assert_eq!(both.to_string(), "2 counted, 0.1 CNY");
        let dollars = Charge { currency: Some("USD".to_owned()), ..yuan(1) };
        assert_eq!(yuan(1).and(dollars), Charge::segments(2));
        assert_eq!(Charge::segments(1).and(Charge::default()), Charge::default());
    }
}
