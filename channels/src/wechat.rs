//! What WeChat's official accounts and mini programs have in common: the account, its token, and the data of a template.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tidings_contract::{FieldError, Outcome, Reason, Secret, Settings, Target, Time, Token};

use crate::codes::WECHAT;
use crate::http::{Answer, HeaderMap};
use crate::json_api::{Api, ApiSettings, GivenToken, Verdict, read};
use crate::message::{Field, fields};
use crate::reading::Reading;

/// An account of either kind.
#[derive(Debug)]
pub(crate) struct WechatAccount {
    pub(crate) api: Api,
    app_id: String,
    app_secret: Secret,
}

impl WechatAccount {
    /// Opens the account.
    ///
    /// # Errors
    /// One per wrong setting.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let app_id = reading.needed_text("app_id").to_owned();
        let app_secret = reading.needed_secret("app_secret").cloned();
        let api = ApiSettings::read(&mut reading, "https://api.weixin.qq.com");
        let (app_secret, api) = reading.finish(app_secret.zip(api))?;
        Ok(Self { api: api.open([&app_secret])?, app_id, app_secret })
    }

    /// Fetches a stable token: unlike the older kind it does not make the one before it invalid, so a cluster beside ours
    /// does no harm.
    ///
    /// # Errors
    /// What the vendor says.
    pub(crate) async fn fetch_token(&self) -> Result<Token, Reason> {
        let body = json!({"grant_type": "client_credential", "appid": self.app_id,
            "secret": self.app_secret.expose(), "force_refresh": false});
        let sent = self.api.post(self.api.url("/cgi-bin/stable_token", &[]), HeaderMap::new(), &body).await;
        self.api.settle_token(sent, |answer| unless_refused::<GivenToken>(answer, Time(0))).map(Token::from)
    }

    /// Sends `body`, a message by a template, to one recipient.
    pub(crate) async fn send(
        &self,
        path: &str,
        mut body: Map<String, Value>,
        at: Time,
        token: &Secret,
        target: &Target,
    ) -> Outcome {
        body.insert("touser".to_owned(), target.to.as_str().into());
        let url = self.api.url(path, &[("access_token", token.expose())]);
        let sent = self.api.post(url, HeaderMap::new(), &body.into()).await;
        self.api.settle(sent, Some(token), |answer| match Verdict::accept::<Taken>(answer, at, &WECHAT) {
            Ok(taken) => Outcome::Delivered { provider_id: taken.msgid.map(|id| id.to_string()) },
            Err(outcome) => outcome,
        })
    }
}

/// What an answer to a message holds beside the verdict.
#[derive(Deserialize)]
struct Taken {
    msgid: Option<u64>,
}

/// Reads an answer of the kind that has a verdict in it only if it is a no.
///
/// # Errors
/// The vendor's no, or that the answer cannot be read.
pub(crate) fn unless_refused<T: DeserializeOwned>(answer: &Answer, at: Time) -> Result<T, Outcome> {
    match read::<Verdict>(answer, at) {
        Ok(verdict) if verdict.errcode != 0 => Err(WECHAT.outcome(&verdict.errcode, &verdict.errmsg)),
        _ => read(answer, at),
    }
}

/// The body of a message by a template, without its recipient.
///
/// # Errors
/// What is wrong with the content.
pub(crate) fn template_body(known: &[Field], content: &Value) -> Result<Map<String, Value>, String> {
    let mut body = fields(known, content, "")?;
    body["data"] = template_data(&body["data"])?;
    Ok(body)
}

/// The data of a template: `{name: text}` and `{name: {value: text}}` both become `{name: {value: text}}`.
///
/// # Errors
/// When it is neither.
pub(crate) fn template_data(data: &Value) -> Result<Value, String> {
    let data = data.as_object().ok_or("data must be an object")?;
    let mut all = Map::new();
    for (name, value) in data {
        let value = match value {
            Value::String(_) => json!({ "value": value }),
            Value::Number(number) => json!({"value": number.to_string()}),
            Value::Object(parts) if parts.get("value").is_some_and(Value::is_string) => value.clone(),
            _ => return Err(format!("data: {name} must be a text or {{value: text}}")),
        };
        all.insert(name.clone(), value);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_templates_data_comes_in_two_forms_and_goes_out_in_one() {
        let data = template_data(&json!({"a": "x", "b": {"value": "y", "color": "#173177"}, "c": 7}));
        let expected = json!({"a": {"value": "x"}, "b": {"value": "y", "color": "#173177"}, "c": {"value": "7"}});
        assert_eq!(data, Ok(expected));
        assert!(template_data(&json!({"a": [1]})).is_err_and(|words| words.starts_with("data: a ")));
        assert!(template_data(&json!([1])).is_err());
    }
}
