//! `discard`: templates, recipients and tags that are not sent.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidings_contract::FieldError;
use tidings_machine::control::Selector;

use super::names::Names;
use super::reading::{Wrong, read};
use super::{Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: "discard",
    doc: "What is on the list is not sent. Without any list, nothing that the selector selects is sent.",
    example: r#"{"templates": ["summer-sale"], "recipients": ["13800138000", "*@example.org"], "tags": ["test"]}"#,
    in_templates: false,
    read: |spec| Discard::read(spec).map(|rule| Rule::Discard(Arc::new(rule))),
};

/// Most templates and most tags of a list.
const MOST: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    templates: Vec<String>,
    #[serde(default)]
    recipients: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

/// Who or what is not sent to.
#[derive(Clone, Debug)]
pub(crate) struct Discard {
    templates: BTreeSet<String>,
    tags: BTreeSet<String>,
    recipients: Names,
}

impl Discard {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { templates, recipients, tags } = read(spec)?;
        let mut wrong = Wrong::default();
        let recipients = Names::read(&recipients, "spec.recipients", &mut wrong);
        let templates = set(templates, "spec.templates", &mut wrong);
        let tags = set(tags, "spec.tags", &mut wrong);
        wrong.or(Self { templates, tags, recipients })
    }

    fn is_bare(&self) -> bool {
        self.templates.is_empty() && self.tags.is_empty() && self.recipients.is_empty()
    }

    /// Why nothing of a message is sent, if so.
    pub(crate) fn message(&self, template: &str, tags: &[String]) -> Option<String> {
        if self.is_bare() {
            return Some("everything that the policy selects is discarded".to_owned());
        }
        if self.templates.contains(template) {
            return Some(format!("the template {template} is discarded"));
        }
        tags.iter().find(|tag| self.tags.contains(*tag)).map(|tag| format!("the tag {tag} is discarded"))
    }

    /// Why nothing is sent to a recipient, if so.
    pub(crate) fn recipient(&self, to: &str) -> Option<String> {
        self.recipients.find(to).map(|entry| format!("the recipient is discarded by the entry {entry}"))
    }

    pub(super) fn stops_everything(&self, selector: &Selector) -> Option<String> {
        let everything = self.is_bare() || self.recipients.is_everybody();
        (everything && selector.is_empty()).then(|| "it discards every message".to_owned())
    }
}

fn set(list: Vec<String>, field: &str, wrong: &mut Wrong) -> BTreeSet<String> {
    if list.len() > MOST {
        wrong.add(field, format!("holds more than {MOST} entries"));
    }
    let mut set = BTreeSet::new();
    for (n, entry) in list.into_iter().enumerate() {
        if entry.is_empty() || entry.len() > 64 {
            wrong.add(format!("{field}[{n}]"), "must be 1 to 64 bytes");
        } else if !set.insert(entry) {
            wrong.add(format!("{field}[{n}]"), "stands in the list before");
        }
    }
    set
}
