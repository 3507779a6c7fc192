//! WeChat's official accounts and mini programs, and Alipay's gateway, which signs its answers.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::ask::{Ask, Reply, Taken, needs, text};

/// A template message of an official account.
pub(super) fn official(ask: &Ask<'_>) -> Taken {
    message(ask, "/cgi-bin/message/template/send")
}

/// A subscribe message of a mini program.
pub(super) fn mini(ask: &Ask<'_>) -> Taken {
    message(ask, "/cgi-bin/message/subscribe/send")
}

fn message(ask: &Ask<'_>, path: &str) -> Taken {
    let body = ask.json()?;
    if ask.path == "/cgi-bin/stable_token" {
        needs(text(&body, "appid")? == ask.setting("app_id"), "the application is another's")?;
        needs(text(&body, "secret")? == ask.setting("app_secret"), "the secret is another's")?;
        return Ok(Reply::json(&json!({"access_token": ask.new_token(), "expires_in": 7_200}), Vec::new()));
    }
    ask.at(path)?;
    ask.knows(&ask.param("access_token")?)?;
    needs(body["data"].is_object(), "data is missing")?;
    text(&body, "template_id")?;
    let msgid = ask.desk.next();
    let given = ask.give_all(&[text(&body, "touser")?], &msgid.to_string())?;
    Ok(Reply::json(&json!({"errcode": 0, "errmsg": "ok", "msgid": msgid}), given))
}

const METHOD: &str = "alipay.open.app.mini.templatemessage.send";

/// A template message of an Alipay mini program. The vendor gives no id. In the proof both sides have one key.
pub(super) fn alipay(ask: &Ask<'_>) -> Taken {
    ask.at("/gateway.do")?;
    let form = ask.form()?;
    let content = form.get("biz_content").ok_or("biz_content is missing")?;
    needs(ask.param("method")? == METHOD, "there is no such method")?;
    // Not every name stands once only, so the pairs are sorted as the vendor sorts them: by name.
    let mut pairs: BTreeMap<String, String> = form_urlencoded::parse(ask.query.as_bytes()).into_owned().collect();
    let sign = pairs.remove("sign").ok_or("sign is missing")?;
    pairs.insert("biz_content".to_owned(), content.clone());
    let pairs: Vec<_> = pairs.iter().filter(|(_, value)| !value.is_empty()).collect();
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let key = ask.setting("private_key");
    needs(rsa(key, &pairs.join("&"))? == sign, "the signature is wrong")?;
    let content: Value = serde_json::from_str(content).map_err(|error| format!("biz_content: {error}"))?;
    let to = text(&content, "to_user_id").or_else(|_| text(&content, "to_open_id"))?;
    let node = r#"{"code":"10000","msg":"Success"}"#;
    let body = format!("{{\"{}_response\":{node},\"sign\":\"{}\"}}", METHOD.replace('.', "_"), rsa(key, node)?);
    Ok(Reply::text(200, &body, vec![ask.give(&to, &ask.mark()?, None)]))
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RSA2 in Alipay's words), in base64. It is the same for the same text.
fn rsa(key: &str, text: &str) -> Result<String, String> {
    let der = STANDARD.decode(key).map_err(|error| format!("the private key: {error}"))?;
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)));
    let key = key.map_err(|error| format!("the private key: {error}"))?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or("the private key is not for RSA")?;
    Ok(STANDARD.encode(signer.sign(text.as_bytes()).map_err(|error| error.to_string())?))
}
