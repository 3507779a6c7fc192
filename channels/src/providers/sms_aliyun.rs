//! `sms/aliyun`: sends by Alibaba Cloud's SMS, up to 100 recipients a request, with one result for the whole request.
//!
//! Sources: Alibaba Cloud SMS API 2017-05-25, "SendSms", "SendBatchSms", "API错误码" (101346, 101347), "SmsReport"
//! (101867); the signature stands in `signing/acs3.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use tidings_contract::{
    Blame, Call, Channel, Charge, FieldError, Outcome, Provider, ProviderInfo, Reason, Receipt, Secret, Setting,
    Settings, Target, Time, Unsupported, VendorTemplate,
};

use crate::SandboxInbox;
use crate::http::{Answer, Failure, Method};
use crate::reading::Reading;
use crate::signing::{Acs3, sha256_hex};
use crate::sms::{self, Cloud, Group, Sms, Verdict, china_time, domestic, judged, mark, phone_of};
use crate::status::{outcome_of_api, words};

/// Most phone numbers in one request ("SendBatchSms"; "SendSms" would take 1,000 of one content).
const MOST: usize = 100;
const TEMPLATES: [Setting; 3] = sms::template_settings();

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/aliyun",
    channel: "sms",
    doc: "Sends text messages by Alibaba Cloud. It sends approved templates only. Vendor's limit: 5,000 requests a \
          second.",
    source: "Alibaba Cloud SMS API 2017-05-25: SendSms, SendBatchSms, SmsReport; V3 request structure and signature",
    settings: &[
        sms::plain("access_key_id", true, "The id of the access key."),
        sms::sealed("access_key_secret", true, "The access key."),
        TEMPLATES[0],
        TEMPLATES[1],
        TEMPLATES[2],
        sms::plain("text_param", false, "The name of the parameter that a content's text becomes; default content."),
        sms::plain(
            "endpoint",
            false,
            "The address; default https://dysmsapi.aliyuncs.com. https, except on this machine.",
        ),
        sms::TIMEOUT,
        sms::CALLBACK_KEY,
    ],
    example: r#"{"access_key_id": "LTAI0123456789", "access_key_secret": "secret", "sign_name": "Example",
        "templates": {"otp": {"id": "SMS_15255"}}}"#,
    max_recipients: MOST,
    deadline: sms::DEADLINE,
};

/// The documented codes that sending can come back with.
const CODES: &[(&str, Verdict)] = &[
    // "Please call again."
    ("isp.GATEWAY_ERROR", Verdict::Later),
    ("isp.RAM_PERMISSION_DENY", Verdict::Account),
    ("isp.SYSTEM_ERROR", Verdict::Later),
    ("isv.ACCOUNT_ABNORMAL", Verdict::Account),
    ("isv.ACCOUNT_NOT_EXISTS", Verdict::Account),
    ("isv.AMOUNT_NOT_ENOUGH", Verdict::Account),
    // The number is on the vendor's list of those who want no messages; it once meant a word of a parameter.
    ("isv.BLACK_KEY_CONTROL_LIMIT", Verdict::Recipient),
    // One a minute, five an hour, ten a day for one number and signature.
    ("isv.BUSINESS_LIMIT_CONTROL", Verdict::After(60)),
    // The number's owner refused. One result stands for all numbers of a request, so nobody counts as gone by it.
    ("isv.CUSTOMER_REFUSED", Verdict::Recipient),
    ("isv.DAY_LIMIT_CONTROL", Verdict::After(3_600)),
    ("isv.DENY_IP_RANGE", Verdict::Account),
    ("isv.DOMESTIC_NUMBER_NOT_SUPPORTED", Verdict::Recipient),
    ("isv.EXTEND_CODE_ERROR", Verdict::Account),
    ("isv.INVALID_JSON_PARAM", Verdict::Content),
    ("isv.INVALID_PARAMETERS", Verdict::Content),
    ("isv.MOBILE_COUNT_OVER_LIMIT", Verdict::Content),
    ("isv.MOBILE_NUMBER_ILLEGAL", Verdict::Recipient),
    ("isv.MONTH_LIMIT_CONTROL", Verdict::After(3_600)),
    ("isv.OUT_OF_SERVICE", Verdict::Account),
    ("isv.PARAM_LENGTH_LIMIT", Verdict::Content),
    ("isv.PARAM_NOT_SUPPORT_URL", Verdict::Content),
    ("isv.PRODUCT_UNSUBSCRIBE", Verdict::Account),
    ("isv.PRODUCT_UN_SUBSCRIPT", Verdict::Account),
    ("isv.SECURITY_FROZEN_ACCOUNT", Verdict::Account),
    ("isv.SIGNATURE_BLACKLIST", Verdict::Account),
    ("isv.SIGN_NAME_ILLEGAL", Verdict::Account),
    ("isv.SIGN_SOURCE_ILLEGAL", Verdict::Account),
    ("isv.SIGN_STATE_ILLEGAL", Verdict::Account),
    ("isv.SMS_CONTENT_ILLEGAL", Verdict::Content),
    ("isv.SMS_CONTENT_MISMATCH_TEMPLATE_TYPE", Verdict::Content),
    ("isv.SMS_SIGNATURE_ILLEGAL", Verdict::Account),
    ("isv.SMS_SIGNATURE_SCENE_ILLEGAL", Verdict::Account),
    ("isv.SMS_SIGN_ILLEGAL", Verdict::Account),
    ("isv.SMS_SIGN_NAME_ILLEGAL", Verdict::Account),
    ("isv.SMS_TEMPLATE_ILLEGAL", Verdict::Content),
    ("isv.TEMPLATE_MISSING_PARAMETERS", Verdict::Content),
    ("isv.TEMPLATE_PARAMS_ILLEGAL", Verdict::Content),
    ("isv.UNSUPPORTED_CONTENT", Verdict::Content),
    // The signature is not registered with the operators.
    ("PORT_NOT_REGISTERED", Verdict::Account),
    ("SIGNATURE_BLACKLIST", Verdict::Account),
    // Those of the gateway before every interface of the cloud.
    ("Forbidden.RAM", Verdict::Account),
    ("IncompleteSignature", Verdict::Account),
    ("InternalError", Verdict::Later),
    ("InvalidAccessKeyId.Inactive", Verdict::Account),
    ("InvalidAccessKeyId.NotFound", Verdict::Account),
    ("InvalidAction.NotFound", Verdict::Account),
    ("InvalidTimeStamp.Expired", Verdict::Account),
    ("InvalidVersion", Verdict::Account),
    ("MissingAccessKeyId", Verdict::Account),
    ("ServiceUnavailable", Verdict::Later),
    ("SignatureDoesNotMatch", Verdict::Account),
    ("SignatureNonceUsed", Verdict::Later),
    ("Throttling", Verdict::Later),
    ("Throttling.Api", Verdict::Later),
    ("Throttling.User", Verdict::Later),
];

