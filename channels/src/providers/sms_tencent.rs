//! `sms/tencent`: sends by Tencent Cloud's SMS, up to 200 recipients a request, with a result for each.
//!
//! Sources: Tencent Cloud SMS API 2021-01-11, "SendSms", "PullSmsSendStatus", "错误码" (382/59177, 382/38780),
//! "短信下发状态通知" (382/5807); the signature stands in `signing/tc3.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, Charge, Charged, FieldError, Outcome, Provider, ProviderInfo, Reason, Receipt, Secret, Setting,
    Settings, Target, Time, Unsupported, VendorTemplate,
};

use crate::SandboxInbox;
use crate::http::{Answer, Failure, Method};
use crate::reading::Reading;
use crate::signing::Tc3;
use crate::sms::{self, Cloud, Group, Sms, Verdict, china_time, domestic, judged, mark, phone_of};
use crate::status::{outcome_of_api, words};

/// Most phone numbers in one request ("SendSms").
const MOST: usize = 200;
/// Most receipts that one request gives ("PullSmsSendStatus").
const PULLED: u32 = 100;
const VERSION: &str = "2021-01-11";
const JSON: &str = "application/json; charset=utf-8";
const TEMPLATES: [Setting; 3] = sms::template_settings();

static INFO: ProviderInfo = ProviderInfo {
    name: "sms/tencent",
    channel: "sms",
    doc: "Sends text messages by Tencent Cloud. It sends approved templates only. Vendor's limit: 3,000 requests a \
          second.",
    source: "Tencent Cloud SMS API 2021-01-11: SendSms, PullSmsSendStatus; Signature v3; 短信下发状态通知",
    settings: &[
        sms::plain("secret_id", true, "The id of the API key."),
        sms::sealed("secret_key", true, "The API key."),
        sms::plain("sdk_app_id", true, "The SmsSdkAppId, such as 1400006666."),
        sms::plain("region", false, "The region; default ap-guangzhou."),
        TEMPLATES[0],
        TEMPLATES[1],
        TEMPLATES[2],
        sms::plain(
            "endpoint",
            false,
            "The address; default https://sms.tencentcloudapi.com. https, except on this machine.",
        ),
        sms::TIMEOUT,
        sms::CALLBACK_KEY,
    ],
    example: r#"{"secret_id": "AKID0123456789", "secret_key": "secret", "sdk_app_id": "1400006666",
        "sign_name": "Example", "templates": {"otp": {"id": "449739", "params": ["code"]}}}"#,
    max_recipients: MOST,
    deadline: sms::DEADLINE,
};

