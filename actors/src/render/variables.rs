//! Variables, converted once so that one message's shared ones serve all its recipients.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Object, Value as Inner};
use serde_json::{Map, Value};

/// Most values, at any depth, that are filled in where others wait: comparing two lists looks at each of them, and the
/// engine charges for the outermost.
const FEW: usize = 500;
/// Most bytes of them.
const SMALL: usize = 64 * 1024;

/// The variables of a message or of one recipient.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: Arc<BTreeMap<String, Inner>>,
    weight: Weight,
}

/// How much there is to look at.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    values: usize,
    bytes: usize,
}

impl Variables {
    /// Converts a JSON object.
    pub fn new(map: &Map<String, Value>) -> Self {
        let mut weight = Weight::default();
        let values = map.iter().map(|(name, value)| (name.clone(), convert(value, &mut weight))).collect();
        Self { values: Arc::new(values), weight }
    }

    /// Reads a JSON object from text; an empty text is an empty object.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "{}" {
            return Ok(Self::default());
        }
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        Ok(Self::new(&map))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether two sets of them are little enough to be filled in where others wait.
    pub(super) fn are_small(&self, other: &Self) -> bool {
        let values = self.weight.values + other.weight.values;
        values <= FEW && self.weight.bytes + other.weight.bytes <= SMALL
    }

    /// As JSON text.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(&*self.values).unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<&Inner> {
        self.values.get(name)
    }
}

/// What a template sees: the recipient's own variables before the shared ones, then what is only assumed.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) own: Variables,
    pub(super) shared: Variables,
    pub(super) assumed: BTreeMap<String, Inner>,
}

impl Layers {
    /// Whether there is something at `path` (`user.name`).
    pub(super) fn has(&self, path: &str) -> bool {
        let mut parts = path.split('.');
        let first = parts.next().and_then(|name| self.own.get(name).or_else(|| self.shared.get(name))).cloned();
        let last = parts.try_fold(first, |value, part| match value?.get_attr(part) {
            Ok(inner) if !inner.is_undefined() => Some(Some(inner)),
            _ => None,
        });
        matches!(last, Some(Some(_)))
    }
}

impl Object for Layers {
    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        self.own.get(key).or_else(|| self.shared.get(key)).or_else(|| self.assumed.get(key)).cloned()
    }
}

/// A value that stands for anything: it prints as nothing, holds itself under every name and can be gone through once.
#[derive(Debug)]
pub(super) struct Anything;

impl Object for Anything {
    fn get_value(self: &Arc<Self>, _key: &Inner) -> Option<Inner> {
        Some(Inner::from_dyn_object(Arc::clone(self)))
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Values(vec![Inner::from_dyn_object(Arc::clone(self))])
    }

    fn render(self: &Arc<Self>, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

fn convert(value: &Value, weight: &mut Weight) -> Inner {
    weight.values += 1;
    match value {
        Value::Null => Inner::from(()),
        Value::Bool(yes) => Inner::from(*yes),
        Value::Number(number) => {
            let whole = number.as_i64().map(Inner::from).or_else(|| number.as_u64().map(Inner::from));
            whole.unwrap_or_else(|| Inner::from(number.as_f64().unwrap_or(f64::NAN)))
        }
        Value::String(text) => {
            weight.bytes += text.len();
            Inner::from(text.as_str())
        }
        Value::Array(items) => items.iter().map(|item| convert(item, weight)).collect(),
        Value::Object(map) => Inner::from_pairs(map.iter().map(|(name, value)| {
            weight.bytes += name.len();
            (name.as_str(), convert(value, weight))
        })),
    }
}
