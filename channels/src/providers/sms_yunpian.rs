//! `sms/yunpian`: sends by Yunpian, one text or template to one or to many.
//!
//! Sources: Yunpian, domestic SMS API v2: "单条发送" (single_send), "批量发送" (batch_send), "指定模板单发",
//! "指定模板群发" (tpl_single_send, tpl_batch_send), "获取状态报告" (pull_status), "推送状态报告" (push_report),
//! "返回码总体说明".

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidings_contract::{
    Call, Channel, Charge, Charged, FieldError, Outcome, Provider, ProviderInfo, Reason, Receipt, Secret, Setting,
    Settings, Target, Time, Unsupported, VendorTemplate,
};
use url::form_urlencoded;

use crate::SandboxInbox;
use crate::http::{Answer, Client, Failure, Method, Url};
use crate::reading::Reading;
use crate::signing::encoded;
use crate::sms::{self, Group, Sms, Templates, Verdict, called_with_key, china_time, domestic, judged, mark, phone_of};
use crate::status::{outcome_of_api, without, words};

/// Most phone numbers in one request ("批量发送").
const MOST: usize = 1_000;
const TEMPLATES: [Setting; 3] = sms::template_settings();

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/yunpian",
    channel: "sms",
    doc: "Sends text messages by Yunpian: texts that match an approved template, or a template by its id.",
    source: "Yunpian SMS API v2: single_send, batch_send, tpl_single_send, tpl_batch_send, pull_status, push_report",
    settings: &[
        sms::sealed("apikey", true, "The account's or sub-account's API key."),
        TEMPLATES[0],
        TEMPLATES[1],
        TEMPLATES[2],
        sms::plain("callback_url", false, "Where the vendor sends receipts; default what its console says."),
        sms::plain(
            "endpoint",
            false,
            "The address; default https://sms.yunpian.com (overseas: https://us.yunpian.com). https, except on this \
             machine.",
        ),
        sms::TIMEOUT,
        sms::CALLBACK_KEY,
    ],
    example: r#"{"apikey": "9b11127a9701975c734b8aee81ee3526", "sign_name": "Example",
        "templates": {"otp": {"id": "5"}}}"#,
    max_recipients: MOST,
    deadline: sms::DEADLINE,
};

/// The documented codes that sending can come back with.
const CODES: &[(i64, Verdict)] = &[
    // A parameter is missing or malformed; a word is blocked.
    (1, Verdict::Content),
    (2, Verdict::Content),
    (4, Verdict::Content),
    // No money; no such template, or not approved.
    (3, Verdict::Account),
    (5, Verdict::Content),
    (7, Verdict::Content),
    // The same to this number within 30 seconds; more than three times within five minutes.
    (8, Verdict::After(30)),
    (9, Verdict::After(300)),
    (10, Verdict::Recipient),
    // Marketing is paused by the networks.
    (13, Verdict::After(3_600)),
    (14, Verdict::Content),
    // The signature does not match; there is more than one.
    (15, Verdict::Account),
    (16, Verdict::Content),
    // Too many to this number in 24 hours; in one hour.
    (17, Verdict::After(3_600)),
    (22, Verdict::After(3_600)),
    (18, Verdict::Account),
    (19, Verdict::Account),
    // A country that is not served, or not by this template.
    (20, Verdict::Recipient),
    (23, Verdict::Recipient),
    (21, Verdict::Account),
    (25, Verdict::Content),
    (26, Verdict::Account),
    (27, Verdict::Account),
    // The number's network is not served.
    (28, Verdict::Recipient),
    // Wrong key; no right to the interface; address not allowed.
    (-1, Verdict::Account),
    (-2, Verdict::Account),
    (-3, Verdict::Account),
    // Too many calls; too fast.
    (-4, Verdict::Later),
    (-5, Verdict::Later),
    (-6, Verdict::Account),
    // "An unknown exception": nobody says what became of it.
    (-50, Verdict::Unknown),
    // Busy; not submitted.
    (-51, Verdict::Later),
    (-53, Verdict::Later),
    (-57, Verdict::Account),
];

fn verdict(code: i64) -> Verdict {
    CODES.iter().find(|(known, _)| *known == code).map_or(Verdict::Later, |(_, verdict)| *verdict)
}

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Yunpian)
}

#[derive(Debug)]
struct Yunpian;

#[derive(Debug)]
struct Account {
    client: Client,
    url: Url,
    apikey: Secret,
    templates: Templates,
    callback_url: Option<String>,
    callback_key: Option<Secret>,
}

impl Provider for Yunpian {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let timeout = reading.timeout(10_000, 20_000);
        let apikey = reading.needed_secret("apikey").cloned();
        let callback_url = reading.text("callback_url").map(str::to_owned);
        if callback_url.as_deref().is_some_and(|url| Url::parse(url).is_err()) {
            reading.wrong("callback_url", "must be a URL");
        }
        let callback_key = reading.secret("callback_key").cloned();
        let templates = Templates::read(&mut reading);
        let url = reading.endpoint("endpoint", "https://sms.yunpian.com");
        let (url, apikey) = reading.finish(url.zip(apikey))?;
        let client = sms::client(timeout)?;
        Ok(Arc::new(Account { client, url, apikey, templates, callback_url, callback_key }))
    }
}

