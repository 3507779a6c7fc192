//! The suppliers of text messages, and the one that is described by a document.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Given;
use super::ask::{Ask, Reply, Taken, mark_in, needs, text, texts};

/// Tencent Cloud: SendSms; and PullSmsSendStatus, which never has anything new.
pub(super) fn tencent(ask: &Ask<'_>) -> Taken {
    let body = ask.json()?;
    let signed = format!("TC3-HMAC-SHA256 Credential={}/", ask.setting("secret_id"));
    needs(ask.header("authorization")?.starts_with(&signed), "the signature is missing")?;
    needs(text(&body, "SmsSdkAppId")? == ask.setting("sdk_app_id"), "the application is another's")?;
    if ask.header("x-tc-action")? == "PullSmsSendStatus" {
        let nothing = json!({"Response": {"PullSmsSendStatusSet": [], "RequestId": ask.id("r-")}});
        return Ok(Reply::json(&nothing, Vec::new()));
    }
    needs(ask.header("x-tc-action")? == "SendSms", "it is not SendSms")?;
    let mark = ask.mark()?;
    let numbers = texts(&body["PhoneNumberSet"])?;
    let given: Vec<_> = numbers.iter().map(|to| ask.give(to, &mark, Some(ask.id("5000:")))).collect();
    let status = |one: &Given| {
        json!({"SerialNo": one.id, "PhoneNumber": one.to, "Fee": 1, "SessionContext": "", "Code": "Ok",
            "Message": "send success", "IsoCode": "CN"})
    };
    let statuses: Vec<_> = given.iter().map(status).collect();
    Ok(Reply::json(&json!({"Response": {"SendStatusSet": statuses, "RequestId": ask.id("r-")}}), given))
}

/// Alibaba Cloud: SendSms and SendBatchSms. All recipients of a call share its id.
pub(super) fn aliyun(ask: &Ask<'_>) -> Taken {
    needs(ask.method == "POST", "it is not a POST")?;
    let signed = format!("ACS3-HMAC-SHA256 Credential={}", ask.setting("access_key_id"));
    needs(ask.header("authorization")?.starts_with(&signed), "the signature is missing")?;
    let id = ask.id("9006");
    let given = match ask.header("x-acs-action")? {
        "SendSms" => {
            let numbers: Vec<_> = ask.param("PhoneNumbers")?.split(',').map(str::to_owned).collect();
            ask.give_all(&numbers, &id)?
        }
        "SendBatchSms" => {
            let list = |name: &str| -> Result<Vec<Value>, String> {
                serde_json::from_str(&ask.param(name)?).map_err(|error| format!("{name}: {error}"))
            };
            let (numbers, params) = (list("PhoneNumberJson")?, list("TemplateParamJson")?);
            needs(numbers.len() == params.len(), "there are not as many parameters as numbers")?;
            let each = numbers.iter().zip(&params).map(|(to, params)| {
                let mark = mark_in(&params.to_string())?;
                Ok(ask.give(to.as_str().unwrap_or_default(), &mark, Some(id.clone())))
            });
            each.collect::<Result<_, String>>()?
        }
        other => return Err(format!("there is no {other}")),
    };
    Ok(Reply::json(&json!({"Code": "OK", "Message": "OK", "RequestId": ask.id("R-"), "BizId": id}), given))
}

