//! `sms/twilio`: sends by Twilio's Messages resource, one recipient a request.
//!
//! Sources: Twilio, "Messages resource" (create), "Error and Warning Dictionary", "Track outbound message status",
//! "Webhooks security" (X-Twilio-Signature).

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::hmac;
use serde::Deserialize;
use serde_json::Value;
use tidings_contract::{
    Call, Channel, Charge, Charged, FieldError, Outcome, Provider, ProviderInfo, Reason, Receipt, ReceiptMark, Secret,
    Setting, Settings, Target, Time, Unsupported,
};
use url::form_urlencoded;

use crate::SandboxInbox;
use crate::http::{Answer, Client, Method, Url, each};
use crate::reading::Reading;
use crate::sms::{self, Sms, Templates, Verdict, judged};
use crate::status::{outcome_of_api, without, words};

const TEMPLATES: [Setting; 3] = sms::template_settings();

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/twilio",
    channel: "sms",
    doc: "Sends text messages by Twilio: texts, or templates of its Content API (template_id is the ContentSid).",
    source: "Twilio: Messages resource; Error and Warning Dictionary; Webhooks security",
    settings: &[
        sms::plain("account_sid", true, "The account's SID (AC…)."),
        sms::sealed("auth_token", true, "The account's auth token; it also verifies callbacks."),
        sms::plain("api_key_sid", false, "An API key's SID (SK…) to log in with instead of the auth token."),
        sms::sealed("api_key_secret", false, "That key's secret."),
        sms::plain("from", false, "The sender: a number in E.164 or a sender id. This or messaging_service_sid."),
        sms::plain("messaging_service_sid", false, "The messaging service that picks the sender (MG…)."),
        TEMPLATES[1],
        TEMPLATES[2],
        sms::plain(
            "status_callback",
            false,
            "The public URL of this account's callbacks, exactly as Twilio is to call it.",
        ),
        sms::plain("endpoint", false, "The address; default https://api.twilio.com. https, except on this machine."),
        sms::TIMEOUT,
    ],
    example: r#"{"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "secret", "from": "+15005550006"}"#,
    max_recipients: 1,
    deadline: sms::DEADLINE,
};

/// The documented codes that creating a message can come back with.
const CODES: &[(i64, Verdict)] = &[
    // Account not active; login; suspended; test credentials; forbidden.
    (10_001, Verdict::Account),
    (10_002, Verdict::Account),
    (20_003, Verdict::Account),
    (20_005, Verdict::Account),
    (20_006, Verdict::Account),
    (20_008, Verdict::Account),
    (20_010, Verdict::Account),
    (20_403, Verdict::Account),
    (20_404, Verdict::Account),
    (30_002, Verdict::Account),
    (90_010, Verdict::Account),
    // Too many at once; too many waiting; something on their side.
    (14_107, Verdict::Later),
    (20_429, Verdict::Later),
    (20_500, Verdict::Later),
    (20_503, Verdict::Later),
    (21_611, Verdict::Later),
    (30_001, Verdict::Later),
    (63_038, Verdict::After(3_600)),
    // The number: invalid, unsubscribed, no mobile; in a country that is not served, unreachable from here, a landline.
    (21_211, Verdict::Gone),
    (21_610, Verdict::Gone),
    (21_614, Verdict::Gone),
    (21_408, Verdict::Recipient),
    (21_612, Verdict::Recipient),
    (21_635, Verdict::Recipient),
    // The number is a short code, our own, or one of premium rate.
    (21_265, Verdict::Recipient),
    (21_266, Verdict::Recipient),
    (21_268, Verdict::Recipient),
    // The sender or the callback's address; a trial account that may not send to this number.
    (21_212, Verdict::Account),
    (21_267, Verdict::Account),
    (21_601, Verdict::Account),
    (21_603, Verdict::Account),
    (21_606, Verdict::Account),
    (21_607, Verdict::Account),
    (21_608, Verdict::Account),
    (21_609, Verdict::Account),
    (21_616, Verdict::Account),
    (21_657, Verdict::Account),
    (21_659, Verdict::Account),
    (21_660, Verdict::Account),
    (21_661, Verdict::Account),
    (21_701, Verdict::Account),
    (21_702, Verdict::Account),
    (21_703, Verdict::Account),
    (21_704, Verdict::Account),
    (21_705, Verdict::Account),
    (30_034, Verdict::Account),
    // The content: none, too long, template or its variables wrong.
    (21_602, Verdict::Content),
    (21_604, Verdict::Content),
    (21_605, Verdict::Content),
    (21_617, Verdict::Content),
    (21_618, Verdict::Content),
    (21_620, Verdict::Content),
    (21_653, Verdict::Content),
    (21_654, Verdict::Content),
    (21_655, Verdict::Content),
    (21_656, Verdict::Content),
    (21_658, Verdict::Content),
    (30_007, Verdict::Content),
];