/// What recipients of one request have in common.
#[derive(PartialEq)]
struct Ask {
    what: What,
    /// A number outside China stands alone ("Sending SMS": international numbers by single send only).
    abroad: Option<String>,
}

#[derive(PartialEq)]
enum What {
    Text(String),
    Template { id: String, value: String },
}

/// The result for one number, and the whole answer to a single send or to a refused request.
#[derive(Deserialize)]
struct Status {
    code: i64,
    #[serde(default)]
    msg: String,
    /// More words, where a request is refused.
    #[serde(default)]
    detail: String,
    #[serde(default)]
    mobile: String,
    sid: Option<serde_json::Number>,
    /// As how many messages it is charged, the price, and its currency (`RMB`).
    count: Option<u32>,
    fee: Option<serde_json::Number>,
    unit: Option<String>,
}

#[derive(Deserialize)]
struct Batch {
    data: Vec<Status>,
}

/// A template with its standing.
#[derive(Deserialize)]
struct Listed {
    tpl_id: u64,
    #[serde(default)]
    tpl_content: String,
    #[serde(default)]
    check_status: String,
}

#[derive(Deserialize)]
struct Report {
    sid: serde_json::Number,
    mobile: String,
    report_status: String,
    #[serde(default)]
    user_receive_time: Option<String>,
    #[serde(default)]
    error_msg: Option<String>,
    #[serde(default)]
    error_detail: Option<String>,
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        self.send_charged(call).await.into_iter().map(|charged| charged.outcome).collect()
    }

    async fn send_charged(&self, call: &Call) -> Vec<Charged> {
        let sorted = sms::groups(call, MOST, |target| self.ask_for(target));
        sms::run(sorted, sms::WINDOW, |group| self.submit(group, call.at)).await
    }

    async fn pull_receipts(&self, _: Option<&Secret>) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(self.pull().await)
    }

    async fn list_templates(
        &self,
        _: Time,
        _: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        Ok(self.listed().await)
    }

    fn read_callback(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(called_with_key(self.callback_key.as_ref(), headers).and_then(|()| pushed(body)))
    }

    fn callback_answer(&self) -> (&'static str, &'static str) {
        ("text/plain", "SUCCESS")
    }
}

impl Account {
    fn ask_for(&self, target: &Target) -> Result<(Ask, ()), Outcome> {
        let sms = Sms::read(&target.content)?;
        let what = match (self.templates.resolve(&sms), &sms.text) {
            (Some(template), _) => {
                let pairs = template.by_name("content").into_iter().map(|(name, value)| {
                    let name = format!("#{}#", name.trim_matches('#'));
                    format!("{}={}", encoded(&name), encoded(value.as_str().unwrap_or_default()))
                });
                What::Template { value: pairs.collect::<Vec<_>>().join("&"), id: template.id }
            }
            (None, text) => {
                let text = text.as_deref().unwrap_or_default();
                match self.templates.sign_name(&sms).filter(|_| !text.starts_with('【')) {
                    Some(sign_name) => What::Text(format!("【{sign_name}】{text}")),
                    None => What::Text(text.to_owned()),
                }
            }
        };
        let abroad = domestic(&target.to).is_none().then(|| target.to.clone());
        Ok((Ask { what, abroad }, ()))
    }

    async fn submit(&self, group: Group<'_, Ask>, at: Time) -> Vec<Charged> {
        let numbers: Vec<_> = group.targets.iter().map(|target| domestic(&target.to).unwrap_or(&target.to)).collect();
        let many = numbers.len() > 1;
        let mobile = numbers.join(",");
        let mut fields = vec![("mobile", mobile.as_str())];
        let path = match (&group.key.what, many) {
            (What::Text(text), _) => {
                fields.push(("text", text));
                if many { "/v2/sms/batch_send.json" } else { "/v2/sms/single_send.json" }
            }
            (What::Template { id, value }, _) => {
                fields.extend([("tpl_id", id.as_str()), ("tpl_value", value.as_str())]);
                if many { "/v2/sms/tpl_batch_send.json" } else { "/v2/sms/tpl_single_send.json" }
            }
        };
        fields.extend(self.callback_url.as_deref().map(|url| ("callback_url", url)));
        let outcomes = match self.request(path, &fields).await {
            Ok(answer) => judge(&answer, at, &numbers),
            Err(failure) => vec![Outcome::from(failure).into(); numbers.len()],
        };
        let secrets = || std::iter::once(&self.apikey).chain(&self.callback_key);
        let clean = |charged: Charged| Charged { outcome: without(charged.outcome, secrets()), ..charged };
        outcomes.into_iter().map(clean).collect()
    }

