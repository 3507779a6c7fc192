//! The last steps before a content goes out: links get their parameters, and texts that are too long are dealt with.

use serde_json::{Map, Value};
use tidings_contract::{FieldError, Markup, Reason, TextLimit, TextRule};
use tidings_machine::control::{Rendering, TooLong};

use super::apart::Whose;
use super::fields::{is_followed, limited, markup_of};
use super::length::fit;
use super::track::track;
use super::{Compiled, RenderError, SyntaxError, Variables};

/// Fields that mention people: only the first of several messages does.
const MENTIONS: &[&str] = &["at_mobiles", "at_user_ids", "at_all", "mentioned_list", "mentioned_mobile_list"];

/// A template's content with all that happens to it before it goes out.
#[derive(Debug)]
pub struct Finished {
    content: Compiled,
    finishing: Finishing,
}

/// What happens to a content once it is filled.
#[derive(Debug)]
pub struct Finishing {
    rules: &'static [TextRule],
    too_long: TooLong,
    /// The tracking parameters, as a content of their own.
    track: Option<Compiled>,
}

/// How long a filled text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Length {
    /// The field.
    pub field: String,
    /// How long it is.
    pub length: usize,
    /// How long it may be, and in what that is counted.
    pub limit: TextLimit,
}

/// Why a content cannot go out with these variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It cannot be filled.
    #[error(transparent)]
    Unfilled(#[from] RenderError),
    /// A text is longer than the supplier takes.
    #[error("{field} {detail}")]
    TooLong {
        /// The field.
        field: String,
        /// How long it is and may be, and why nothing else was done about it.
        detail: String,
    },
}

impl Unfit {
    /// The reason with which a delivery ends that cannot be made.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unfilled(error) => error.reason(),
            Self::TooLong { .. } => Reason::new("too_long", self.to_string()),
        }
    }
}

impl From<Unfit> for FieldError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Unfilled(error) => Self::new("variables", error.to_string()),
            Unfit::TooLong { field, detail } => Self::new(field, detail),
        }
    }
}

impl Finished {
    /// Compiles the JSON text of a template's content for a channel whose texts have these rules.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn new(content: &str, rules: &'static [TextRule], wishes: &Rendering) -> Result<Self, Vec<SyntaxError>> {
        let content = Compiled::with_rules(Compiled::read(content)?, rules)?;
        Ok(Self { content, finishing: Finishing::compile(rules, wishes, Compiled::with_rules)? })
    }

    /// As [`new`](Self::new) for a content that was compiled before it was kept. Never blocks: what is wrong with a content
    /// that is not plain is told when it is filled.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub(crate) fn trusted(
        content: &str,
        rules: &'static [TextRule],
        wishes: &Rendering,
    ) -> Result<Self, Vec<SyntaxError>> {
        let content = Compiled::trusted(Compiled::read(content)?, rules)?;
        Ok(Self { content, finishing: Finishing::compile(rules, wishes, Compiled::trusted)? })
    }

    /// Whether it is filled where it is, unless its variables are many.
    pub(crate) fn is_plain(&self) -> bool {
        self.content.is_plain() && self.finishing.track.as_ref().is_none_or(Compiled::is_plain)
    }

    /// What stands in the template.
    pub fn content(&self) -> &Compiled {
        &self.content
    }

    /// The variables without which it cannot be sent.
    pub fn variables(&self) -> std::collections::BTreeSet<String> {
        let mut variables = self.content.variables();
        variables.extend(self.finishing.track.iter().flat_map(Compiled::variables));
        variables
    }

    /// The variables that are missing, as sending it would miss them.
    pub fn missing_with(&self, shared: &Variables, own: &Variables) -> Vec<String> {
        let mut missing = self.content.missing_with(shared, own);
        for name in self.finishing.track.iter().flat_map(|track| track.missing_with(shared, own)) {
            if !missing.contains(&name) {
                missing.push(name);
            }
        }
        missing
    }

    /// How long the texts of a filled content are, where the supplier names a limit.
    pub fn lengths(&self, content: &Value) -> Vec<Length> {
        let Some(fields) = content.as_object() else { return Vec::new() };
        let length = |(name, value): (&String, &Value)| {
            let limit = limited(name, fields, self.finishing.rules)?.limit?;
            Some(Length { field: name.clone(), length: limit.unit.length(value.as_str()?), limit })
        };
        fields.iter().filter_map(length).collect()
    }

    /// What goes out, in the order in which it does: one content, or several where a text is sent in parts.
    ///
    /// # Errors
    /// Why it cannot go out.
    pub fn render_with(&self, shared: &Variables, own: &Variables) -> Result<Vec<Value>, Unfit> {
        let (content, parameters) = self.fill_with(shared, own)?;
        self.finish(content, &parameters)
    }

    /// The filled content and the filled tracking parameters, for [`finish`](Self::finish).
    ///
    /// # Errors
    /// The first string that cannot be filled, and why.
    pub fn fill_with(&self, shared: &Variables, own: &Variables) -> Result<(Value, Value), RenderError> {
        let content = self.content.render_with(shared, own)?;
        let parameters = self.finishing.track.as_ref().map(|track| track.render_with(shared, own)).transpose()?;
        Ok((content, parameters.unwrap_or_default()))
    }

    /// As [`fill_with`](Self::fill_with) where that is cheap; `None` where it has to be done apart.
    pub fn fill_here(&self, shared: &Variables, own: &Variables) -> Option<Result<(Value, Value), RenderError>> {
        let content = match self.content.render_here(shared, own)? {
            Ok(content) => content,
            Err(error) => return Some(Err(error)),
        };
        let parameters = match &self.finishing.track {
            Some(track) => track.render_here(shared, own)?,
            None => Ok(Value::default()),
        };
        Some(parameters.map(|parameters| (content, parameters)))
    }

    /// As [`fill_with`](Self::fill_with) for many recipients, apart from everything else. Blocks for as long as they may take.
    pub fn fill_apart(&self, shared: &Variables, own: &[&Variables]) -> Vec<Result<(Value, Value), RenderError>> {
        let contents = self.content.render_apart(Whose::Motion, shared, own);
        let parameters = match &self.finishing.track {
            Some(track) => track.render_apart(Whose::Motion, shared, own),
            None => vec![Ok(Value::default()); own.len()],
        };
        contents.into_iter().zip(parameters).map(|(content, parameters)| Ok((content?, parameters?))).collect()
    }

    /// What goes out of a filled content, in the order in which it does.
    ///
    /// # Errors
    /// A text is longer than the supplier takes.
    pub fn finish(&self, content: Value, parameters: &Value) -> Result<Vec<Value>, Unfit> {
        self.finishing.finish(content, parameters)
    }
}

