//! `allow`: where one applies, only who is on the list is sent to.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidings_contract::FieldError;

use super::names::Names;
use super::reading::{Wrong, read};
use super::{Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: "allow",
    doc: "Only recipients on the list are sent to. Where several apply, a recipient must be on each of them.",
    example: r#"{"recipients": ["13800138000", "*@example.com"]}"#,
    in_templates: true,
    read: |spec| Allow::read(spec).map(|rule| Rule::Allow(Arc::new(rule))),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    recipients: Option<Vec<String>>,
}

/// The only ones who are sent to.
#[derive(Clone, Debug)]
pub(crate) struct Allow {
    recipients: Names,
}

impl Allow {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { recipients } = read(spec)?;
        let mut wrong = Wrong::default();
        if recipients.is_none() {
            wrong.add("spec.recipients", "is required");
        }
        let recipients = Names::read(&recipients.unwrap_or_default(), "spec.recipients", &mut wrong);
        wrong.or(Self { recipients })
    }

    /// Why a recipient is not sent to, if so.
    pub(crate) fn recipient(&self, to: &str) -> Option<String> {
        self.recipients
            .find(to)
            .is_none()
            .then(|| "the recipient is not on the list of those who are sent to".to_owned())
    }

    pub(super) fn stops_everything(&self) -> Option<String> {
        self.recipients.is_empty().then(|| "its list is empty: nobody is sent to".to_owned())
    }
}
