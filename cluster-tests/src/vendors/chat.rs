//! The chats: DingTalk, Feishu, WeCom, Slack, Telegram, Discord, Teams, and the receiver of webhooks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::ask::{Ask, Reply, Taken, hmac_sha256, needs, text};
use super::files;
use crate::receiver::sign;

/// A robot of a DingTalk group: signed with secret and time. The vendor gives no id.
pub(super) fn dingtalk_robot(ask: &Ask<'_>) -> Taken {
    ask.at("/robot/send")?;
    let body = ask.json()?;
    needs(ask.param("access_token")? == ask.setting("access_token"), "the robot is another")?;
    let secret = ask.setting("secret");
    let signed = hmac_sha256(secret.as_bytes(), format!("{}\n{secret}", ask.param("timestamp")?).as_bytes());
    needs(ask.param("sign")? == STANDARD.encode(signed), "the signature is wrong")?;
    needs(body[text(&body, "msgtype")?].is_object(), "the message is missing")?;
    Ok(Reply::json(&json!({"errcode": 0, "errmsg": "ok"}), ask.give_robot()?))
}

/// Work notices of DingTalk, whose results nobody has read yet. All recipients of a call share its id.
pub(super) fn dingtalk_work(ask: &Ask<'_>) -> Taken {
    if ask.path == "/gettoken" {
        return get_token(ask, ["appkey", "app_key"], ["appsecret", "app_secret"]);
    }
    ask.knows(&ask.param("access_token")?)?;
    if ask.path == "/media/upload" {
        return files::media(ask, &ask.text_of_form("type")?);
    }
    let body = ask.json()?;
    if ask.path == "/topapi/message/corpconversation/getsendresult" {
        needs(body["task_id"].is_u64(), "task_id is missing")?;
        return Ok(Reply::json(&json!({"errcode": 0, "send_result": {}, "request_id": ask.id("r")}), Vec::new()));
    }
    ask.at("/topapi/message/corpconversation/asyncsend_v2")?;
    let message = &body["msg"];
    ask.knows_files(message)?;
    needs(message[text(message, "msgtype")?].is_object(), "the message is missing")?;
    let people: Vec<_> = text(&body, "userid_list")?.split(',').map(str::to_owned).collect();
    let id = ask.desk.next();
    let given = ask.give_all(&people, &id.to_string())?;
    Ok(Reply::json(&json!({"errcode": 0, "task_id": id, "request_id": ask.id("r")}), given))
}

/// A token for two settings in the address, as DingTalk and WeCom give it.
fn get_token(ask: &Ask<'_>, id: [&str; 2], secret: [&str; 2]) -> Taken {
    needs(ask.method == "GET", "it is not a GET")?;
    for [theirs, ours] in [id, secret] {
        needs(ask.param(theirs)? == ask.setting(ours), "the application is another's")?;
    }
    let given = json!({"errcode": 0, "errmsg": "ok", "access_token": ask.new_token(), "expires_in": 7_200});
    Ok(Reply::json(&given, Vec::new()))
}

/// A robot of a Feishu group: signed with secret and time, which change places. The vendor gives no id.
pub(super) fn feishu_robot(ask: &Ask<'_>) -> Taken {
    ask.at(&format!("/open-apis/bot/v2/hook/{}", ask.setting("hook")))?;
    let body = ask.json()?;
    let key = format!("{}\n{}", text(&body, "timestamp")?, ask.setting("secret"));
    needs(text(&body, "sign")? == STANDARD.encode(hmac_sha256(key.as_bytes(), b"")), "the signature is wrong")?;
    text(&body, "msg_type")?;
    needs(body["content"].is_object() || body["card"].is_object(), "the message is missing")?;
    let body = json!({"code": 0, "msg": "success", "data": {}, "StatusCode": 0, "StatusMessage": "success"});
    Ok(Reply::json(&body, ask.give_robot()?))
}

/// Messages of a Feishu application, whose content is a text that holds JSON.
pub(super) fn feishu_app(ask: &Ask<'_>) -> Taken {
    for (path, field) in [("/open-apis/im/v1/images", "image"), ("/open-apis/im/v1/files", "file")] {
        if ask.path == path {
            ask.knows(ask.bearer()?)?;
            return files::feishu(ask, field);
        }
    }
    let body = ask.json()?;
    if ask.path == "/open-apis/auth/v3/tenant_access_token/internal" {
        needs(text(&body, "app_secret")? == ask.setting("app_secret"), "the secret is another's")?;
        let given = json!({"code": 0, "msg": "ok", "tenant_access_token": ask.new_token(), "expire": 7_200});
        return Ok(Reply::json(&given, Vec::new()));
    }
    ask.at("/open-apis/im/v1/messages")?;
    ask.knows(ask.bearer()?)?;
    needs(ask.param("receive_id_type")? == "open_id", "it is another kind of id")?;
    text(&body, "msg_type")?;
    let content: Result<serde_json::Value, _> = serde_json::from_str(&text(&body, "content")?);
    let content = content.ok().filter(serde_json::Value::is_object).ok_or("content does not hold an object")?;
    ask.knows_files(&content)?;
    let id = ask.id("om_");
    let given = ask.give_all(&[text(&body, "receive_id")?], &id)?;
    Ok(Reply::json(&json!({"code": 0, "msg": "success", "data": {"message_id": id}}), given))
}