/// The codes in receipts that say that there is no such number, or that it has unsubscribed.
const GONE: &[&str] = &["21610", "30005"];

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Twilio)
}

#[derive(Debug)]
struct Twilio;

#[derive(Debug)]
struct Account {
    client: Client,
    url: Url,
    auth_token: Secret,
    /// What stands in `Authorization`.
    login: Secret,
    key_secret: Option<Secret>,
    /// The field that says who sends, and its value.
    sender: (&'static str, String),
    templates: Templates,
    status_callback: Option<String>,
}

impl Provider for Twilio {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let sid = reading.needed_text("account_sid").to_owned();
        if !sid.chars().all(|c| c.is_ascii_alphanumeric()) {
            reading.wrong("account_sid", "must be letters and digits");
        }
        let auth_token = reading.needed_secret("auth_token").cloned();
        let sender = sender(&mut reading);
        let templates = Templates::read(&mut reading);
        let status_callback = reading.text("status_callback").map(str::to_owned);
        if status_callback.as_deref().is_some_and(|url| Url::parse(url).is_err()) {
            reading.wrong("status_callback", "must be a URL");
        }
        let (key_sid, key_secret) = (reading.text("api_key_sid"), reading.secret("api_key_secret").cloned());
        if key_sid.is_some() != key_secret.is_some() {
            reading.wrong("api_key_secret", "goes together with api_key_sid");
        }
        let url = reading.endpoint("endpoint", "https://api.twilio.com");
        let ((url, auth_token), sender) = reading.finish(url.zip(auth_token).zip(sender))?;
        let login = match (key_sid, &key_secret) {
            (Some(key_sid), Some(secret)) => format!("{key_sid}:{}", secret.expose()),
            _ => format!("{sid}:{}", auth_token.expose()),
        };
        let login = Secret::new(format!("Basic {}", STANDARD.encode(login)));
        let url = sms::under(&url, &format!("/2010-04-01/Accounts/{sid}/Messages.json"));
        let client = sms::client(timeout)?;
        Ok(Arc::new(Account { client, url, auth_token, login, key_secret, sender, templates, status_callback }))
    }
}

fn sender(reading: &mut Reading<'_>) -> Option<(&'static str, String)> {
    match (reading.text("from"), reading.text("messaging_service_sid")) {
        (_, Some(service)) => Some(("MessagingServiceSid", service.to_owned())),
        (Some(from), None) => Some(("From", from.to_owned())),
        (None, None) => {
            reading.wrong("from", "from or messaging_service_sid is required");
            None
        }
    }
}

#[derive(Deserialize)]
struct Message {
    sid: String,
    /// As how many messages it is charged; 0 where that is not known yet.
    num_segments: Option<String>,
    price: Option<String>,
    price_unit: Option<String>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    #[serde(default)]
    message: String,
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        self.send_charged(call).await.into_iter().map(|charged| charged.outcome).collect()
    }

    async fn send_charged(&self, call: &Call) -> Vec<Charged> {
        each(call, |target| self.create(target, call.at)).await
    }

    fn read_callback(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(self.callback(headers, body))
    }
}

impl Account {
    async fn create(&self, target: &Target, at: Time) -> Charged {
        let form = match Sms::read(&target.content) {
            Ok(sms) => self.form(&target.to, &sms),
            Err(outcome) => return outcome.into(),
        };
        let headers = sms::headers([
            ("accept", "application/json"),
            ("authorization", self.login.expose()),
            ("content-type", "application/x-www-form-urlencoded"),
        ]);
        match self.client.call(Method::POST, self.url.clone(), headers, Bytes::from(form)).await {
            Ok(answer) => {
                let secrets = [&self.auth_token, &self.login].into_iter().chain(&self.key_secret);
                Charged { outcome: without(judge(&answer, at), secrets), charge: charge(&answer) }
            }
            Err(failure) => Outcome::from(failure).into(),
        }
    }