fn verdict(code: &str) -> Verdict {
    CODES.iter().find(|(known, _)| *known == code).map_or(Verdict::Later, |(_, verdict)| *verdict)
}

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Aliyun)
}

#[derive(Debug)]
struct Aliyun;

#[derive(Debug)]
struct Account {
    cloud: Cloud,
    text_param: String,
}

impl Provider for Aliyun {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let text_param = reading.text("text_param").unwrap_or("content").to_owned();
        let cloud = Cloud::open(reading, ["access_key_id", "access_key_secret"], "https://dysmsapi.aliyuncs.com")?;
        Ok(Arc::new(Account { cloud, text_param }))
    }
}

/// What recipients of one request have in common. Templates for China and for elsewhere may not be mixed.
#[derive(PartialEq)]
struct Kind {
    template: String,
    china: bool,
}

/// What one recipient's message is filled with.
#[derive(Clone, PartialEq)]
struct Filled {
    sign_name: String,
    params: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    code: String,
    #[serde(default)]
    message: String,
    biz_id: Option<String>,
}

/// Templates of a page, and most pages.
const LISTED: usize = 50;
const MOST_PAGES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Templated {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    sms_template_list: Vec<Listed>,
}

/// A template with its standing.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    template_code: String,
    audit_status: String,
    #[serde(default)]
    template_name: String,
    #[serde(default)]
    template_content: String,
}

#[derive(Deserialize)]
struct Report {
    phone_number: String,
    #[serde(default)]
    report_time: String,
    success: bool,
    #[serde(default)]
    err_code: String,
    #[serde(default)]
    err_msg: String,
    biz_id: String,
    /// As how many messages it was counted.
    sms_size: Option<String>,
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let sorted = sms::groups(call, MOST, |target| self.filled(target));
        sms::run(sorted, sms::WINDOW, |group| self.submit(group, call.at)).await
    }

    async fn list_templates(
        &self,
        at: Time,
        _: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        Ok(self.listed(at).await)
    }

    fn read_callback(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(self.cloud.believes(headers).and_then(|()| reports(body)))
    }

    fn callback_answer(&self) -> (&'static str, &'static str) {
        ("application/json", r#"{"code": 0, "msg": "OK"}"#)
    }
}

impl Account {
    fn filled(&self, target: &Target) -> Result<(Kind, Filled), Outcome> {
        let sms = Sms::read(&target.content)?;
        let template = self.cloud.templates.needed(&sms)?;
        let Some(sign_name) = self.cloud.templates.sign_name(&sms).map(str::to_owned) else {
            return Err(Outcome::never(Blame::Account, "sign_name", "neither content nor account has a sign_name"));
        };
        let params = template.by_name(&self.text_param);
        Ok((Kind { template: template.id, china: domestic(&target.to).is_some() }, Filled { sign_name, params }))
    }

    async fn submit(&self, group: Group<'_, Kind, Filled>, at: Time) -> Vec<Outcome> {
        let count = group.targets.len();
        let outcome = match self.request(&group, at).await {
            Ok(answer) => judge(&answer, at),
            Err(failure) => failure.into(),
        };
        vec![self.cloud.clean(outcome); count]
    }

