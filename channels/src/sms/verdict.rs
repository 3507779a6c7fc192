//! What a supplier's code means, as tables write it down.

use tidings_contract::{Blame, Outcome, Reason};

/// The class of one code of a supplier's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was not taken now.
    Later,
    /// It was not taken, and it makes no sense to ask again before so many seconds have passed.
    After(u64),
    /// It was not taken and never will be: wrong or empty account.
    Account,
    /// … refused content.
    Content,
    /// … a recipient that cannot be reached.
    Recipient,
    /// … a recipient that there is not any more, or that has unsubscribed from this sender.
    Gone,
    /// The supplier itself does not know.
    Unknown,
}

/// The outcome of a code that is not success.
pub(crate) fn judged(verdict: Verdict, code: &str, words: &str) -> Outcome {
    let reason = Reason::new(code, words);
    match verdict {
        Verdict::Later => Outcome::Later { reason, after_ms: None },
        Verdict::After(seconds) => Outcome::Later { reason, after_ms: Some(seconds * 1_000) },
        Verdict::Account => Outcome::Never { reason, blame: Blame::Account },
        Verdict::Content => Outcome::Never { reason, blame: Blame::Content },
        Verdict::Recipient => Outcome::Never { reason, blame: Blame::Recipient },
        Verdict::Gone => Outcome::Never { reason, blame: Blame::Gone },
        Verdict::Unknown => Outcome::Unknown { reason },
    }
}

#[cfg(test)]
impl Verdict {
    /// How the conformance suite writes the outcome of `code`.
    pub(crate) fn brief(self, code: &str) -> String {
        match self {
            Self::Later => format!("later {code}"),
            Self::After(seconds) => format!("later {code} after {}", seconds * 1_000),
            Self::Account => format!("never {code} Account"),
            Self::Content => format!("never {code} Content"),
            Self::Recipient => format!("never {code} Recipient"),
            Self::Gone => format!("never {code} Gone"),
            Self::Unknown => format!("unknown {code}"),
        }
    }
}