    fn form(&self, to: &str, sms: &Sms) -> String {
        let (sender, from) = &self.sender;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", to).append_pair(sender, from);
        match self.templates.resolve(sms) {
            Some(template) => {
                form.append_pair("ContentSid", &template.id);
                let variables = template.by_name("1");
                if !variables.is_empty() {
                    form.append_pair("ContentVariables", &Value::from(variables).to_string());
                }
            }
            None => {
                form.append_pair("Body", sms.text.as_deref().unwrap_or_default());
            }
        }
        if let Some(url) = &self.status_callback {
            form.append_pair("StatusCallback", url);
        }
        form.finish()
    }

    fn callback(&self, headers: &[(String, String)], body: &[u8]) -> Result<Vec<Receipt>, Reason> {
        let Some(url) = &self.status_callback else {
            return Err(Reason::new("no_status_callback", "the account has no status_callback, so none is believed"));
        };
        let given = headers.iter().find(|(name, _)| name == "x-twilio-signature").map(|(_, value)| value.as_str());
        let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        if !given.is_some_and(|given| is_signed(&self.auth_token, url, &fields, given)) {
            return Err(Reason::new("signature", "the callback is not signed with the account's auth token"));
        }
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let (Some(sid), Some(status)) = (field("MessageSid"), field("MessageStatus")) else {
            return Err(Reason::new("callback_body", "MessageSid or MessageStatus is missing"));
        };
        let mark = match status {
            "delivered" => ReceiptMark::Received,
            "read" => ReceiptMark::Read,
            "undelivered" | "failed" => ReceiptMark::Bounced,
            // Accepted, queued, sending, sent: on its way.
            _ => return Ok(Vec::new()),
        };
        let code = field("ErrorCode").map_or_else(|| status.to_owned(), |code| format!("error_{code}"));
        let bounced = mark == ReceiptMark::Bounced;
        Ok(vec![Receipt {
            to: field("To").map(str::to_owned),
            reason: bounced.then(|| Reason::new(code, field("ErrorMessage").unwrap_or(status))),
            gone: bounced && field("ErrorCode").is_some_and(|code| GONE.contains(&code)),
            ..Receipt::new(sid, mark)
        }])
    }
}

/// Whether `given` is the base64 of HMAC-SHA1 over the address and the fields by name ("Webhooks security").
fn is_signed(auth_token: &Secret, url: &str, fields: &[(String, String)], given: &str) -> bool {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort();
    fields.dedup();
    let mut text = url.to_owned();
    fields.into_iter().for_each(|(name, value)| text.extend([name.as_str(), value]));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_token.expose().as_bytes());
    STANDARD.decode(given).is_ok_and(|given| hmac::verify(&key, text.as_bytes(), &given).is_ok())
}

/// What the answer to a message that was taken says about its price. A message of a service is counted later.
fn charge(answer: &Answer) -> Option<Charge> {
    let message = answer.is_success().then(|| answer.json::<Message>().ok()).flatten()?;
    let segments = message.num_segments.and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    let micros = message.price.as_deref().and_then(Charge::micros_of);
    Charge { segments, micros, currency: message.price_unit.filter(|_| micros.is_some()) }.some()
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    if answer.is_success() {
        return match answer.json::<Message>() {
            Ok(message) => Outcome::Delivered { provider_id: Some(message.sid) },
            Err(_) => Outcome::unknown("answer", words(answer)),
        };
    }
    let by_status = outcome_of_api(answer, at);
    let Ok(Fault { code, message }) = answer.json::<Fault>() else { return by_status };
    let code_text = format!("error_{code}");
    match (CODES.iter().find(|(known, _)| *known == code), by_status) {
        // `Retry-After` comes with 429.
        (Some((_, Verdict::Later)) | None, Outcome::Later { after_ms, .. }) => {
            Outcome::Later { reason: Reason::new(code_text, message), after_ms }
        }
        (Some((_, verdict)), _) => judged(*verdict, &code_text, &message),
        (None, Outcome::Never { blame, .. }) => Outcome::never(blame, code_text, message),
        (None, other) => other,
    }
}

#[cfg(test)]
#[path = "../provider_tests/sms_twilio.rs"]
pub(super) mod tests;
