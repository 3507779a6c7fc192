//! Which of a supplier's templates a content means, and how its parameters are mapped onto it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tidings_contract::{Blame, Outcome, Setting};

use super::Sms;
use super::content::Param;
use crate::reading::Reading;

/// The settings with which an account maps contents onto the supplier's templates.
pub(crate) const fn template_settings() -> [Setting; 3] {
    [
        Setting {
            name: "sign_name",
            required: false,
            secret: false,
            doc: "The approved signature, without brackets; a content's sign_name goes before it.",
        },
        Setting {
            name: "template_id",
            required: false,
            secret: false,
            doc: "The supplier's template for contents without a template_id: their text is its only parameter.",
        },
        Setting {
            name: "templates",
            required: false,
            secret: false,
            doc: "What a content's template_id stands for here: an object from that name to {id, params: the names of \
                  the parameters in the supplier's order, sign_name}. A name that is not in it is the supplier's id.",
        },
    ]
}

/// One template of the supplier's, as the account names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default)]
    params: Option<Vec<String>>,
    #[serde(default)]
    sign_name: Option<String>,
}

/// The templates of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Templates {
    sign_name: Option<String>,
    usual: Option<String>,
    by_name: BTreeMap<String, Entry>,
}

/// A template of the supplier's, and what it is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The supplier's id.
    pub(crate) id: String,
    order: Option<Vec<String>>,
    params: Vec<Param>,
}

impl Templates {
    /// Reads the three settings.
    pub(crate) fn read(reading: &mut Reading<'_>) -> Self {
        let sign_name = reading.text("sign_name").map(str::to_owned);
        let usual = reading.text("template_id").map(str::to_owned);
        let by_name = match reading.value("templates").map(BTreeMap::<String, Entry>::deserialize) {
            None => BTreeMap::new(),
            Some(Ok(by_name)) => by_name,
            Some(Err(error)) => {
                reading.wrong("templates", format!("must be an object of {{id, params, sign_name}}: {error}"));
                BTreeMap::new()
            }
        };
        Self { sign_name, usual, by_name }
    }

    /// The signature for this content.
    pub(crate) fn sign_name<'a>(&'a self, sms: &'a Sms) -> Option<&'a str> {
        let entry = sms.template.as_ref().and_then(|name| self.by_name.get(name));
        let entry = entry.and_then(|entry| entry.sign_name.as_deref());
        sms.sign_name.as_deref().or(entry).or(self.sign_name.as_deref())
    }

    /// The template for this content; `None` where the text is to be sent as it is.
    pub(crate) fn resolve(&self, sms: &Sms) -> Option<Resolved> {
        let params = sms.params.clone();
        match (&sms.template, &self.usual) {
            (Some(name), _) => match self.by_name.get(name) {
                Some(entry) => Some(Resolved { id: entry.id.clone(), order: entry.params.clone(), params }),
                None => Some(Resolved { id: name.clone(), order: None, params }),
            },
            (None, Some(usual)) => {
                let text = sms.text.clone().unwrap_or_default();
                Some(Resolved { id: usual.clone(), order: None, params: vec![(None, text)] })
            }
            (None, None) => None,
        }
    }

    /// The same for suppliers that send nothing without a template.
    ///
    /// # Errors
    /// A `Never` of the account's, which has none.
    pub(crate) fn needed(&self, sms: &Sms) -> Result<Resolved, Outcome> {
        self.resolve(sms).ok_or_else(|| {
            Outcome::never(Blame::Account, "template", "the content has no template_id and the account neither")
        })
    }
}

impl Resolved {
    /// The values in the supplier's order.
    ///
    /// # Errors
    /// A `Never` where parameters have names and nothing says in which order they stand.
    pub(crate) fn in_order(&self) -> Result<Vec<String>, Outcome> {
        if let Some(order) = self.order.as_ref().filter(|_| self.params.iter().any(|(name, _)| name.is_some())) {
            return order.iter().map(|name| self.value(name).map(str::to_owned)).collect();
        }
        let places: Option<Vec<usize>> =
            self.params.iter().map(|(name, _)| name.as_ref().map_or(Some(0), |name| name.parse().ok())).collect();
        let Some(places) = places.or_else(|| (self.params.len() == 1).then(|| vec![0])) else {
            let words = "parameters with names have an order only where the account's templates say which";
            return Err(Outcome::never(Blame::Account, "template_params", words));
        };
        // Names such as 1, 2 … 10 are places; a list has none and keeps its order.
        let mut placed: Vec<_> = places.into_iter().zip(&self.params).collect();
        placed.sort_by_key(|(place, _)| *place);
        Ok(placed.into_iter().map(|(_, (_, value))| value.clone()).collect())
    }