impl Finishing {
    fn compile(
        rules: &'static [TextRule],
        wishes: &Rendering,
        compile: impl FnOnce(Value, &[TextRule]) -> Result<Compiled, Vec<SyntaxError>>,
    ) -> Result<Self, Vec<SyntaxError>> {
        let track = if wishes.track.is_empty() {
            None
        } else {
            let parameters = wishes.track.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            let compiled = compile(Value::Object(parameters.collect()), &[]);
            Some(compiled.map_err(|errors| errors.into_iter().map(in_track).collect::<Vec<_>>())?)
        };
        Ok(Self { rules, too_long: wishes.too_long, track })
    }

    fn finish(&self, filled: Value, parameters: &Value) -> Result<Vec<Value>, Unfit> {
        let Value::Object(mut content) = filled else { return Ok(vec![filled]) };
        let parameters: Vec<(String, String)> = parameters.as_object().into_iter().flatten().map(text_pair).collect();
        if !parameters.is_empty() {
            let markups: Vec<Markup> = content.keys().map(|name| markup_of(name, &content, self.rules)).collect();
            for ((name, value), markup) in content.iter_mut().zip(markups) {
                add_parameters(name, value, markup, &parameters);
            }
        }
        self.shorten(content)
    }

    /// At most one text of a content goes out in parts: the first that must.
    fn shorten(&self, mut content: Map<String, Value>) -> Result<Vec<Value>, Unfit> {
        let mut further = Vec::new();
        let names: Vec<String> = content.keys().cloned().collect();
        for name in names {
            let Some((rule, limit)) = limited(&name, &content, self.rules).and_then(|r| Some((r, r.limit?))) else {
                continue;
            };
            let markup = markup_of(&name, &content, self.rules).max(rule.markup);
            let Some(text) = content.get(&name).and_then(Value::as_str) else { continue };
            let fitted = fit(text, limit, markup, self.too_long);
            let parts = fitted.map_err(|detail| Unfit::TooLong { field: format!("content.{name}"), detail })?;
            if parts.len() > 1 && !further.is_empty() {
                let detail = "is too long, and another text is sent in parts already".to_owned();
                return Err(Unfit::TooLong { field: format!("content.{name}"), detail });
            }
            let mut parts = parts.into_iter();
            content.insert(name.clone(), Value::String(parts.next().unwrap_or_default()));
            further.extend(parts.map(|part| (name.clone(), part)));
        }
        let mut contents = vec![Value::Object(content.clone())];
        content.retain(|name, _| !MENTIONS.contains(&name.as_str()));
        for (name, part) in further {
            content.insert(name, Value::String(part));
            contents.push(Value::Object(content.clone()));
        }
        Ok(contents)
    }
}

fn in_track(error: SyntaxError) -> SyntaxError {
    SyntaxError { field: error.field.replacen("content", "track", 1), ..error }
}

fn text_pair((name, value): (&String, &Value)) -> (String, String) {
    (name.clone(), value.as_str().unwrap_or_default().to_owned())
}

fn add_parameters(name: &str, value: &mut Value, markup: Markup, parameters: &[(String, String)]) {
    if !is_followed(name) {
        return;
    }
    match value {
        Value::String(text) => *text = track(text, markup, parameters),
        Value::Array(items) => items.iter_mut().for_each(|item| add_parameters(name, item, markup, parameters)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| add_parameters(name, value, markup, parameters));
        }
        _ => {}
    }
}
