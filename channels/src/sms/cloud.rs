//! An account at a cloud that sells text messages among other things: the key it signs with, its templates, and the key by which
//! callbacks are believed.

use tidings_contract::{FieldError, Outcome, Reason, Secret};

use super::{Templates, called_with_key, client};
use crate::http::{Client, Url};
use crate::reading::Reading;
use crate::status::without;

/// An account at a cloud.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) key_id: String,
    pub(crate) key_secret: Secret,
    pub(crate) templates: Templates,
    callback_key: Option<Secret>,
}

impl Cloud {
    /// Reads and opens the account; `key` are the names that the vendor gives to the id and the secret of a key. Ends the
    /// reading, so whatever else the account has is to be read before.
    ///
    /// # Errors
    /// One per wrong setting.
    pub(crate) fn open(mut reading: Reading<'_>, key: [&str; 2], endpoint: &str) -> Result<Self, Vec<FieldError>> {
        let timeout = reading.timeout(10_000, 20_000);
        let key_id = reading.needed_text(key[0]).to_owned();
        let key_secret = reading.needed_secret(key[1]).cloned();
        let callback_key = reading.secret("callback_key").cloned();
        let templates = Templates::read(&mut reading);
        let url = reading.endpoint("endpoint", endpoint);
        let (url, key_secret) = reading.finish(url.zip(key_secret))?;
        Ok(Self { client: client(timeout)?, url, key_id, key_secret, templates, callback_key })
    }

    /// Whether a callback with those headers is believed.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn believes(&self, headers: &[(String, String)]) -> Result<(), Reason> {
        called_with_key(self.callback_key.as_ref(), headers)
    }

    /// The outcome without any of the account's secrets, should the supplier repeat them.
    pub(crate) fn clean(&self, outcome: Outcome) -> Outcome {
        without(outcome, std::iter::once(&self.key_secret).chain(&self.callback_key))
    }
}
