//! What is wrong with a document, and where in it.

use tidings_contract::FieldError;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Where: `body.to`, `derive[0].text`; empty for the document as a whole.
    pub(crate) path: String,
    /// What.
    pub(crate) detail: String,
}

impl Wrong {
    /// Something wrong at `path`.
    pub(crate) fn at(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), detail: detail.into() }
    }

    /// The same, seen from what `outer` stands in.
    pub(crate) fn within(self, outer: &str) -> Self {
        let path = match self.path.as_str() {
            "" => outer.to_owned(),
            path if path.starts_with('[') => format!("{outer}{path}"),
            path => format!("{outer}.{path}"),
        };
        Self { path, ..self }
    }

    /// As an error of the field that holds the document.
    pub(crate) fn of(self, field: &str) -> FieldError {
        let Self { path, detail } = self.within(field);
        FieldError::new(path, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_from_the_inside() {
        let wrong = Wrong::at("", "is odd").within("text").within("[2]").within("derive");
        assert_eq!(wrong.of("definition"), FieldError::new("definition.derive[2].text", "is odd"));
    }
}
