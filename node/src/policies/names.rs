//! Lists of recipients: exact ones, and patterns with `*`.
//!
//! A pattern is matched by walking both texts once, going back only to the last `*`, so the time is bounded by the product
//! of the lengths however the pattern was written; regular expressions would say more and cost more than anybody needs here.

use std::collections::BTreeSet;

use tidings_channels::check_recipient;
use tidings_contract::RecipientKind;

use super::reading::Wrong;

/// Most entries of a list.
const MOST_NAMES: usize = 10_000;
/// Most patterns among them: each is tried for each recipient.
const MOST_PATTERNS: usize = 200;
/// Most `*` in a pattern.
const MOST_STARS: usize = 4;
/// Most bytes of an entry: those of the longest recipient.
const MOST_BYTES: usize = 2_048;

/// A list of recipients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    exact: BTreeSet<String>,
    patterns: Vec<String>,
}

impl Names {
    /// Reads a list; `field` is its path.
    pub(super) fn read(list: &[String], field: &str, wrong: &mut Wrong) -> Self {
        let mut names = Self::default();
        let mut seen = BTreeSet::new();
        if list.len() > MOST_NAMES {
            wrong.add(field, format!("holds more than {MOST_NAMES} entries; use several policies"));
        }
        for (n, name) in list.iter().enumerate().take(MOST_NAMES) {
            let at = || format!("{field}[{n}]");
            if name.is_empty() || name.len() > MOST_BYTES {
                wrong.add(at(), format!("must be 1 to {MOST_BYTES} bytes"));
            } else if !seen.insert(name) {
                wrong.add(at(), "stands in the list before");
            } else if !name.contains('*') {
                names.add(name);
            } else if name.matches('*').count() > MOST_STARS {
                wrong.add(at(), format!("has more than {MOST_STARS} `*`"));
            } else {
                names.patterns.push(name.to_ascii_lowercase());
            }
        }
        if names.patterns.len() > MOST_PATTERNS {
            wrong.add(field, format!("holds more than {MOST_PATTERNS} entries with `*`"));
        }
        names
    }

    /// Adds an exact name, in each form in which a recipient could be known.
    fn add(&mut self, name: &str) {
        let kinds = [RecipientKind::Phone, RecipientKind::Email, RecipientKind::Url];
        self.exact.extend(kinds.into_iter().filter_map(|kind| check_recipient(kind, name).ok()));
        self.exact.insert(name.trim().to_owned());
    }

    /// The entry because of which a recipient, in its normal form, is on the list.
    pub(crate) fn find(&self, to: &str) -> Option<&str> {
        if let Some(exact) = self.exact.get(to) {
            return Some(exact);
        }
        if self.patterns.is_empty() {
            return None;
        }
        let lower = to.to_ascii_lowercase();
        self.patterns.iter().find(|pattern| matches(pattern.as_bytes(), lower.as_bytes())).map(String::as_str)
    }

    /// Whether nobody is on the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// Whether everybody is.
    pub(crate) fn is_everybody(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.bytes().all(|byte| byte == b'*'))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any bytes, also none.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = back else { return false };
                back = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_of_a_recipient() {
        let cases = [
            ("*@example.com", "ann@example.com", true),
            ("*@example.com", "ann@example.com.evil.org", false),
            ("+86138*", "+8613800138000", true),
            ("+86138*", "+8613900138000", false),
            ("*", "", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a**", "a", true),
            ("a", "ab", false),
        ];
        for (pattern, text, fits) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_name_is_found_in_its_normal_form_and_a_pattern_in_any_case() {
        let list = ["13800138000", "Ann@Example.COM", "*@QQ.com"].map(str::to_owned);
        let names = Names::read(&list, "spec.recipients", &mut Wrong::default());
        for (to, found) in [
            ("+8613800138000", Some("+8613800138000")),
            ("+8613800138001", None),
            ("Ann@example.com", Some("Ann@example.com")),
            ("ann@example.com", None),
            ("Bob@qq.com", Some("*@qq.com")),
        ] {
            assert_eq!(names.find(to), found, "{to}");
        }
    }

    #[test]
    fn the_worst_pattern_takes_no_longer_than_the_product_of_the_lengths() {
        let pattern = format!("*{}*{}*b", "a".repeat(600), "a".repeat(600));
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_048).as_bytes()));
    }
}
