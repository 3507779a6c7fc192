//! Policies at the edge: what each kind of rule looks like, and those in force, read once per change of control.
//!
//! One kind a file. A new kind is a file here, a variant of [`Rule`] and a line in [`KINDS`].

mod allow;
mod current;
mod dedup;
mod delivery;
mod discard;
mod frequency;
mod limits;
mod names;
mod quiet_hours;
mod reading;
mod words;

use std::sync::Arc;

use serde_json::Value;
use tidings_contract::FieldError;
use tidings_machine::control::Selector;
use tidings_machine::partition::Wishes;

pub(crate) use allow::Allow;
pub(crate) use current::{Active, Current, InForce};
pub(crate) use dedup::{Dedup, KeyPart};
pub(crate) use discard::Discard;
pub(crate) use frequency::Frequency;
pub(crate) use quiet_hours::{QuietHours, Then, time_zone};
pub(crate) use words::{NAME as WORDS, Words, choose as choose_words, pack as pack_words, unpack as unpack_words};

/// A rule, read and checked. What stands in control as JSON is this at every node.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// Who or what is not sent to.
    Discard(Arc<Discard>),
    /// The only ones who are sent to.
    Allow(Arc<Allow>),
    /// When nobody is disturbed.
    QuietHours(Arc<QuietHours>),
    /// How often somebody gets the same content.
    Dedup(Arc<Dedup>),
    /// How often somebody gets anything.
    Frequency(Arc<Frequency>),
    /// Which words are not sent.
    Words(Words),
    /// How fast things go out.
    Limits(Arc<tidings_actors::LimitRule>),
    /// How large pools are.
    Lanes,
    /// How it is delivered; no rule about whether.
    Delivery(Arc<Wishes>),
}

/// A kind of rule.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name in the API.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// A spec that could be put as it is.
    pub example: &'static str,
    /// Whether a template may carry such a rule of its own.
    pub in_templates: bool,
    /// Reads a spec; the paths of the errors begin with `spec`.
    pub read: fn(&Value) -> Result<Rule, Vec<FieldError>>,
}

/// Every kind there is.
pub(crate) const KINDS: &[Kind] = &[
    discard::KIND,
    allow::KIND,
    quiet_hours::KIND,
    dedup::KIND,
    frequency::KIND,
    words::KIND,
    limits::LIMITS,
    limits::LANES,
    delivery::KIND,
];

/// The kind of that name.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Rule {
    /// Why a policy of this rule would stop everything that `selector` selects, if it would.
    pub(crate) fn stops_everything(&self, selector: &Selector) -> Option<String> {
        match self {
            Self::Discard(rule) => rule.stops_everything(selector),
            Self::Allow(rule) => rule.stops_everything(),
            Self::QuietHours(rule) => rule.stops_everything(),
            Self::Dedup(_)
            | Self::Frequency(_)
            | Self::Words(_)
            | Self::Limits(_)
            | Self::Lanes
            | Self::Delivery(_) => None,
        }
    }
}