/// The documented codes that sending can come back with.
const CODES: &[(&str, Verdict)] = &[
    ("FailedOperation.ContainSensitiveWord", Verdict::Content),
    ("FailedOperation.FailResolvePacket", Verdict::Content),
    ("FailedOperation.InsufficientBalanceInSmsPackage", Verdict::Account),
    ("FailedOperation.JsonParseFail", Verdict::Content),
    // Marketing goes out between 8 and 22 o'clock only.
    ("FailedOperation.MarketingSendTimeConstraint", Verdict::After(3_600)),
    ("FailedOperation.MissingSignature", Verdict::Account),
    ("FailedOperation.NotEnterpriseCertification", Verdict::Account),
    ("FailedOperation.OtherError", Verdict::Later),
    ("FailedOperation.ParametersOtherError", Verdict::Content),
    ("FailedOperation.PhoneNumberInBlacklist", Verdict::Recipient),
    ("FailedOperation.PhoneNumberOnBlacklist", Verdict::Recipient),
    ("FailedOperation.SignatureIncorrectOrUnapproved", Verdict::Account),
    ("FailedOperation.TemplateIncorrectOrUnapproved", Verdict::Content),
    ("FailedOperation.TemplateParamSetNotMatchApprovedTemplate", Verdict::Content),
    ("FailedOperation.TemplateUnapprovedOrNotExist", Verdict::Content),
    ("InternalError.JsonParseFail", Verdict::Content),
    ("InternalError.OtherError", Verdict::Later),
    ("InternalError.RequestTimeException", Verdict::Account),
    ("InternalError.RestApiInterfaceNotExist", Verdict::Account),
    // The cloud did not hear from what stands behind it: the message may be on its way.
    ("InternalError.SendAndRecvFail", Verdict::Unknown),
    ("InternalError.SigFieldMissing", Verdict::Account),
    ("InternalError.SigVerificationFail", Verdict::Account),
    ("InternalError.Timeout", Verdict::Unknown),
    ("InternalError.UnknownError", Verdict::Unknown),
    ("InvalidParameter.AppidAndBizId", Verdict::Account),
    ("InvalidParameter.DirtyWordFound", Verdict::Content),
    ("InvalidParameter.InvalidParameters", Verdict::Content),
    ("InvalidParameterValue.ContentLengthLimit", Verdict::Content),
    ("InvalidParameterValue.IncorrectPhoneNumber", Verdict::Recipient),
    ("InvalidParameterValue.ProhibitedUseUrlInTemplateParameter", Verdict::Content),
    ("InvalidParameterValue.SdkAppIdNotExist", Verdict::Account),
    ("InvalidParameterValue.TemplateParameterFormatError", Verdict::Content),
    ("InvalidParameterValue.TemplateParameterLengthLimit", Verdict::Content),
    ("InvalidParameterValue.TemplateWithDirtyWords", Verdict::Content),
    ("LimitExceeded.AppDailyLimit", Verdict::After(3_600)),
    ("LimitExceeded.AppCountryOrRegionDailyLimit", Verdict::After(3_600)),
    ("LimitExceeded.DailyLimit", Verdict::After(3_600)),
    ("LimitExceeded.DeliveryFrequencyLimit", Verdict::After(30)),
    ("LimitExceeded.PhoneNumberCountLimit", Verdict::Content),
    ("LimitExceeded.PhoneNumberDailyLimit", Verdict::After(3_600)),
    ("LimitExceeded.PhoneNumberOneHourLimit", Verdict::After(3_600)),
    ("LimitExceeded.PhoneNumberSameContentDailyLimit", Verdict::After(3_600)),
    ("LimitExceeded.PhoneNumberThirtySecondLimit", Verdict::After(30)),
    ("MissingParameter.EmptyPhoneNumberSet", Verdict::Content),
    ("UnauthorizedOperation.IndividualUserMarketingSmsPermissionDeny", Verdict::Account),
    ("UnauthorizedOperation.RequestIpNotInWhitelist", Verdict::Account),
    ("UnauthorizedOperation.RequestPermissionDeny", Verdict::Account),
    ("UnauthorizedOperation.SdkAppIdIsDisabled", Verdict::Account),
    ("UnauthorizedOperation.SerivceSuspendDueToArrears", Verdict::Account),
    ("UnauthorizedOperation.SmsSdkAppIdVerifyFail", Verdict::Account),
    ("UnsupportedOperation.ContainDomesticAndInternationalPhoneNumber", Verdict::Content),
    ("UnsupportedOperation.UnsuportedRegion", Verdict::Recipient),
    // Those of every interface of the cloud.
    ("ActionOffline", Verdict::Account),
    ("AuthFailure.InvalidAuthorization", Verdict::Account),
    ("AuthFailure.InvalidSecretId", Verdict::Account),
    ("AuthFailure.SecretIdNotFound", Verdict::Account),
    ("AuthFailure.SignatureExpire", Verdict::Account),
    ("AuthFailure.SignatureFailure", Verdict::Account),
    ("AuthFailure.UnauthorizedOperation", Verdict::Account),
    ("FailedOperation", Verdict::Later),
    ("InternalError", Verdict::Later),
    ("InvalidAction", Verdict::Account),
    ("InvalidParameter", Verdict::Content),
    ("InvalidParameterValue", Verdict::Content),
    ("IpInBlacklist", Verdict::Account),
    ("IpNotInWhitelist", Verdict::Account),
    ("LimitExceeded", Verdict::Later),
    ("MissingParameter", Verdict::Content),
    ("NoSuchVersion", Verdict::Account),
    ("RequestLimitExceeded", Verdict::Later),
    ("ResourceUnavailable", Verdict::Later),
    ("ServiceUnavailable", Verdict::Later),
    ("UnauthorizedOperation", Verdict::Account),
    ("UnsupportedOperation", Verdict::Account),
    ("UnsupportedRegion", Verdict::Account),
];

/// The class of a code; of a new one that of its first part, and of one that is new altogether `Later`.
fn verdict(code: &str) -> Verdict {
    let first = code.split('.').next().unwrap_or_default();
    let known = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, verdict)| *verdict);
    let family = if first == "AuthFailure" { Some(Verdict::Account) } else { known(first) };
    known(code).or(family).unwrap_or(Verdict::Later)
}

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(Tencent)
}

#[derive(Debug)]
struct Tencent;

#[derive(Debug)]
struct Account {
    cloud: Cloud,
    app_id: String,
    region: String,
}

