//! `alipay_mini`: sends template messages of an Alipay mini program. Requests are signed, answers verified.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings_contract::{
    Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Reason, Secret, Settings, Target, Time, Unsupported,
    VendorTemplate,
};
use url::form_urlencoded;

use crate::SandboxInbox;
use crate::catalog::wechat::ALIPAY_FIELDS;
use crate::http::{Answer, Failure, HeaderMap, HeaderValue, Method, each, header};
use crate::json_api::Class::{Account as Ours, After, Content, Later, Recipient, Unknown};
use crate::json_api::{Api, ApiSettings, Codes, DEADLINE, ENDPOINT, TIMEOUT, needed, needed_secret, read, refused};
use crate::keypairs::{RsaKey, RsaPublicKey};
use crate::message::fields;
use crate::reading::Reading;
use crate::status::words;
use crate::wechat::template_data;

const SEND: &str = "alipay.open.app.mini.templatemessage.send";
const LIST: &str = "alipay.open.mini.templatemessage.usertemplate.query";

static INFO: ProviderInfo = ProviderInfo {
    name: "alipay_mini",
    channel: "alipay_mini",
    doc: "Sends template messages of an Alipay mini program.",
    source: "Alipay open platform: alipay.open.app.mini.templatemessage.send; \
             alipay.open.mini.templatemessage.usertemplate.query; Signing requests by yourself; Verifying answers by \
             yourself; Common error codes",
    settings: &[
        needed("app_id", "The application's id."),
        needed_secret("private_key", "The application's private key, PKCS #8 or PKCS #1, as PEM or base64."),
        needed("alipay_public_key", "Alipay's public key for this application, as PEM or base64."),
        ENDPOINT,
        TIMEOUT,
    ],
    example: EXAMPLE,
    max_recipients: 1,
    deadline: DEADLINE,
};

/// With the published key of RFC 7515 A.2, since an account is opened with a real key only.
const EXAMPLE: &str = "{\"app_id\": \"2014072300007148\", \"private_key\": \"\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXOjS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSX\
    xbbqY913EeZ8dCn5VrD7io8ImtxLaYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNnjuygxmj3\
    AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKj\
    lnAqH2QbgtPr8jkiGUkftoaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHgVFbK5emhAgMBAAEC\
    ggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe\
    46sui395IW/GO+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M/V51gfpRLI9JYanr\
    C4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneuf\
    uBiB4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0KpLttoLhyt3SmqdEf/kgHePDdtzEafpAu\
    +cS191R2JiuoF2yzWXnwFDcqGigp5BNr0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqElMGA\
    g+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7\
    vMVgePsLq6XtON4tB5kP9jAPrq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNwkgMTP1FZ1wKB\
    gAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgw\
    o59dkpN75gJLVds29+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/evpitUf+4JYbLpvNXWcY\
    052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcGyoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+\
    CCoRjaZjOYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd+DlcxyVuuM9s\
    QLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\
    03k2+ZQwVK0JKSHuLFkuQ3U=\", \
    \"alipay_public_key\": \"\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPd\
    dxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7\
    OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9k\
    G4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB\"}";