/// Yunpian: one number or many, a text or a template; and receipts, of which there are never new ones.
pub(super) fn yunpian(ask: &Ask<'_>) -> Taken {
    let form = ask.form()?;
    let field = |name: &str| form.get(name).map(String::as_str).ok_or_else(|| format!("{name} is missing"));
    needs(field("apikey")? == ask.setting("apikey"), "the key is another's")?;
    if ask.path == "/v2/sms/pull_status.json" {
        return Ok(Reply::json(&json!([]), Vec::new()));
    }
    let mark = ask.mark()?;
    let numbers: Vec<_> = field("mobile")?.split(',').collect();
    let (what, many) = match ask.path {
        "/v2/sms/single_send.json" => ("text", false),
        "/v2/sms/batch_send.json" => ("text", true),
        "/v2/sms/tpl_single_send.json" => ("tpl_id", false),
        "/v2/sms/tpl_batch_send.json" => ("tpl_id", true),
        other => return Err(format!("there is no {other}")),
    };
    field(what)?;
    needs(many || numbers.len() == 1, "one number is sent to at a time here")?;
    let mut given = Vec::new();
    let mut lines = Vec::new();
    for to in numbers {
        let sid = ask.desk.next();
        lines.push(
            json!({"code": 0, "msg": "发送成功", "count": 1, "fee": 0.05, "unit": "RMB", "mobile": to, "sid": sid}),
        );
        given.push(ask.give(to, &mark, Some(sid.to_string())));
    }
    let body = if many { json!({"total_count": lines.len(), "data": lines}) } else { lines.remove(0) };
    Ok(Reply::json(&body, given))
}

/// LinTong: many numbers, each with its own text.
pub(super) fn lintong(ask: &Ask<'_>) -> Taken {
    let body = ask.json()?;
    needs(text(&body, "userName")? == ask.setting("user_name"), "the user is another")?;
    needs(text(&body, "sign")?.len() == 32, "the signature is not an MD5")?;
    let given = each(ask, &body["messageList"], "phone", "LT")?;
    let status = |one: &Given| json!({"code": 0, "message": "ok", "msgId": one.id, "phone": one.to});
    let statuses: Vec<_> = given.iter().map(status).collect();
    Ok(Reply::json(&json!({"code": 0, "message": "ok", "data": statuses}), given))
}

/// The supplier that the definition in the account describes: signed, with a token, many numbers a call.
pub(super) fn described(ask: &Ask<'_>) -> Taken {
    if ask.path == "/token" {
        let form = ask.form()?;
        needs(form.get("key").map(String::as_str) == Some(ask.setting("secret")), "the secret is another's")?;
        return Ok(Reply::json(&json!({"access_token": ask.new_token(), "expires_in": 7_200}), Vec::new()));
    }
    ask.at("/send")?;
    ask.knows(ask.bearer()?)?;
    needs(ask.header("x-sign")?.len() == 64, "the signature is not an HMAC-SHA256")?;
    let given = each(ask, &ask.json()?["messages"], "to", "D-")?;
    let results: Vec<_> = given.iter().map(|one| json!({"to": one.to, "code": 0, "id": one.id})).collect();
    Ok(Reply::json(&json!({"results": results}), given))
}

/// What each row of a list is given; its recipient stands in `name`.
fn each(ask: &Ask<'_>, list: &Value, name: &str, before: &str) -> Result<Vec<Given>, String> {
    let rows = list.as_array().filter(|rows| !rows.is_empty()).ok_or("there is no list of messages")?;
    let row = |row: &Value| Ok(ask.give(&text(row, name)?, &mark_in(&row.to_string())?, Some(ask.id(before))));
    rows.iter().map(row).collect()
}

/// Twilio: Messages resource, one number a call.
pub(super) fn twilio(ask: &Ask<'_>) -> Taken {
    let sid = ask.setting("account_sid");
    ask.at(&format!("/2010-04-01/Accounts/{sid}/Messages.json"))?;
    let login = STANDARD.encode(format!("{sid}:{}", ask.setting("auth_token")));
    needs(ask.header("authorization")? == format!("Basic {login}"), "the login is wrong")?;
    let form = ask.form()?;
    let to = form.get("To").ok_or("To is missing")?;
    needs(form.contains_key("Body") || form.contains_key("ContentSid"), "there is nothing to say")?;
    let id = ask.id("SM");
    let body = json!({"sid": id, "to": to, "status": "queued", "error_code": null, "num_segments": "1"});
    Ok(Reply::json(&body, ask.give_all(std::slice::from_ref(to), &id)?).with_status(201))
}
