//! What an attempt came back with, classed by what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest text of a provider that is kept, in bytes.
const WORDS_LIMIT: usize = 300;

/// Why, in a stable short code and in the provider's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and groupable: `http_503`, `smtp_550`, `errcode_310000`, `timeout`, `connect` …
    pub code: String,
    /// What the provider said, redacted and cut to 300 bytes.
    pub words: String,
}

impl Reason {
    /// Makes a reason, cutting `words` at a character boundary.
    pub fn new(code: impl Into<String>, words: impl Into<String>) -> Self {
        let mut words: String = words.into();
        if words.len() > WORDS_LIMIT {
            let end = (0..=WORDS_LIMIT).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
            words.truncate(end);
            words.push('…');
        }
        Self { code: code.into(), words }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.words.is_empty() { f.write_str(&self.code) } else { write!(f, "{}: {}", self.code, self.words) }
    }
}

/// Whose fault a `Never` is, and so what else is worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The recipient cannot be reached by anyone.
    Recipient,
    /// The content is refused; another recipient would be refused too.
    Content,
    /// The account is: wrong password, no money left. Another account may do.
    Account,
    /// There is no such recipient any more, or it has told the supplier that it wants nothing: whatever is sent there comes
    /// back. A provider says so only where its supplier does.
    Gone,
}

/// What one attempt at one recipient came back with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The provider took it.
    Delivered {
        /// The provider's id of it, for receipts, recall and support calls.
        provider_id: Option<String>,
    },
    /// It was certainly not taken now; the same attempt may succeed later.
    Later {
        /// Why.
        reason: Reason,
        /// Not before so many milliseconds from now (`Retry-After`), if the provider said.
        after_ms: Option<u64>,
    },
    /// It was certainly not taken and never will be.
    Never {
        /// Why.
        reason: Reason,
        /// Whose fault it is.
        blame: Blame,
    },
    /// Nobody can tell whether it was taken: the connection broke after the request went out, or the deadline passed.
    Unknown {
        /// What was seen.
        reason: Reason,
    },
}

impl Outcome {
    /// A `Later` without a time of the provider's.
    pub fn later(code: impl Into<String>, words: impl Into<String>) -> Self {
        Self::Later { reason: Reason::new(code, words), after_ms: None }
    }

    /// A `Never`.
    pub fn never(blame: Blame, code: impl Into<String>, words: impl Into<String>) -> Self {
        Self::Never { reason: Reason::new(code, words), blame }
    }

    /// An `Unknown`.
    pub fn unknown(code: impl Into<String>, words: impl Into<String>) -> Self {
        Self::Unknown { reason: Reason::new(code, words) }
    }

    /// The name of the class: `delivered`, `later`, `never`, `unknown`.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Later { .. } => "later",
            Self::Never { .. } => "never",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why, where there is a why.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Delivered { .. } => None,
            Self::Later { reason, .. } | Self::Never { reason, .. } | Self::Unknown { reason } => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_at_a_character_and_say_so() {
        let reason = Reason::new("http_500", "错".repeat(200));
        assert_eq!(reason.words.chars().count(), 101);
        assert!(reason.words.ends_with("错…"));
    }
}