/// The gateway's codes ("Common error codes"), and the ones of the call below 40004 (the vendor's help pages on
/// alipay.open.app.mini.templatemessage.send, one a code). After 20000 nobody knows: the service may have done it.
const CODES: Codes<&str> = Codes {
    prefix: "alipay",
    classes: &[
        (Unknown, &["20000", "isp.unknow-error", "aop.unknow-error", "aop.ACQ.SYSTEM_ERROR"]),
        (Later, &["SYSTEM_ERROR", "SYSTEM_BUSY"]),
        (After(60_000), &["40005", "isv.app-call-limited", "isv.method-call-limited"]),
        (
            Recipient,
            &[
                "TRADE_NO_NOT_MATCH_USERID",
                // No page of the vendor's was found that lists these.
                "USER_NOT_EXIST",
                "USER_NOT_SUBSCRIBE",
                "FORM_ID_NOT_MATCH_USERID",
            ],
        ),
        (
            Content,
            &[
                "40001",
                "40002",
                "INVALID_PARAMETER",
                "isv.invalid-parameter",
                "isv.missing-parameter",
                "isv.parameter-illegal",
                "USER_TEMPLATE_ILLEGAL",
                "USER_TEMPLATE_LACK_KEYWORD",
                "USER_KEYWORD_LENGTH_ERROR",
                "FORM_ID_OVER_TIME",
                "FORM_ID_NOT_MATCH_APPID",
                // No page of the vendor's was found that lists these.
                "FORM_ID_ILLEGAL",
                "FORM_ID_USE_OVER_TIMES",
            ],
        ),
        (
            Ours,
            &[
                "20001",
                "40003",
                "40006",
                "aop.invalid-auth-token",
                "aop.auth-token-time-out",
                "aop.invalid-app-auth-token",
                "aop.invalid-app-auth-token-no-api",
                "aop.app-auth-token-time-out",
                "aop.no-product-reg-by-partner",
                "isv.insufficient-isv-permissions",
                "isv.insufficient-user-permissions",
                "isv.invalid-app-id",
                "isv.invalid-signature",
                "isv.invalid-signature-type",
                "isv.missing-signature",
                "isv.missing-signature-type",
                "isv.missing-signature-key",
                "isv.missing-app-id",
                "isv.invalid-timestamp",
                "isv.missing-timestamp",
                "isv.missing-version",
                "isv.missing-method",
                "isv.invalid-method",
                "isv.decryption-error-not-valid-encrypt-key",
                "isv.suspecious-attack",
                "isv.cert-info-lost",
                "APP_ILLEGAL",
                "NO_PERMISSION",
            ],
        ),
    ],
    other: Later,
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(AlipayMini)
}

#[derive(Debug)]
struct AlipayMini;

#[derive(Debug)]
struct Account {
    api: Api,
    app_id: String,
    key: RsaKey,
    alipay: RsaPublicKey,
}

impl Provider for AlipayMini {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let app_id = reading.needed_text("app_id").to_owned();
        let secret = reading.needed_secret("private_key").cloned();
        let key = secret.as_ref().and_then(RsaKey::read);
        let key = reading.known("private_key", "must be an RSA key of 2,048 bits or more, PEM or base64", key);
        let alipay = RsaPublicKey::read(reading.needed_text("alipay_public_key"));
        let alipay = reading.known("alipay_public_key", "must be Alipay's public RSA key, PEM or base64", alipay);
        let api = ApiSettings::read(&mut reading, "https://openapi.alipay.com");
        let ((key, alipay), (api, secret)) = reading.finish(key.zip(alipay).zip(api.zip(secret)))?;
        Ok(Arc::new(Account { api: api.open([&secret])?, app_id, key, alipay }))
    }
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        each(call, |target| self.one(call.at, target)).await
    }

    async fn list_templates(
        &self,
        at: Time,
        _: Option<&Secret>,
    ) -> Result<Result<Vec<VendorTemplate>, Reason>, Unsupported> {
        let mut templates = Vec::new();
        // Every page, as long as pages are full; a hundred of them at most.
        for page in 1..=100_u32 {
            let sent = self.call(at, LIST, &json!({"page_num": page, "page_size": PAGE})).await;
            match self.api.settle_as(sent, None, |answer| self.accept::<Listing>(answer, at, LIST)) {
                Ok(listing) => {
                    let rows = rows(&listing.user_template_list, "user_template_info");
                    let full = rows.len() == PAGE;
                    templates.extend(rows.iter().map(shown));
                    if !full {
                        break;
                    }
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(templates))
    }
}

/// Templates that are asked for at once.
const PAGE: usize = 20;

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    user_template_list: Value,
}

/// The rows of a list, which the gateway gives as a list or as an object around one.
fn rows<'a>(list: &'a Value, name: &str) -> &'a [Value] {
    list.as_array().or_else(|| list.get(name)?.as_array()).map_or(&[], Vec::as_slice)
}

/// The vendor lists the keywords instead of a text: name and a sample of each.
fn shown(template: &Value) -> VendorTemplate {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut content, mut example) = (Vec::new(), Vec::new());
    for (at, word) in rows(&template["keyword_list"], "user_template_keyword").iter().enumerate() {
        let name = text(word, "keyword_name");
        content.push(format!("{name}:{{{{keyword{}.DATA}}}}", at + 1));
        example.push(format!("{name}:{}", text(word, "keyword_sample")));
    }
    VendorTemplate {
        id: text(template, "user_template_id"),
        title: text(template, "template_name"),
        content: content.join("\n"),
        example: example.join("\n"),
    }
}