    async fn request(&self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, Failure> {
        let headers = sms::headers([
            ("accept", "application/json;charset=utf-8"),
            ("content-type", "application/x-www-form-urlencoded;charset=utf-8"),
        ]);
        self.client.call(Method::POST, sms::under(&self.url, path), headers, self.form(fields)).await
    }

    fn form(&self, fields: &[(&str, &str)]) -> Bytes {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("apikey", self.apikey.expose()).extend_pairs(fields);
        Bytes::from(form.finish())
    }

    async fn pull(&self) -> Result<Vec<Receipt>, Reason> {
        let reports: Vec<Report> = self.rows("/v2/sms/pull_status.json", &[("page_size", "100")]).await?;
        Ok(reports.into_iter().map(Report::receipt).collect())
    }

    /// The approved templates ("tpl/get"); all of them come at once.
    async fn listed(&self) -> Result<Vec<VendorTemplate>, Reason> {
        let all: Vec<Listed> = self.rows("/v2/tpl/get.json", &[]).await?;
        let approved = all.into_iter().filter(|one| one.check_status == "SUCCESS");
        let shown = |one: Listed| VendorTemplate {
            id: one.tpl_id.to_string(),
            // The vendor gives templates no titles.
            title: String::new(),
            content: one.tpl_content,
            example: String::new(),
        };
        Ok(approved.map(shown).collect())
    }

    /// The list that the vendor answers with.
    async fn rows<T: DeserializeOwned>(&self, path: &str, fields: &[(&str, &str)]) -> Result<Vec<T>, Reason> {
        let answer = self.request(path, fields).await;
        let answer = answer.map_err(|failure| Reason::new("connection", failure.to_string()))?;
        if let Ok(rows) = answer.json::<Vec<T>>() {
            return Ok(rows);
        }
        // The vendor's own SDK takes one row without a list around it, too.
        if let Ok(row) = answer.json::<T>() {
            return Ok(vec![row]);
        }
        match answer.json::<Status>() {
            Ok(fault) => Err(Reason::new(
                format!("code_{}", fault.code),
                format!("{} {}", fault.msg, fault.detail).replace(self.apikey.expose(), "***"),
            )),
            Err(_) => Err(Reason::new(format!("http_{}", answer.status), "the answer is not the vendor's")),
        }
    }
}

fn judge(answer: &Answer, at: Time, numbers: &[&str]) -> Vec<Charged> {
    if let Ok(batch) = answer.json::<Batch>() {
        let find = |number: &&str| batch.data.iter().find(|status| status.mobile == **number);
        let unnamed = || Outcome::unknown("answer", "the answer does not name this number").into();
        return numbers.iter().map(|number| find(number).map_or_else(unnamed, Status::charged)).collect();
    }
    let outcome = match answer.json::<Status>() {
        // A yes to one, where many were asked for, is not understood.
        Ok(status) if status.code == 0 && numbers.len() > 1 => Outcome::unknown("answer", words(answer)).into(),
        Ok(status) => status.charged(),
        Err(_) if answer.is_success() => Outcome::unknown("answer", words(answer)).into(),
        Err(_) => outcome_of_api(answer, at).into(),
    };
    vec![outcome; numbers.len()]
}

impl Status {
    /// The outcome with what the vendor charges; its own currency is called `RMB`.
    fn charged(&self) -> Charged {
        let taken = self.code == 0;
        let currency = self.unit.as_deref().map(|unit| if unit == "RMB" { "CNY" } else { unit }.to_owned());
        let micros = self.fee.as_ref().and_then(|fee| Charge::micros_of(&fee.to_string()));
        let charge = Charge { segments: self.count, micros, currency: currency.filter(|_| micros.is_some()) };
        Charged { outcome: self.outcome(), charge: charge.some().filter(|_| taken) }
    }

    fn outcome(&self) -> Outcome {
        if self.code == 0 {
            return Outcome::Delivered { provider_id: self.sid.as_ref().map(ToString::to_string) };
        }
        let words = if self.detail.is_empty() { &self.msg } else { &self.detail };
        judged(verdict(self.code), &format!("code_{}", self.code), words)
    }
}

impl Report {
    fn receipt(self) -> Receipt {
        let received = self.report_status == "SUCCESS";
        let code = self.error_msg.filter(|code| !code.is_empty()).unwrap_or(self.report_status);
        Receipt {
            to: Some(phone_of("", &self.mobile)),
            reason: (!received).then(|| Reason::new(code, self.error_detail.unwrap_or_default())),
            at: self.user_receive_time.as_deref().and_then(china_time),
            ..Receipt::new(self.sid.to_string(), mark(received))
        }
    }
}

/// Receipts in a form's field `sms_status`; some are encoded twice ("推送状态报告").
fn pushed(body: &[u8]) -> Result<Vec<Receipt>, Reason> {
    let bad = |words: &str| Reason::new("callback_body", words);
    let field = form_urlencoded::parse(body).find(|(name, _)| name == "sms_status");
    let (_, text) = field.ok_or_else(|| bad("there is no sms_status"))?;
    let again = percent_encoding::percent_decode_str(&text).decode_utf8_lossy();
    let text = if text.trim_start().starts_with('[') { &text } else { &again };
    let reports: Vec<Report> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    Ok(reports.into_iter().map(Report::receipt).collect())
}

#[cfg(test)]
#[path = "../provider_tests/sms_yunpian.rs"]
pub(super) mod tests;
