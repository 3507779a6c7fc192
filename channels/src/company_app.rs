//! What the applications of a company at DingTalk and at WeCom have in common: an id, a secret, a number, and a token for them.

use bytes::Bytes;
use tidings_contract::{FieldError, Reason, Secret, Settings, Time, Token};

use crate::http::{HeaderMap, Method};
use crate::json_api::{Api, ApiSettings, Codes, GivenToken, Verdict};
use crate::reading::Reading;

/// An application.
#[derive(Debug)]
pub(crate) struct CompanyApp {
    pub(crate) api: Api,
    /// Its number, which stands in every message.
    pub(crate) agent_id: u64,
    id: String,
    secret: Secret,
}

impl CompanyApp {
    /// Opens the application; `names` are those of the settings with its id and its secret.
    ///
    /// # Errors
    /// One per wrong setting.
    pub(crate) fn open(settings: &Settings, names: [&str; 2], endpoint: &str) -> Result<Self, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let id = reading.needed_text(names[0]).to_owned();
        let secret = reading.needed_secret(names[1]).cloned();
        let agent_id = reading.known("agent_id", "must be a whole number", settings.number("agent_id"));
        let api = ApiSettings::read(&mut reading, endpoint);
        let ((secret, agent_id), api) = reading.finish(secret.zip(agent_id).zip(api))?;
        Ok(Self { api: api.open([&secret])?, agent_id, id, secret })
    }

    /// Fetches a token at `path`; `names` are those of the parameters with the id and the secret.
    ///
    /// # Errors
    /// What the vendor says.
    pub(crate) async fn fetch_token(&self, path: &str, names: [&str; 2], codes: &Codes<i64>) -> Result<Token, Reason> {
        let query = [(names[0], self.id.as_str()), (names[1], self.secret.expose())];
        let sent = self.api.call(Method::GET, self.api.url(path, &query), HeaderMap::new(), Bytes::new()).await;
        self.api.settle_token(sent, |answer| Verdict::accept::<GivenToken>(answer, Time(0), codes)).map(Token::from)
    }
}