/// What every answer holds.
#[derive(Deserialize)]
struct Said {
    code: String,
    #[serde(default)]
    msg: String,
    sub_code: Option<String>,
    sub_msg: Option<String>,
}

impl Account {
    async fn one(&self, at: Time, target: &Target) -> Outcome {
        let content = match content(target) {
            Ok(content) => content,
            Err(detail) => return refused(detail),
        };
        let sent = self.call(at, SEND, &content).await;
        self.api.settle(sent, None, |answer| match self.accept::<Value>(answer, at, SEND) {
            Ok(_) => Outcome::Delivered { provider_id: None },
            Err(outcome) => outcome,
        })
    }

    /// Makes a signed call. The parameters stand in the query and the content in the body, as in the vendor's own kits.
    async fn call(&self, at: Time, method: &str, content: &Value) -> Result<Answer, Failure> {
        let time = beijing(at);
        let content = content.to_string();
        let mut query = vec![
            ("app_id", self.app_id.as_str()),
            ("charset", "utf-8"),
            ("format", "json"),
            ("method", method),
            ("sign_type", "RSA2"),
            ("timestamp", time.as_str()),
            ("version", "1.0"),
        ];
        let sign = STANDARD.encode(self.key.sign(to_sign(&query, &content).as_bytes()).unwrap_or_default());
        query.push(("sign", sign.as_str()));
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("biz_content", &content).finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded;charset=utf-8");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        self.api.call(Method::POST, self.api.url("/gateway.do", &query), headers, Bytes::from(body)).await
    }

    /// Reads an answer that says yes, and whose signature is Alipay's.
    ///
    /// A no needs no signature: the gateway does not sign its answer to a request that it could not read.
    ///
    /// # Errors
    /// The outcome of a no; unknown for a yes that is not signed by Alipay.
    fn accept<T: DeserializeOwned>(&self, answer: &Answer, at: Time, method: &str) -> Result<T, Outcome> {
        let parts: BTreeMap<String, Box<RawValue>> = read(answer, at)?;
        let node = parts.get(&format!("{}_response", method.replace('.', "_"))).or(parts.get("error_response"));
        let unknown = || Outcome::unknown("answer", words(answer));
        let node = node.ok_or_else(unknown)?.get();
        let said: Said = serde_json::from_str(node).map_err(|_| unknown())?;
        if said.code != "10000" {
            return Err(refusal(&said));
        }
        let sign = parts.get("sign").and_then(|sign| serde_json::from_str::<String>(sign.get()).ok());
        let sign = sign.and_then(|sign| STANDARD.decode(sign).ok()).unwrap_or_default();
        if !self.alipay.verifies(node.as_bytes(), &sign) {
            return Err(Outcome::unknown("signature", "the answer is not signed by Alipay"));
        }
        serde_json::from_str(node).map_err(|_| unknown())
    }
}

/// The finer code where it is known, else the coarse one.
fn refusal(said: &Said) -> Outcome {
    let words = format!("{}: {}", said.msg, said.sub_msg.as_deref().unwrap_or_default());
    match said.sub_code.as_deref() {
        Some(code) if said.code == "40004" || CODES.class(code) != CODES.other => CODES.outcome(code, &words),
        _ => CODES.outcome(said.code.as_str(), &words),
    }
}

/// `name=value` of all parameters that are not empty, sorted by name and joined by `&`.
fn to_sign(query: &[(&str, &str)], content: &str) -> String {
    let mut pairs: Vec<_> = query.iter().copied().chain([("biz_content", content)]).collect();
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// `2014-07-24 03:07:50` in Beijing, as the gateway wants it.
fn beijing(at: Time) -> String {
    let timestamp = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    timestamp.to_zoned(TimeZone::fixed(Offset::constant(8))).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The call's content out of ours. A user id begins with 2088; anything else is an open id.
fn content(target: &Target) -> Result<Value, String> {
    let mut body = fields(ALIPAY_FIELDS, &target.content, "")?;
    body["data"] = template_data(&body["data"])?.to_string().into();
    let user = target.to.len() == 16 && target.to.starts_with("2088");
    body.insert(if user { "to_user_id" } else { "to_open_id" }.to_owned(), target.to.as_str().into());
    Ok(body.into())
}

#[cfg(test)]
#[path = "../provider_tests/alipay_mini.rs"]
pub(super) mod tests;