impl Provider for Tencent {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let app_id = reading.needed_text("sdk_app_id").to_owned();
        let region = reading.text("region").unwrap_or("ap-guangzhou").to_owned();
        let cloud = Cloud::open(reading, ["secret_id", "secret_key"], "https://sms.tencentcloudapi.com")?;
        Ok(Arc::new(Account { cloud, app_id, region }))
    }
}

/// What recipients of one request have in common. Numbers of China and of elsewhere may not be mixed.
#[derive(PartialEq)]
struct Ask {
    template: String,
    params: Vec<String>,
    sign_name: Option<String>,
    china: bool,
}

#[derive(Deserialize)]
struct Reply<T> {
    #[serde(rename = "Response")]
    response: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    error: Option<Fault>,
    send_status_set: Option<Vec<Status>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fault {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    #[serde(default)]
    serial_no: String,
    /// As how many messages it is charged.
    fee: Option<u32>,
    phone_number: String,
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pulled {
    pull_sms_send_status_set: Option<Vec<Report>>,
}

/// Templates of a page, and most pages.
const LISTED: usize = 100;
const MOST_PAGES: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    #[serde(default)]
    describe_template_status_set: Vec<Listed>,
}

/// A template with its standing: 0 is approved.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    template_id: u64,
    status_code: i64,
    #[serde(default)]
    template_name: String,
    #[serde(default)]
    template_content: String,
}

/// A receipt that was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    user_receive_time: Option<u64>,
    phone_number: String,
    serial_no: String,
    report_status: String,
    #[serde(default)]
    description: String,
}

/// A receipt that came by itself.
#[derive(Deserialize)]
struct Notice {
    #[serde(default)]
    user_receive_time: String,
    #[serde(default)]
    nationcode: String,
    mobile: String,
    report_status: String,
    #[serde(default)]
    errmsg: String,
    #[serde(default)]
    description: String,
    sid: String,
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

    async fn pull_receipts_at(
        &self,
        _: Option<&Secret>,
        at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(self.pull(at).await)
    }

