//! The double refuses what its vendors would refuse, and the table is fit to be sent.

use std::collections::BTreeSet;

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::ask::{Ask, Desk, Taken, mark_in};
use super::serve::play;
use super::{Role, table};

/// A call to the double, by one account.
struct Call<'a> {
    provider: &'a str,
    settings: Value,
    path: &'a str,
    query: &'a str,
    headers: &'a [(&'static str, &'a str)],
    body: String,
}

fn made(desk: &Desk, call: &Call<'_>) -> Taken {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("it is plain text"));
    for (name, value) in call.headers {
        headers.insert(*name, value.parse().expect("it is plain text"));
    }
    let role = Role { provider: call.provider.to_owned(), settings: call.settings.clone() };
    let (path, query, body) = (call.path, call.query, call.body.as_bytes());
    play(&Ask { desk, account: "one", role: &role, method: "POST", path, query, headers: &headers, body })
}

#[test]
fn a_mark_is_found_wherever_it_stands() {
    assert_eq!(mark_in("{\"a\":\"xMARK0042y\"}").as_deref(), Ok("MARK0042"));
    assert_eq!(mark_in("MARK MARK12 MARK1234").as_deref(), Ok("MARK1234"));
    assert!(mark_in("MARK12").is_err());
}

#[test]
fn each_recipient_has_an_id_of_its_own() {
    let desk = Desk::default();
    let body = json!({"userName": "shop", "sign": "0".repeat(32), "messageList": [
        {"phone": "1", "content": "MARK0001"}, {"phone": "2", "content": "MARK0002"}]});
    let settings = json!({"user_name": "shop"});
    let call = Call { provider: "sms/lintong", settings, path: "", query: "", headers: &[], body: body.to_string() };
    let given = made(&desk, &call).expect("it is taken").given;
    let marks: Vec<_> = given.iter().map(|one| (one.to.as_str(), one.mark.as_str())).collect();
    assert_eq!(marks, [("1", "MARK0001"), ("2", "MARK0002")]);
    assert_ne!(given[0].id, given[1].id);
}

#[test]
fn a_token_that_was_never_given_is_refused_and_one_that_was_is_taken() {
    let desk = Desk::default();
    let settings = json!({"app_id": "a", "app_secret": "s"});
    let message = |query: &str| {
        let body = json!({"touser": "o1", "template_id": "T", "data": {"a": {"value": "MARK0001"}}}).to_string();
        let path = "/cgi-bin/message/template/send";
        made(&desk, &Call { provider: "wechat_official", settings: settings.clone(), path, query, headers: &[], body })
    };
    assert_eq!(message("access_token=one-token-600000000").err().as_deref(), Some("the access token was never given"));
    let body = json!({"appid": "a", "secret": "s"}).to_string();
    let path = "/cgi-bin/stable_token";
    let call = Call { provider: "wechat_official", settings: settings.clone(), path, query: "", headers: &[], body };
    let token: Value = serde_json::from_str(&made(&desk, &call).expect("a token").body).expect("it is JSON");
    let token = token["access_token"].as_str().expect("it is there");
    let given = message(&format!("access_token={token}")).expect("it is taken").given;
    assert_eq!((given[0].to.as_str(), given[0].mark.as_str()), ("o1", "MARK0001"));
}

#[test]
fn wrong_signatures_logins_and_keys_are_refused() {
    let robot = json!({"msgtype": "text", "text": {"content": "MARK0001"}}).to_string();
    let card = json!({"attachments": [{"content": {"type": "AdaptiveCard", "text": "MARK0001"}}]}).to_string();
    let hook = json!({"n": "MARK0001"}).to_string();
    let secret = crate::receiver::SECRET;
    let headers = [("webhook-id", "d1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AAAA")];
    let cases = [
        (
            "dingtalk_robot",
            json!({"access_token": "t", "secret": "s"}),
            "/robot/send",
            "access_token=t&timestamp=1&sign=AAAA",
            robot.clone(),
            "the signature is wrong",
        ),
        (
            "dingtalk_robot",
            json!({"access_token": "u", "secret": "s"}),
            "/robot/send",
            "access_token=t&timestamp=1&sign=AAAA",
            robot.clone(),
            "the robot is another",
        ),
        ("wecom_robot", json!({"key": "k"}), "/cgi-bin/webhook/send", "key=l", robot.clone(), "the robot is another"),
        ("teams", json!({"url": "https://a.example/in?sig=s"}), "/in", "sig=t", card, "the signature is wrong"),
        ("webhook", json!({"secret": secret}), "/r/1", "", hook, "the signature is wrong"),
        ("nobody", json!({}), "", "", robot, "nobody plays nobody"),
    ];
    for (provider, settings, path, query, body, expected) in cases {
        let call = Call { provider, settings, path, query, headers: &headers, body };
        assert_eq!(made(&Desk::default(), &call).err().as_deref(), Some(expected), "{provider} {query}");
    }
}

#[test]
fn every_content_bears_the_mark_and_no_name_stands_twice() {
    let entries = table::parse("http://127.0.0.1:1", 25, "0").expect("it is a table");
    let mut names = BTreeSet::new();
    for entry in &entries {
        for (kind, content) in &entry.messages {
            let marked = content.to_string().contains("{{ n }}") || entry.has_file(kind);
            assert!(marked, "{} {kind}", entry.name);
            assert!(names.insert(entry.template(kind)), "{} {kind}", entry.name);
        }
    }
}

#[test]
fn a_file_is_taken_before_a_message_may_refer_to_it() {
    let desk = Desk::default();
    let settings = json!({"key": "k"});
    let form = |bytes: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.txt\"; filelength=8\r\n\
             Content-Type: text/plain\r\n\r\n{bytes}\r\n--b--\r\n"
        )
    };
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let upload = |body: String| {
        let (path, query) = ("/cgi-bin/webhook/upload_media", "key=k&type=file");
        made(&desk, &Call { provider: "wecom_robot", settings: settings.clone(), path, query, headers: &headers, body })
    };
    assert_eq!(upload(form("five!")).err().as_deref(), Some("the file is too small"));
    assert_eq!(upload("--b--".to_owned()).err().as_deref(), Some("the form has no media"));
    let given: Value = serde_json::from_str(&upload(form("MARK0001")).expect("it is taken").body).expect("it is JSON");
    let id = given["media_id"].as_str().expect("an id");
    assert_eq!(desk.uploads.lock().get("one file a.txt"), Some(&1));
    let message = |id: &str| {
        let body = json!({"msgtype": "file", "file": {"media_id": id}}).to_string();
        let (path, query) = ("/cgi-bin/webhook/send", "key=k");
        made(&desk, &Call { provider: "wecom_robot", settings: settings.clone(), path, query, headers: &[], body })
    };
    assert_eq!(message(id).expect("it is taken").given[0].mark, "MARK0001");
    assert!(message("file-MARK0001-7").is_err_and(|words| words.contains("was never given")));
    assert!(message("material:MARK0001").is_err_and(|words| words.contains("by its own id")));
}