    /// The values by name. Those of a list are named by the account, or 1, 2 …; a single one is named `lone`.
    pub(crate) fn by_name(&self, lone: &str) -> Map<String, Value> {
        let named = |(at, (name, value)): (usize, &Param)| {
            let given = self.order.as_ref().and_then(|order| order.get(at));
            let name = match name.as_ref().or(given) {
                Some(name) => name.clone(),
                None if self.params.len() == 1 => lone.to_owned(),
                None => (at + 1).to_string(),
            };
            (name, Value::from(value.as_str()))
        };
        self.params.iter().enumerate().map(named).collect()
    }

    fn value(&self, name: &str) -> Result<&str, Outcome> {
        let found = self.params.iter().find(|(known, _)| known.as_deref() == Some(name));
        found.map(|(_, value)| value.as_str()).ok_or_else(|| {
            Outcome::never(Blame::Content, "template_params", format!("the parameter {name} is missing"))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_contract::Settings;

    use super::*;

    fn templates() -> Templates {
        let mut settings = Settings::default();
        settings.plain.insert("template_id".into(), json!("7"));
        settings.plain.insert("sign_name".into(), json!("Shop"));
        let map = json!({"otp": {"id": "110", "params": ["code", "minutes"], "sign_name": "Bank"}});
        settings.plain.insert("templates".into(), map);
        let mut reading = Reading::new(&settings);
        let templates = Templates::read(&mut reading);
        reading.finish(Some(templates)).expect("the settings are right")
    }

    fn resolved(content: Value) -> Resolved {
        templates().resolve(&Sms::read(&content).expect("it is complete")).expect("there is a template")
    }

    #[test]
    fn names_of_the_accounts_map_onto_the_suppliers_order() {
        let otp = resolved(json!({"template_id": "otp", "params": {"minutes": 5, "code": "1234"}}));
        assert_eq!((otp.id.as_str(), otp.in_order()), ("110", Ok(vec!["1234".into(), "5".into()])));
        assert_eq!(Value::from(otp.by_name("text")), json!({"code": "1234", "minutes": "5"}));
        let listed = resolved(json!({"template_id": "otp", "params": ["1234", 5]}));
        assert_eq!(listed.in_order(), Ok(vec!["1234".into(), "5".into()]));
        assert_eq!(Value::from(listed.by_name("text")), json!({"code": "1234", "minutes": "5"}));
        let lost = resolved(json!({"template_id": "otp", "params": {"code": "1234"}}));
        assert_eq!(lost.in_order().expect_err("minutes is missing").class(), "never");
    }

    #[test]
    fn without_a_mapping_the_id_is_the_suppliers_and_places_are_numbers() {
        let plain = resolved(json!({"template_id": "449", "params": {"10": "j", "2": "b", "1": "a"}}));
        assert_eq!(plain.id, "449");
        assert_eq!(plain.in_order(), Ok(vec!["a".into(), "b".into(), "j".into()]));
        let listed = resolved(json!({"template_id": "449", "params": ["a", "b"]}));
        assert_eq!(Value::from(listed.by_name("text")), json!({"1": "a", "2": "b"}));
        let named = resolved(json!({"template_id": "449", "params": {"a": "1", "b": "2"}}));
        assert!(named.in_order().is_err(), "nobody knows which comes first");
    }

    #[test]
    fn a_text_is_the_only_parameter_of_the_accounts_template() {
        let text = resolved(json!({"text": "hello"}));
        assert_eq!((text.id.as_str(), text.in_order()), ("7", Ok(vec!["hello".into()])));
        assert_eq!(Value::from(text.by_name("content")), json!({"content": "hello"}));
        assert_eq!(Templates::default().resolve(&Sms::read(&json!({"text": "x"})).expect("complete")), None);
    }

    #[test]
    fn the_nearest_signature_wins() {
        let templates = templates();
        for (content, expected) in [
            (json!({"text": "x"}), "Shop"),
            (json!({"template_id": "otp"}), "Bank"),
            (json!({"template_id": "otp", "sign_name": "Own"}), "Own"),
        ] {
            assert_eq!(templates.sign_name(&Sms::read(&content).expect("complete")), Some(expected));
        }
    }
}