    async fn list_templates(
        &self,
        at: Time,
        _: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        let mut listed = Vec::new();
        // Those for China, and those for elsewhere.
        for international in [0, 1] {
            match self.templates_of(international, at).await {
                Ok(templates) => listed.extend(templates),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(listed))
    }

    fn read_callback(
        &self,
        headers: &[(String, String)],
        body: &[u8],
        _at: Time,
    ) -> Result<Result<Vec<Receipt>, Reason>, Unsupported> {
        Ok(self.cloud.believes(headers).and_then(|()| notices(body)))
    }

    fn callback_answer(&self) -> (&'static str, &'static str) {
        ("application/json", r#"{"result": 0, "errmsg": "OK"}"#)
    }
}

impl Account {
    fn ask_for(&self, target: &Target) -> Result<(Ask, ()), Outcome> {
        let sms = Sms::read(&target.content)?;
        let template = self.cloud.templates.needed(&sms)?;
        let sign_name = self.cloud.templates.sign_name(&sms).map(str::to_owned);
        let params = template.in_order()?;
        Ok((Ask { template: template.id, params, sign_name, china: domestic(&target.to).is_some() }, ()))
    }

    async fn submit(&self, group: Group<'_, Ask>, at: Time) -> Vec<Charged> {
        let numbers: Vec<_> = group.targets.iter().map(|target| target.to.as_str()).collect();
        let mut body = json!({"PhoneNumberSet": numbers, "SmsSdkAppId": self.app_id, "TemplateId": group.key.template,
            "TemplateParamSet": group.key.params});
        if let Some(sign_name) = &group.key.sign_name {
            body["SignName"] = json!(sign_name);
        }
        let outcomes = match self.request("SendSms", &body, at).await {
            Ok(answer) => judge(&answer, at, &numbers),
            Err(failure) => vec![Outcome::from(failure).into(); numbers.len()],
        };
        let clean = |charged: Charged| Charged { outcome: self.cloud.clean(charged.outcome), ..charged };
        outcomes.into_iter().map(clean).collect()
    }

    async fn request(&self, action: &str, body: &Value, at: Time) -> Result<Answer, Failure> {
        let body = Bytes::from(body.to_string());
        let host = sms::host_of(&self.cloud.url);
        let request =
            Tc3 { service: "sms", host: &host, path: self.cloud.url.path(), content_type: JSON, body: &body, at };
        let authorization = request.authorization(&self.cloud.key_id, &self.cloud.key_secret);
        let headers = sms::headers([
            ("authorization", authorization.as_str()),
            ("content-type", JSON),
            ("x-tc-action", action),
            ("x-tc-region", &self.region),
            ("x-tc-timestamp", &(at.0 / 1_000).to_string()),
            ("x-tc-version", VERSION),
        ]);
        self.cloud.client.call(Method::POST, self.cloud.url.clone(), headers, body).await
    }

    /// All approved templates of one kind, page by page ("DescribeSmsTemplateList").
    async fn templates_of(&self, international: u8, at: Time) -> Result<Vec<VendorTemplate>, Reason> {
        let mut listed = Vec::new();
        for page in 0..MOST_PAGES {
            let body = json!({"International": international, "Limit": LISTED, "Offset": page * LISTED});
            let asked: Asked = self.asked("DescribeSmsTemplateList", &body, at).await?;
            let full = asked.describe_template_status_set.len() >= LISTED;
            let approved = asked.describe_template_status_set.into_iter().filter(|one| one.status_code == 0);
            listed.extend(approved.map(|one| VendorTemplate {
                id: one.template_id.to_string(),
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

    /// What the vendor answers to a question; a fault of its is the reason.
    async fn asked<T: DeserializeOwned>(&self, action: &str, body: &Value, at: Time) -> Result<T, Reason> {
        let answer = self.request(action, body, at).await;
        let answer = answer.map_err(|failure| Reason::new("connection", failure.to_string()))?;
        let strange = || Reason::new(format!("http_{}", answer.status), "the answer is not the vendor's");
        let reply: Reply<Value> = answer.json().map_err(|_| strange())?;
        if let Ok(Fault { code, message }) = serde_json::from_value(reply.response["Error"].clone()) {
            return Err(Reason::new(code, message.replace(self.cloud.key_secret.expose(), "***")));
        }
        serde_json::from_value(reply.response).map_err(|_| strange())
    }

    async fn pull(&self, at: Time) -> Result<Vec<Receipt>, Reason> {
        let body = json!({"Limit": PULLED, "SmsSdkAppId": self.app_id});
        let pulled: Pulled = self.asked("PullSmsSendStatus", &body, at).await?;
        Ok(pulled.pull_sms_send_status_set.unwrap_or_default().into_iter().map(Report::receipt).collect())
    }
}

fn judge(answer: &Answer, at: Time, numbers: &[&str]) -> Vec<Charged> {
    let whole = |outcome: Outcome| vec![Charged::from(outcome); numbers.len()];
    let sent = match answer.json::<Reply<Sent>>() {
        Ok(reply) => reply.response,
        Err(_) if answer.is_success() => return whole(Outcome::unknown("answer", words(answer))),
        Err(_) => return whole(outcome_of_api(answer, at)),
    };
    if let Some(Fault { code, message }) = sent.error {
        return whole(judged(verdict(&code), &code, &message));
    }
    let statuses = sent.send_status_set.unwrap_or_default();
    let one = |number: &&str| match statuses.iter().find(|status| status.phone_number == **number) {
        None => Outcome::unknown("answer", "the answer does not name this number").into(),
        Some(status) if status.code == "Ok" => Charged {
            outcome: Outcome::Delivered { provider_id: Some(status.serial_no.clone()) },
            charge: status.fee.map(Charge::segments),
        },
        Some(status) => judged(verdict(&status.code), &status.code, &status.message).into(),
    };
    numbers.iter().map(one).collect()
}

impl Report {
    fn receipt(self) -> Receipt {
        let received = self.report_status == "SUCCESS";
        Receipt {
            to: Some(phone_of("", &self.phone_number)),
            reason: (!received).then(|| Reason::new(self.report_status, self.description)),
            at: self
                .user_receive_time
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Time(seconds.saturating_mul(1_000))),
            ..Receipt::new(self.serial_no, mark(received))
        }
    }
}

fn notices(body: &[u8]) -> Result<Vec<Receipt>, Reason> {
    let notices: Vec<Notice> =
        serde_json::from_slice(body).map_err(|error| Reason::new("callback_body", error.to_string()))?;
    let read = |notice: Notice| {
        let received = notice.report_status == "SUCCESS";
        Receipt {
            to: Some(phone_of(&notice.nationcode, &notice.mobile)),
            reason: (!received).then(|| Reason::new(notice.errmsg, notice.description)),
            at: china_time(&notice.user_receive_time),
            ..Receipt::new(notice.sid, mark(received))
        }
    };
    Ok(notices.into_iter().map(read).collect())
}

#[cfg(test)]
#[path = "../provider_tests/sms_tencent.rs"]
pub(super) mod tests;