/// A robot of a WeCom group. The vendor gives no id.
pub(super) fn wecom_robot(ask: &Ask<'_>) -> Taken {
    needs(ask.param("key")? == ask.setting("key"), "the robot is another")?;
    if ask.path == "/cgi-bin/webhook/upload_media" {
        return files::media(ask, &ask.param("type")?);
    }
    ask.at("/cgi-bin/webhook/send")?;
    let body = ask.json()?;
    ask.knows_files(&body)?;
    needs(body[text(&body, "msgtype")?].is_object(), "the message is missing")?;
    Ok(Reply::json(&json!({"errcode": 0, "errmsg": "ok"}), ask.give_robot()?))
}

/// Messages of a WeCom application. All recipients of a call share its id.
pub(super) fn wecom_app(ask: &Ask<'_>) -> Taken {
    if ask.path == "/cgi-bin/gettoken" {
        return get_token(ask, ["corpid", "corp_id"], ["corpsecret", "corp_secret"]);
    }
    ask.knows(&ask.param("access_token")?)?;
    if ask.path == "/cgi-bin/media/upload" {
        return files::media(ask, &ask.param("type")?);
    }
    ask.at("/cgi-bin/message/send")?;
    let body = ask.json()?;
    ask.knows_files(&body)?;
    needs(body[text(&body, "msgtype")?].is_object(), "the message is missing")?;
    needs(body["agentid"].is_u64(), "agentid is missing")?;
    let people: Vec<_> = text(&body, "touser")?.split('|').map(str::to_owned).collect();
    let id = ask.id("xCTX");
    let given = ask.give_all(&people, &id)?;
    Ok(Reply::json(&json!({"errcode": 0, "errmsg": "ok", "invaliduser": "", "msgid": id}), given))
}

/// Slack: an incoming webhook, which gives no id, or chat.postMessage.
pub(super) fn slack(ask: &Ask<'_>) -> Taken {
    let body = ask.json()?;
    let says = ["text", "blocks", "attachments"].iter().any(|name| !body[*name].is_null());
    needs(says, "no_text")?;
    if ask.role.settings["webhook"].is_string() {
        ask.at(&format!("/services/{}", ask.setting("webhook")))?;
        return Ok(Reply::text(200, "ok", ask.give_robot()?));
    }
    ask.at("/api/chat.postMessage")?;
    needs(ask.bearer()? == ask.setting("bot_token"), "the token is another's")?;
    let (channel, ts) = (text(&body, "channel")?, format!("1503435956.{}", ask.desk.next()));
    let given = ask.give_all(std::slice::from_ref(&channel), &format!("{channel}:{ts}"))?;
    Ok(Reply::json(&json!({"ok": true, "channel": channel, "ts": ts}), given))
}

/// Telegram: a method for each type of message.
pub(super) fn telegram(ask: &Ask<'_>) -> Taken {
    let method = ask.path.strip_prefix(&format!("/bot{}/", ask.setting("bot_token"))).ok_or("the bot is another")?;
    needs(method.starts_with("send"), "there is no such method")?;
    let body = ask.json()?;
    let part = method.trim_start_matches("send").to_lowercase();
    let part = match part.as_str() {
        "message" => "text",
        "location" => "latitude",
        file => file,
    };
    needs(!body[part].is_null(), &format!("{part} is missing"))?;
    let to = text(&body, "chat_id")?;
    let chat: i64 = to.parse().map_err(|_| "chat_id is not a number")?;
    let id = ask.desk.next();
    let given = ask.give_all(&[to], &format!("{chat}:{id}"))?;
    let message = json!({"message_id": id, "date": 1_700_000_000, "chat": {"id": chat, "type": "private"}});
    Ok(Reply::json(&json!({"ok": true, "result": message}), given))
}

/// Discord: a webhook that is waited for.
pub(super) fn discord(ask: &Ask<'_>) -> Taken {
    ask.at(&format!("/api/v10/webhooks/{}/{}", ask.setting("webhook_id"), ask.setting("webhook_token")))?;
    needs(ask.param("wait")? == "true", "nobody waits for the id")?;
    let body = ask.json()?;
    let components = body["components"].is_array();
    needs(!components || ask.param("with_components")? == "true", "components are not asked for")?;
    let says = components || body["content"].is_string() || body["embeds"].is_array();
    needs(says, "the message is empty")?;
    let id = ask.id("1100000000");
    let given = vec![ask.give("", &ask.mark()?, Some(id.clone()))];
    Ok(Reply::json(&json!({"id": id, "type": 0, "webhook_id": ask.setting("webhook_id")}), given))
}

/// Teams: a workflow, which gives no id.
pub(super) fn teams(ask: &Ask<'_>) -> Taken {
    let url = ask.setting("url");
    let signed = url.split_once("sig=").map_or("", |(_, sig)| sig);
    needs(ask.param("sig")? == signed, "the signature is wrong")?;
    let card = &ask.json()?["attachments"][0]["content"];
    needs(card["type"] == "AdaptiveCard", "there is no card")?;
    Ok(Reply::text(202, "", ask.give_robot()?))
}

/// A receiver of Standard Webhooks, which gives no id.
pub(super) fn webhook(ask: &Ask<'_>) -> Taken {
    ask.json()?;
    let (id, time) = (ask.header("webhook-id")?, ask.header("webhook-timestamp")?);
    let signed = sign(ask.setting("secret"), id, time, ask.body).map_err(|failure| failure.to_string())?;
    needs(ask.header("webhook-signature")?.split(' ').any(|one| one == signed), "the signature is wrong")?;
    Ok(Reply::text(204, "", ask.give_robot()?))
}
