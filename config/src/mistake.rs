//! What is wrong with a configuration: every mistake at once, each with what would be right.

use std::fmt;

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `raft.heartbeat_ms`, a file's name, an environment variable.
    pub key: String,
    /// What stands there; empty where it cannot or must not be shown.
    pub value: String,
    /// What is wrong and what would be right.
    pub right: String,
}

impl Mistake {
    /// A mistake at `key`.
    pub(crate) fn new(key: impl Into<String>, value: impl fmt::Display, right: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.to_string(), right: right.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.key, self.right)
        } else {
            write!(f, "{} = {}: {}", self.key, self.value, self.right)
        }
    }
}

/// Everything wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        match all.as_slice() {
            [one] => write!(f, "{one}"),
            _ => {
                write!(f, "{} settings are wrong", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}
