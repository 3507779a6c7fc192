//! The suppliers of notices: APNs, FCM and GeTui. Addresses in the clear are spoken to in HTTP/1.1, APNs' too.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::ask::{Ask, Reply, Taken, mark_in, needs, text, texts};

/// APNs: the answer has no body; its id is the one that the request asked for, as Apple's pages say.
pub(super) fn apns(ask: &Ask<'_>) -> Taken {
    let body = ask.json()?;
    let device = ask.path.strip_prefix("/3/device/").ok_or("there is no such path")?;
    needs(ask.bearer()?.split('.').count() == 3, "the token is not a JWT")?;
    needs(ask.header("apns-topic")? == ask.setting("topic"), "the topic is another's")?;
    needs(ask.header("apns-push-type")? == "alert", "it is not an alert")?;
    needs(body["aps"]["alert"].is_object(), "there is no alert")?;
    let id = ask.headers.get("apns-id").and_then(|id| id.to_str().ok());
    let id = id.map_or_else(|| ask.id("eabeae54-14a8-11e5-b60b-"), str::to_owned);
    let given = ask.give_all(&[device.to_owned()], &id)?;
    Ok(Reply { status: 200, headers: vec![("apns-id", id)], body: String::new(), given })
}

/// FCM: the token for a signed claim, and one device a call.
pub(super) fn fcm(ask: &Ask<'_>) -> Taken {
    if ask.path == "/token" {
        let form = ask.form()?;
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        needs(field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer", "it is another kind of grant")?;
        needs(field("assertion").split('.').count() == 3, "the assertion is not a JWT")?;
        let given = json!({"access_token": ask.new_token(), "expires_in": 3_599, "token_type": "Bearer"});
        return Ok(Reply::json(&given, Vec::new()));
    }
    ask.at("/v1/projects/shop-1/messages:send")?;
    ask.knows(ask.bearer()?)?;
    let message = ask.json()?["message"].take();
    needs(message["notification"].is_object(), "there is no notification")?;
    let name = ask.id("projects/shop-1/messages/0:");
    let given = ask.give_all(&[text(&message, "token")?], &name)?;
    Ok(Reply::json(&json!({"name": name}), given))
}

/// GeTui: the token, one client id or a batch of them.
pub(super) fn getui(ask: &Ask<'_>) -> Taken {
    let body = ask.json()?;
    let path = ask.path.strip_prefix(&format!("/v2/{}", ask.setting("app_id"))).ok_or("the app is another's")?;
    let messages = match path {
        "/auth" => return auth(ask, &body),
        "/push/single/cid" => vec![body],
        "/push/single/batch/cid" => body["msg_list"].as_array().cloned().ok_or("msg_list is missing")?,
        other => return Err(format!("there is no {other}")),
    };
    ask.knows(ask.header("token")?)?;
    let (mut given, mut results) = (Vec::new(), Map::new());
    for message in &messages {
        needs(message["push_message"]["notification"].is_object(), "there is no notification")?;
        let mark = mark_in(&message.to_string())?;
        for cid in texts(&message["audience"]["cid"])? {
            let id = ask.id("RASS_");
            results.insert(id.clone(), json!({&cid: "successed_online"}));
            given.push(ask.give(&cid, &mark, Some(id)));
        }
    }
    Ok(Reply::json(&json!({"code": 0, "msg": "success", "data": results}), given))
}

/// The token, for the hash of key, time and secret; the vendor tells the moment at which it ends.
fn auth(ask: &Ask<'_>, body: &Value) -> Taken {
    let time = text(body, "timestamp")?;
    let digest = Sha256::digest(format!("{}{time}{}", ask.setting("app_key"), ask.setting("master_secret")));
    let sign: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    needs(text(body, "sign")? == sign, "the signature is wrong")?;
    let ends = time.parse::<u64>().map_err(|_| "the time is not a number")? + 86_400_000;
    let data = json!({"token": ask.new_token(), "expire_time": ends.to_string()});
    Ok(Reply::json(&json!({"code": 0, "msg": "success", "data": data}), Vec::new()))
}
