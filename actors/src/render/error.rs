//! What can be wrong with a template, and what can go wrong when it is filled.

use tidings_contract::{FieldError, Reason};

/// What is wrong with a template's content, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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

impl From<SyntaxError> for FieldError {
    fn from(error: SyntaxError) -> Self {
        Self::new(error.field, format!("line {}, column {}: {}", error.line, error.column, error.detail))
    }
}

/// Why a template cannot be filled with these variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct RenderError {
    /// The path of the string in the content.
    pub field: String,
    /// The variable that is missing, if that is what is wrong: `code`, `user.name`.
    pub variable: Option<String>,
    /// What is wrong. Holds no values of variables.
    pub detail: String,
}

impl RenderError {
    /// The reason with which a delivery ends that cannot be rendered.
    pub fn reason(&self) -> Reason {
        let code = if self.variable.is_some() { "missing_variable" } else { "template_render" };
        Reason::new(code, self.to_string())
    }
}
