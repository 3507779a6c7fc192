//! The shape of `POST /v1/messages`: borrowed from the body, nothing is copied that need not be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidings_contract::{Lane, Time};

/// A message as it was submitted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submission<'a> {
    /// The template's name.
    #[serde(borrow)]
    pub template: Cow<'a, str>,
    /// The recipients.
    #[serde(borrow)]
    pub to: Vec<To<'a>>,
    /// The variables given for all recipients.
    #[serde(borrow, default)]
    pub variables: Option<&'a RawValue>,
    /// The caller's own id of the business case.
    #[serde(default)]
    pub biz_id: Option<String>,
    /// Not before.
    #[serde(default)]
    pub send_at: Option<Time>,
    /// Not after.
    #[serde(default)]
    pub expires_at: Option<Time>,
    /// Instead of the lane that goes with the message type.
    #[serde(default)]
    pub priority: Option<Lane>,
    /// What policies select by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The time zone of recipients who give none of their own.
    #[serde(borrow, default)]
    pub time_zone: Option<Cow<'a, str>>,
}

/// A recipient as it was submitted: a text, or an object with variables.
#[derive(Debug)]
pub(crate) struct To<'a> {
    /// The address.
    pub to: Cow<'a, str>,
    /// The variables given for this recipient.
    pub variables: Option<&'a RawValue>,
    /// The recipient's time zone.
    pub time_zone: Option<Cow<'a, str>>,
    /// The recipient's addresses for the fallback channels, by channel.
    pub fallback: BTreeMap<String, String>,
}

/// A batch of messages, each read on its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch<'a> {
    /// The messages, at most [`Batch::MOST`].
    #[serde(borrow)]
    pub messages: Vec<&'a RawValue>,
}

impl Batch<'_> {
    /// Most messages of a batch.
    pub(crate) const MOST: usize = 100;
}

/// How many recipients a message of a batch names, without keeping any of them; none in one that has another shape, because
/// that is refused.
pub(crate) fn recipients_in(message: &RawValue) -> usize {
    #[derive(Deserialize)]
    struct Counted {
        // Ignored values take no memory, however many there are.
        to: Vec<IgnoredAny>,
    }

    serde_json::from_str(message.get()).map_or(0, |counted: Counted| counted.to.len())
}

const FIELDS: &[&str] = &["to", "variables", "time_zone", "fallback"];

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    To,
    Variables,
    TimeZone,
    Fallback,
}

impl<'de: 'a, 'a> Deserialize<'de> for To<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToVisitor)
    }
}

struct ToVisitor;

impl<'de> Visitor<'de> for ToVisitor {
    type Value = To<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, or an object with `to`, `variables`, `time_zone` and `fallback`")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<To<'de>, E> {
        Ok(To { to: Cow::Borrowed(text), variables: None, time_zone: None, fallback: BTreeMap::new() })
    }

    fn visit_str<E>(self, text: &str) -> Result<To<'de>, E> {
        Ok(To { to: Cow::Owned(text.to_owned()), variables: None, time_zone: None, fallback: BTreeMap::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<To<'de>, A::Error> {
        use serde::de::Error;
        let mut to: Option<CowText<'de>> = None;
        let mut variables = None;
        let mut time_zone = None;
        let mut fallback: Option<BTreeMap<String, String>> = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::To if to.is_some() => return Err(A::Error::duplicate_field(FIELDS[0])),
                Field::To => to = Some(map.next_value()?),
                Field::Variables if variables.is_some() => return Err(A::Error::duplicate_field(FIELDS[1])),
                Field::Variables => variables = Some(map.next_value::<Option<&'de RawValue>>()?),
                Field::TimeZone if time_zone.is_some() => return Err(A::Error::duplicate_field(FIELDS[2])),
                Field::TimeZone => time_zone = Some(map.next_value::<Option<CowText<'de>>>()?),
                Field::Fallback if fallback.is_some() => return Err(A::Error::duplicate_field(FIELDS[3])),
                Field::Fallback => fallback = Some(map.next_value()?),
            }
        }
        let fallback = fallback.unwrap_or_default();
        let to = to.ok_or_else(|| A::Error::missing_field(FIELDS[0]))?.0;
        Ok(To { to, variables: variables.flatten(), time_zone: time_zone.flatten().map(|zone| zone.0), fallback })
    }
}

/// A text that is borrowed when it holds no escapes. serde's own `Cow` always copies inside a visitor.
#[derive(Deserialize)]
struct CowText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict::decode;

    #[test]
    fn a_recipient_is_a_text_or_an_object() {
        let body = br#"{"template": "otp", "to": ["a", {"to": "b\n", "variables": {"n": 1}}, {"to": "c"}]}"#;
        let submission: Submission<'_> = decode(body).expect("it has the shape");
        let to: Vec<_> = submission.to.iter().map(|to| (to.to.as_ref(), to.variables.map(RawValue::get))).collect();
        assert_eq!(to, [("a", None), ("b\n", Some(r#"{"n": 1}"#)), ("c", None)]);
        assert!(matches!(submission.to[0].to, Cow::Borrowed(_)));
    }

    #[test]
    fn recipients_are_counted_whatever_they_are() {
        for (message, count) in [
            (r#"{"template": "otp", "to": ["a", {"to": "b"}, 5, null]}"#, 4),
            (r#"{"template": "otp", "to": []}"#, 0),
            (r#"{"template": "otp"}"#, 0),
            (r#"{"to": "a"}"#, 0),
            ("[]", 0),
        ] {
            let raw: &RawValue = serde_json::from_str(message).expect("it is JSON");
            assert_eq!(recipients_in(raw), count, "{message}");
        }
    }

    #[test]
    fn another_shape_is_refused_with_its_place() {
        let cases = [
            (r#"{"template": "otp", "to": [5]}"#, "invalid_request", "to[0]"),
            (r#"{"template": "otp", "to": ["a", {"too": "b"}]}"#, "unknown_field", "to[1]"),
            (r#"{"template": "otp", "to": [{}]}"#, "invalid_request", "missing field `to`"),
            (r#"{"to": []}"#, "invalid_request", "missing field `template`"),
            (r#"{"template": "otp", "to": [], "send_at": "soon"}"#, "invalid_request", "send_at"),
            (r#"{"template": "otp", "to": [], "priority": "now"}"#, "invalid_request", "priority"),
            (r#"{"template": "otp", "to": [], "variabels": {}}"#, "unknown_field", "variabels"),
        ];
        for (body, code, part) in cases {
            let problem = decode::<Submission<'_>>(body.as_bytes()).expect_err("it has another shape");
            let text = serde_json::to_string(&problem.body()).expect("a problem is serializable");
            assert_eq!(problem.code().name(), code, "{body}: {text}");
            assert!(text.contains(part), "{body}: {text}");
        }
    }
}
