//! `delivery`: retry schedules, timeouts, breakers and lifetimes of what the selector selects; a layer among others.

use std::sync::Arc;

use serde_json::Value;
use tidings_contract::FieldError;
use tidings_machine::partition::Wishes;

use super::reading::read;
use super::{Kind, Rule};
use crate::delivering::check_wishes;

pub(super) const KIND: Kind = Kind {
    name: "delivery",
    doc: "How what it selects is delivered: retries, timeout, breaker, lifetime. Routes, accounts and templates may say otherwise.",
    example: r#"{"retry": {"max_attempts": 4, "give_up_after_ms": 300000}, "timeout_ms": 5000, "breaker": {"consecutive": 5}}"#,
    in_templates: false,
    read: |spec| wishes(spec).map(|wishes| Rule::Delivery(Arc::new(wishes))),
};

fn wishes(spec: &Value) -> Result<Wishes, Vec<FieldError>> {
    let wishes: Wishes = read(spec)?;
    let errors = check_wishes(&wishes, "spec.");
    if errors.is_empty() { Ok(wishes) } else { Err(errors) }
}
