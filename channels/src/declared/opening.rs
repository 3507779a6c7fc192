//! An account of a described supplier, opened: its settings against what the document asks for.

use std::sync::Arc;

use serde_json::Value;
use tidings_contract::{Channel, FieldError, Setting, Settings};

use super::account::Account;
use super::definition::Definition;
use crate::reading::{Reading, safe_url};
use crate::sms;

/// What an account of a described supplier may have beside the document.
pub(crate) const USER: Setting = sms::plain("user", false, "What {{ user }} stands for.");
/// See [`USER`].
pub(crate) const SECRET: Setting = sms::sealed("secret", false, "What {{ secret }} stands for.");
/// See [`USER`].
pub(crate) const ENDPOINT: Setting = sms::plain(
    "endpoint",
    false,
    "Under which URLs of the document stand that begin with a slash. https, except on this machine.",
);

/// Opens an account. `document` is `None` where it has none.
///
/// # Errors
/// One per wrong setting; what is wrong in the document stands under `settings.definition`.
pub(crate) fn open(settings: &Settings, document: Option<&Value>) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
    let mut reading = Reading::new(settings);
    let timeout = reading.timeout(10_000, 20_000);
    let user = reading.text("user");
    let secret = reading.secret("secret").cloned();
    let typed = reading.text("endpoint");
    let endpoint = typed.filter(|endpoint| safe_url(endpoint).is_some());
    if typed.is_some() && endpoint.is_none() {
        reading.wrong("endpoint", "must be an https URL without a query");
    }
    let definition = match document.map(|document| Definition::read(document, endpoint)) {
        Some(Ok(definition)) => Some(definition),
        Some(Err(wrong)) => {
            let wrong = wrong.within("definition");
            reading.wrong(&wrong.path, wrong.detail);
            None
        }
        None => {
            reading.wrong("definition", "is required");
            None
        }
    };
    for name in definition.iter().flat_map(Definition::asks_for) {
        if !settings.plain.contains_key(name) && !settings.secret.contains_key(name) {
            reading.wrong(name, "is required: the document asks for it");
        }
    }
    let definition = reading.finish(definition)?;
    let user = user.unwrap_or_default().to_owned();
    Ok(Arc::new(Account { client: sms::client(timeout)?, definition, user, secret }))
}