    /// The approved templates, page by page ("QuerySmsTemplateList").
    async fn listed(&self, at: Time) -> Result<Vec<VendorTemplate>, Reason> {
        let mut listed = Vec::new();
        for page in 1..=MOST_PAGES {
            let params = vec![("PageIndex", page.to_string()), ("PageSize", LISTED.to_string())];
            let nonce = sha256_hex(format!("templates {} {page} {}", self.cloud.key_id, at.0).as_bytes());
            let answer = self.ask("QuerySmsTemplateList", params, &nonce, at).await;
            let answer = answer.map_err(|failure| Reason::new("connection", failure.to_string()))?;
            let strange = |_| Reason::new(format!("http_{}", answer.status), "the answer is not the vendor's");
            let said: Templated = answer.json().map_err(strange)?;
            if said.code != "OK" {
                return Err(Reason::new(said.code, said.message.replace(self.cloud.key_secret.expose(), "***")));
            }
            let full = said.sms_template_list.len() >= LISTED;
            let approved = said.sms_template_list.into_iter().filter(|one| one.audit_status == "AUDIT_STATE_PASS");
            listed.extend(approved.map(|one| VendorTemplate {
                id: one.template_code,
                title: one.template_name,
                content: one.template_content,
                example: String::new(),
            }));
            if !full {
                break;
            }
        }
        Ok(listed)
    }

    async fn request(&self, group: &Group<'_, Kind, Filled>, at: Time) -> Result<Answer, Failure> {
        // An attempt at a delivery is made once, so that its name is a number used once.
        let first = group.targets[0];
        let nonce = sha256_hex(format!("{} {} {}", first.repeat_id(), first.attempt, at.0).as_bytes());
        let (action, params) = query(group);
        self.ask(action, params, &nonce, at).await
    }

    async fn ask(
        &self,
        action: &str,
        params: Vec<(&'static str, String)>,
        nonce: &str,
        at: Time,
    ) -> Result<Answer, Failure> {
        let host = sms::host_of(&self.cloud.url);
        let version = "2017-05-25";
        let request =
            Acs3 { host: &host, path: self.cloud.url.path(), action, version, nonce: &nonce[..32], at, params };
        let signed = request.sign(&self.cloud.key_id, &self.cloud.key_secret);
        let mut url = self.cloud.url.clone();
        url.set_query(Some(&signed.query));
        let headers = sms::headers(signed.headers.iter().map(|(name, value)| (*name, value.as_str())));
        self.cloud.client.call(Method::POST, url, headers, Bytes::new()).await
    }
}

/// One content for all is a `SendSms`; contents or signatures that differ are a `SendBatchSms`.
fn query(group: &Group<'_, Kind, Filled>) -> (&'static str, Vec<(&'static str, String)>) {
    let numbers = || group.targets.iter().map(|target| number(&target.to));
    let template = ("TemplateCode", group.key.template.clone());
    let first = &group.values[0];
    if group.values.iter().all(|filled| filled == first) {
        let mut params = vec![
            ("PhoneNumbers", numbers().collect::<Vec<_>>().join(",")),
            ("SignName", first.sign_name.clone()),
            template,
        ];
        if !first.params.is_empty() {
            params.push(("TemplateParam", Value::from(first.params.clone()).to_string()));
        }
        return ("SendSms", params);
    }
    let signs: Vec<_> = group.values.iter().map(|filled| filled.sign_name.as_str()).collect();
    let fillings: Vec<_> = group.values.iter().map(|filled| Value::from(filled.params.clone())).collect();
    let params = vec![
        ("PhoneNumberJson", Value::from(numbers().collect::<Vec<_>>()).to_string()),
        ("SignNameJson", Value::from(signs).to_string()),
        template,
        ("TemplateParamJson", Value::from(fillings).to_string()),
    ];
    ("SendBatchSms", params)
}

/// Numbers of China stand without their country, those of elsewhere with it, and none with a plus.
fn number(to: &str) -> &str {
    domestic(to).unwrap_or_else(|| to.trim_start_matches('+'))
}

fn judge(answer: &Answer, at: Time) -> Outcome {
    match answer.json::<Reply>() {
        Ok(reply) if reply.code == "OK" => Outcome::Delivered { provider_id: reply.biz_id },
        Ok(reply) => judged(verdict(&reply.code), &reply.code, &reply.message),
        Err(_) if answer.is_success() => Outcome::unknown("answer", words(answer)),
        Err(_) => outcome_of_api(answer, at),
    }
}

fn reports(body: &[u8]) -> Result<Vec<Receipt>, Reason> {
    let reports: Vec<Report> =
        serde_json::from_slice(body).map_err(|error| Reason::new("callback_body", error.to_string()))?;
    let read = |report: Report| Receipt {
        to: Some(phone_of("", &report.phone_number)),
        reason: (!report.success).then(|| Reason::new(report.err_code, report.err_msg)),
        at: china_time(&report.report_time),
        charge: report.sms_size.and_then(|size| size.parse().ok()).map(Charge::segments),
        ..Receipt::new(report.biz_id, mark(report.success))
    };
    Ok(reports.into_iter().map(read).collect())
}

#[cfg(test)]
#[path = "../provider_tests/sms_aliyun.rs"]
pub(super) mod tests;