impl Rule {
    /// What of the selector makes no sense for a policy of this rule, by field.
    pub(crate) fn misfit(&self, selector: &Selector) -> Option<FieldError> {
        let field = match self {
            Self::Lanes if !selector.templates.is_empty() => "selector.templates",
            Self::Lanes if !selector.tags.is_empty() => "selector.tags",
            _ => return None,
        };
        Some(FieldError::new(field, "must be left out: there is one pool for each channel and message type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_every_kind_can_be_read_and_stops_nothing() {
        for kind in KINDS {
            let spec: Value = serde_json::from_str(kind.example).expect("an example is JSON");
            let rule = (kind.read)(&spec).unwrap_or_else(|errors| panic!("{}: {errors:?}", kind.name));
            assert_eq!(rule.stops_everything(&Selector::default()), None, "{}", kind.name);
        }
    }

    #[test]
    fn a_spec_that_cannot_be_is_refused_with_the_path_of_the_field() {
        let quiet = |window: &str| format!(r#"{{"windows": [{window}], "time_zone": "UTC", "then": "defer"}}"#);
        let night = r#"{"from": "22:00", "to": "08:00"}"#;
        let cases = [
            ("discard", r#"{"recipients": ["a*b*c*d*e*f"]}"#.to_owned(), "spec.recipients[0]"),
            ("discard", r#"{"recipients": ["a", "a"]}"#.to_owned(), "spec.recipients[1]"),
            ("discard", r#"{"recipients": [""]}"#.to_owned(), "spec.recipients[0]"),
            ("discard", r#"{"recipient": []}"#.to_owned(), "spec.recipient"),
            ("discard", r#"{"tags": [7]}"#.to_owned(), "spec.tags[0]"),
            ("discard", "[]".to_owned(), "spec"),
            ("allow", r#"{}"#.to_owned(), "spec.recipients"),
            ("allow", format!(r#"{{"recipients": ["{}"]}}"#, "x".repeat(2_049)), "spec.recipients[0]"),
            ("quiet_hours", quiet(r#"{"from": "22:00", "to": "22:00"}"#), "spec.windows[0].to"),
            ("quiet_hours", quiet(r#"{"from": "24:00", "to": "08:00"}"#), "spec.windows[0].from"),
            ("quiet_hours", quiet(r#"{"from": "22:60", "to": "08:00"}"#), "spec.windows[0].from"),
            ("quiet_hours", quiet(r#"{"from": "22:00", "to": "24:01"}"#), "spec.windows[0].to"),
            ("quiet_hours", quiet(r#"{"from": "2:00", "to": "08:00"}"#), "spec.windows[0].from"),
            ("quiet_hours", quiet(r#"{"days": [], "from": "22:00", "to": "08:00"}"#), "spec.windows[0].days"),
            (
                "quiet_hours",
                quiet(r#"{"days": ["mon", "mon"], "from": "22:00", "to": "08:00"}"#),
                "spec.windows[0].days[1]",
            ),
            ("quiet_hours", quiet(r#"{"days": ["moon"], "from": "22:00", "to": "08:00"}"#), "spec.windows[0].days[0]"),
            ("quiet_hours", quiet(&format!("{night}, {night}")), "spec.windows[1]"),
            ("quiet_hours", quiet(""), "spec.windows"),
            (
                "quiet_hours",
                r#"{"windows": [{"from": "1:00", "to": "2:00"}], "time_zone": "Mars/Olympus", "then": "drop"}"#
                    .to_owned(),
                "spec.time_zone",
            ),
            ("quiet_hours", r#"{"windows": [], "time_zone": "UTC", "then": "wait"}"#.to_owned(), "spec.then"),
            ("frequency", r#"{"windows": []}"#.to_owned(), "spec.windows"),
            ("frequency", r#"{"windows": [{"window_ms": 0, "most": 1}]}"#.to_owned(), "spec.windows[0].window_ms"),
            ("frequency", r#"{"windows": [{"window_ms": 999, "most": 1}]}"#.to_owned(), "spec.windows[0].window_ms"),
            ("frequency", r#"{"windows": [{"window_ms": 1000, "most": 0}]}"#.to_owned(), "spec.windows[0].most"),
            (
                "frequency",
                r#"{"windows": [{"window_ms": 1000, "most": 1}, {"window_ms": 1000, "most": 2}]}"#.to_owned(),
                "spec.windows[1].window_ms",
            ),
            (
                "frequency",
                r#"{"windows": [{"window_ms": 1000, "most": 5}, {"window_ms": 2000, "most": 5}]}"#.to_owned(),
                "spec.windows[0].most",
            ),
            ("delivery", r#"{"breaker": {"window_ms": 0}}"#.to_owned(), "spec.breaker.window_ms"),
            ("delivery", r#"{"retry": {"max_attempt": 3}}"#.to_owned(), "spec.retry.max_attempt"),
            ("dedup", r#"{"window_ms": 0}"#.to_owned(), "spec.window_ms"),
            ("dedup", r#"{"window_ms": 1000, "most": 0}"#.to_owned(), "spec.most"),
            ("dedup", r#"{"window_ms": 1000, "key": []}"#.to_owned(), "spec.key"),
            ("dedup", r#"{"window_ms": 1000, "key": ["color"]}"#.to_owned(), "spec.key[0]"),
            ("dedup", r#"{"window_ms": 1000, "key": ["biz_id", "biz_id"]}"#.to_owned(), "spec.key[1]"),
            ("dedup", r#"{"window_ms": 1000, "key": ["variables."]}"#.to_owned(), "spec.key[0]"),
        ];
        for (name, spec, field) in cases {
            let read = kind(name).expect("a kind").read;
            let spec: Value = serde_json::from_str(&spec).expect("JSON");
            let errors = read(&spec).expect_err(&format!("{name} {spec} was read"));
            assert!(errors.iter().any(|error| error.field == field), "{name} {spec}: {errors:?}");
        }
    }

    #[test]
    fn a_policy_of_lanes_selects_by_channel_and_message_type_only() {
        let templates = Selector { templates: vec!["otp".to_owned()], ..Selector::default() };
        let field = |rule: Rule| rule.misfit(&templates).map(|error| error.field);
        let example = serde_json::from_str(tidings_actors::LimitRule::EXAMPLE).expect("JSON");
        let limits = (kind("limits").expect("a kind").read)(&example).expect("it can be read");
        assert_eq!((field(Rule::Lanes), field(limits)), (Some("selector.templates".to_owned()), None));
        assert!(Rule::Lanes.misfit(&Selector::default()).is_none());
    }

    #[test]
    fn a_policy_that_would_stop_everything_says_so() {
        let some = Selector { channels: vec!["sms".to_owned()], ..Selector::default() };
        let day = |then: &str| {
            format!(r#"{{"windows": [{{"from": "00:00", "to": "24:00"}}], "time_zone": "UTC", "then": "{then}"}}"#)
        };
        let halves = r#"{"windows": [{"from": "08:00", "to": "20:00"}, {"from": "20:00", "to": "08:00"}], "time_zone": "UTC", "then": "drop"}"#;
        let almost = r#"{"windows": [{"from": "08:00", "to": "07:59"}], "time_zone": "UTC", "then": "drop"}"#;
        let cases = [
            ("discard", "{}".to_owned(), Selector::default(), true),
            ("discard", "{}".to_owned(), some.clone(), false),
            ("discard", r#"{"recipients": ["*"]}"#.to_owned(), Selector::default(), true),
            ("discard", r#"{"recipients": ["+86*"]}"#.to_owned(), Selector::default(), false),
            ("allow", r#"{"recipients": []}"#.to_owned(), some, true),
            ("allow", r#"{"recipients": ["*@example.com"]}"#.to_owned(), Selector::default(), false),
            ("quiet_hours", day("drop"), Selector::default(), true),
            ("quiet_hours", day("defer"), Selector::default(), true),
            ("quiet_hours", halves.to_owned(), Selector::default(), true),
            ("quiet_hours", almost.to_owned(), Selector::default(), false),
        ];
        for (name, spec, selector, stops) in cases {
            let value: Value = serde_json::from_str(&spec).expect("JSON");
            let rule = (kind(name).expect("a kind").read)(&value).expect("it can be read");
            assert_eq!(rule.stops_everything(&selector).is_some(), stops, "{name} {spec} {selector:?}");
        }
    }
}
