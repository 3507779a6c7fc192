//! What can be wrong with a template, and what can go wrong when it is filled.

use serde::{Deserialize, Serialize};
use tidings_contract::{FieldError, Reason};

use super::old::GROWN;

/// What is wrong with a template's content, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}, line {line}, column {column}: {detail}")]
pub struct SyntaxError {
    /// The path of the string in the content: `content.card.title`, `content.rows[2]`; `content` for the whole.
    pub field: String,
    /// The line in that string, from 1.
    pub line: usize,
    /// The column in that line in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub detail: String,
}

impl SyntaxError {
    /// What is wrong with a content as a whole.
    pub(super) fn whole(detail: impl Into<String>) -> Self {
        Self { field: "content".to_owned(), line: 1, column: 1, detail: detail.into() }
    }

    /// What is wrong `at` a byte of a string in which placeholders that end at `turned` were made longer.
    pub(super) fn at(path: &str, source: &str, turned: &[usize], at: usize, detail: String) -> Self {
        let before = source.get(..at).unwrap_or("");
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let grown = turned.iter().filter(|end| **end > start && **end <= at).count() * GROWN;
        Self {
            field: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: (before[start..].chars().count() + 1).saturating_sub(grown).max(1),
            detail,
        }
    }
}

impl From<SyntaxError> for FieldError {
    fn from(error: SyntaxError) -> Self {
        Self::new(error.field, format!("line {}, column {}: {}", error.line, error.column, error.detail))
    }
}

/// Why a template cannot be filled with these variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct RenderError {
    /// The path of the string in the content.
    pub field: String,
    /// The variable that is missing, if that is what is wrong: `code`, `user.name`.
    pub variable: Option<String>,
    /// What is wrong. Holds no values of variables.
    pub detail: String,
    /// Whose fault it is.
    pub fault: Fault,
}

/// Whose fault it is that a template was not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The template's or the variables': it will never be filled with them.
    Theirs,
    /// It took more than it may, and was stopped before it had it; the same for ever.
    Budget,
    /// The process that it was filled in died of it, or of something else that happened to it just then.
    Died,
    /// Nobody's: there is no room for it now. Try again.
    Busy,
}

impl RenderError {
    /// The template or its variables are wrong.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), variable: None, detail: detail.into(), fault: Fault::Theirs }
    }

    /// The content costs more than it may.
    pub(super) fn out_of_budget(field: &str) -> Self {
        let detail = "filling the strings of the content takes more than it may all together";
        Self { fault: Fault::Budget, ..Self::new(field, detail) }
    }

    /// The process in which it was filled died.
    pub fn died(how: &str) -> Self {
        let detail = format!("the process that filled it was ended: {how}");
        Self { fault: Fault::Died, ..Self::new("content", detail) }
    }

    /// There is no room for it now.
    pub fn busy(why: &str) -> Self {
        Self { fault: Fault::Busy, ..Self::new("content", why) }
    }

    pub(super) fn is_out_of_budget(&self) -> bool {
        self.fault == Fault::Budget
    }

    /// The reason with which a delivery ends that cannot be rendered.
    pub fn reason(&self) -> Reason {
        let code = match self.fault {
            Fault::Died => "poisonous_content",
            _ if self.variable.is_some() => "missing_variable",
            _ => "template_render",
        };
        Reason::new(code, self.to_string())
    }
}
