//! Builds a mail out of rendered content: headers that nobody can inject into, and the right alternatives.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MessageBuilder, MultiPart, MultiPartBuilder, SinglePart};
use lettre::{Address, Message};
use serde_json::Value;
use tidings_contract::{DeliveryId, FieldError, Time};
use url::Url;

use crate::attachments::{File, unknown_type, wanted};
use crate::nesting::is_flat;

/// How wide the text made out of HTML is, in characters (RFC 5322 §2.1.1 recommends at most 78).
const TEXT_WIDTH: usize = 76;
/// Longest address for unsubscribing, in bytes: it stands on one line (RFC 5322 §2.1.1: 998).
const UNSUBSCRIBE_LIMIT: usize = 900;
/// Fields of the content that are texts; the others have a shape of their own.
const NO_TEXTS: &[&str] = &["attachments"];

/// Who a mail is from and to, and what marks it.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    /// The account's address and, if the content names none, its name.
    pub(crate) from: &'a Mailbox,
    /// The recipient.
    pub(crate) to: &'a Address,
    /// The delivery; its id makes the `Message-ID`, so that every attempt bears the same one.
    pub(crate) delivery: DeliveryId,
    /// The time in `Date`.
    pub(crate) at: Time,
}

/// What is wrong with a template's content, beside what holds for every channel.
pub(crate) fn check(content: &serde_json::Map<String, Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, _) in content
        .iter()
        .filter(|(name, value)| !value.is_string() && !value.is_null() && !NO_TEXTS.contains(&name.as_str()))
    {
        errors.push(FieldError::new(format!("content.{name}"), "must be a text"));
    }
    // What has placeholders is only known when it is filled.
    let fixed = |value: &Value| !value.to_string().contains(['{', '}']);
    let list = content.get("attachments").and_then(Value::as_array);
    let known =
        list.map(|items| items.iter().filter(|item| item.as_object().is_none_or(|o| o.values().all(fixed))).cloned());
    let known = known.map_or_else(|| content.get("attachments").cloned(), |items| Some(Value::Array(items.collect())));
    if let Some(known) = known
        && let Err(detail) = wanted(&serde_json::json!({"attachments": known}))
    {
        errors.push(FieldError::new("content.attachments", detail));
    }
    for name in
        ["unsubscribe_url", "unsubscribe_mailto"].into_iter().filter(|name| content.get(*name).is_some_and(fixed))
    {
        let only = serde_json::json!({name: content[name]});
        if let Err(detail) = unsubscribe(&only) {
            errors.push(FieldError::new(format!("content.{name}"), detail));
        }
    }
    errors
}

/// The mail in wire form: ASCII only, unless an address is not.
///
/// # Errors
/// What is missing or wrong in the content.
pub(crate) fn build(letter: &Letter<'_>, content: &Value, files: &[File]) -> Result<Vec<u8>, String> {
    let name = text(content, "from_name").map(one_line).or_else(|| letter.from.name.clone());
    let message_id = format!("<{}@{}>", letter.delivery, letter.from.email.domain());
    let mut builder = Message::builder()
        .from(Mailbox::new(name, letter.from.email.clone()))
        .to(Mailbox::new(None, letter.to.clone()))
        .subject(one_line(text(content, "subject").ok_or("subject is missing")?))
        .message_id(Some(message_id))
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(letter.at.0));
    if let Some(reply_to) = text(content, "reply_to") {
        let mailbox: Mailbox = one_line(reply_to).parse().map_err(|_| "reply_to is not a mail address")?;
        builder = builder.reply_to(mailbox);
    }
    for header in unsubscribe(content)? {
        builder = builder.raw_header(header);
    }
    let message = whole(builder, &Parts { delivery: letter.delivery }, content, files)?;
    Ok(message.formatted())
}

/// A field of the content that says something.
fn text<'a>(content: &'a Value, name: &str) -> Option<&'a str> {
    content.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// The parts of one mail. Their boundaries come from the delivery, so that every attempt is the same mail.
struct Parts {
    delivery: DeliveryId,
}

impl Parts {
    /// `=_` stands in no part that is encoded (RFC 2045 §6.7), and nobody knows the delivery before it is made.
    fn boundary(&self, builder: MultiPartBuilder, kind: &str) -> MultiPartBuilder {
        builder.boundary(format!("=_{kind}_{}", self.delivery))
    }

    /// What stands around a body and the files that it shows. It must say of which kind its first part is (RFC 2387 §3.1).
    fn related(&self, first: &str) -> Result<MultiPartBuilder, String> {
        let header = format!("multipart/related; boundary=\"=_related_{}\"; type=\"{first}\"", self.delivery);
        Ok(MultiPart::builder().header(ContentType::parse(&header).map_err(|error| error.to_string())?))
    }
}

/// Alternatives, with what they show, with what is attached (RFC 2046 §5.1, RFC 2387).
fn whole(builder: MessageBuilder, parts: &Parts, content: &Value, files: &[File]) -> Result<Message, String> {
    let html = text(content, "html").map(lines);
    let plain = text(content, "text").map(lines).or_else(|| html.as_deref().and_then(plain_of));
    let (bodies, kind) = match (plain, html) {
        (Some(plain), Some(html)) => {
            let both = parts.boundary(MultiPart::alternative(), "alternative");
            let both = both.singlepart(SinglePart::plain(plain)).singlepart(SinglePart::html(html));
            (Body::Multi(both), "multipart/alternative")
        }
        (Some(plain), None) => (Body::Single(SinglePart::plain(plain)), "text/plain"),
        (None, Some(html)) => (Body::Single(SinglePart::html(html)), "text/html"),
        (None, None) => return Err("html or text is missing".to_owned()),
    };
    let (shown, attached): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.inline.is_some());
    let bodies = with(bodies, parts.related(kind)?, &shown);
    let message = match with(bodies, parts.boundary(MultiPart::mixed(), "mixed"), &attached) {
        Body::Single(part) => builder.singlepart(part),
        Body::Multi(part) => builder.multipart(part),
    };
    message.map_err(|error| error.to_string())
}

enum Body {
    Single(SinglePart),
    Multi(MultiPart),
}

/// The body with files beside it, if there are any.
fn with(body: Body, around: MultiPartBuilder, files: &[&File]) -> Body {
    if files.is_empty() {
        return body;
    }
    let whole = match body {
        Body::Single(part) => around.singlepart(part),
        Body::Multi(part) => around.multipart(part),
    };
    Body::Multi(files.iter().fold(whole, |whole, file| whole.singlepart(part(file))))
}

fn part(file: &File) -> SinglePart {
    let media_type = ContentType::parse(&file.media_type).or_else(|_| ContentType::parse(&unknown_type()));
    let attachment = match &file.inline {
        Some(id) => Attachment::new_inline_with_name(id.clone(), file.name.clone()),
        None => Attachment::new(file.name.clone()),
    };
    // Bytes are bytes: a text file keeps its line breaks, so everything is base64.
    let body = lettre::message::Body::new_with_encoding(file.bytes.to_vec(), ContentTransferEncoding::Base64);
    match (body, media_type) {
        (Ok(body), Ok(media_type)) => attachment.body(body, media_type),
        (Ok(body), Err(_)) => attachment.body(body, ContentType::TEXT_PLAIN),
        (Err(bytes), _) => attachment.body(bytes, ContentType::TEXT_PLAIN),
    }
}

/// The text with every line end the same, and without what a mail must not hold: a CR is never alone, and there is no NUL
/// (RFC 5321 §2.3.8, RFC 5322 §4). A server that "cleans" what came otherwise may find a second mail in it.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}

/// The HTML as text, with links numbered and listed below. `None` when nothing readable is in it, and when its elements are
/// nested so deep that reading them might take all of the stack.
fn plain_of(html: &str) -> Option<String> {
    if !is_flat(html) {
        return None;
    }
    let text = html2text::config::plain().allow_width_overflow().string_from_read(html.as_bytes(), TEXT_WIDTH).ok()?;
    let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// How the recipient gets off the list: by an address to post to with one click (RFC 8058), by mail (RFC 2369).
fn unsubscribe(content: &Value) -> Result<Vec<HeaderValue>, String> {
    let mut ways = Vec::new();
    let mut headers = Vec::new();
    if let Some(url) = text(content, "unsubscribe_url") {
        let url = Url::parse(url.trim())
            .ok()
            .filter(|url| url.scheme() == "https" && url.as_str().len() <= UNSUBSCRIBE_LIMIT);
        ways.push(format!("<{}>", url.ok_or("unsubscribe_url must be an https URL of at most 900 bytes")?));
        let name = HeaderName::new_from_ascii_str("List-Unsubscribe-Post");
        headers.push(HeaderValue::new(name, "List-Unsubscribe=One-Click".to_owned()));
    }
    if let Some(mailto) = text(content, "unsubscribe_mailto") {
        let mailto = mailto.trim();
        let with_scheme = if mailto.starts_with("mailto:") { mailto.to_owned() } else { format!("mailto:{mailto}") };
        let url = Url::parse(&with_scheme)
            .ok()
            .filter(|url| url.path().parse::<Address>().is_ok() && url.as_str().len() <= UNSUBSCRIBE_LIMIT);
        ways.push(format!("<{}>", url.ok_or("unsubscribe_mailto must be a mail address")?));
    }
    if ways.is_empty() {
        return Ok(headers);
    }
    let name = HeaderName::new_from_ascii_str("List-Unsubscribe");
    // A URL has no spaces, so it cannot be folded; it was parsed, so it is ASCII without angle brackets.
    headers.push(HeaderValue::dangerous_new_pre_encoded(name, ways.join(", "), ways.join(",\r\n ")));
    Ok(headers)
}

/// Line breaks and other control characters become single spaces: a header stays one header.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    fn mail(content: &Value) -> Result<String, String> {
        mail_with(content, &[])
    }

    fn mail_with(content: &Value, files: &[File]) -> Result<String, String> {
        let (from, to) = ("Shop <no-reply@shop.example>".parse(), "ann@example.com".parse());
        let delivery = DeliveryId::new(MessageId::new(Time(1), PartitionId(2), 3), 4, PartitionId(5));
        let letter = Letter {
            from: &from.expect("a mailbox"),
            to: &to.expect("an address"),
            delivery,
            at: Time(1_795_456_800_123),
        };
        build(&letter, content, files).map(|bytes| String::from_utf8(bytes).expect("a mail is text"))
    }

    #[test]
    fn both_bodies_become_alternatives_and_the_headers_are_stable() {
        let content = json!({"subject": "你好", "html": "<p>hi</p>", "text": "hi", "from_name": "商店",
            "reply_to": "Help <help@shop.example>"});
        let mail = mail(&content).expect("it is complete");
        assert!(mail.is_ascii(), "{mail}");
        assert!(mail.contains("Content-Type: multipart/alternative"), "{mail}");
        assert!(mail.contains("Date: Mon, 23 Nov 2026 18:00:00 +0000\r\n"), "{mail}");
        assert!(
            mail.contains("Reply-To: \"Help\" <help@shop.example>\r\n")
                || mail.contains("Reply-To: Help <help@shop.example>\r\n"),
            "{mail}"
        );
        let delivery = DeliveryId::new(MessageId::new(Time(1), PartitionId(2), 3), 4, PartitionId(5));
        assert!(mail.contains(&format!("Message-ID: <{delivery}@shop.example>\r\n")), "{mail}");
        let (plain, html) = (mail.find("text/plain"), mail.find("text/html"));
        assert!(plain < html && plain.is_some(), "the better alternative comes last (RFC 2046 §5.1.4)");
    }

    #[test]
    fn html_alone_gets_a_text_and_text_alone_stays_alone() {
        let html = mail(
            &json!({"subject": "s", "html": "<style>p{}</style><p>Hello <b>Ann</b>, <a href=\"https://a.example/x\">look</a></p>"}),
        );
        let html = html.expect("it is complete");
        let plain = html.split("text/plain").nth(1).and_then(|rest| rest.split("text/html").next()).expect("a text");
        assert!(plain.contains("Hello **Ann**, [look][1]") && plain.contains("[1]: https://a.example/x"), "{html}");
        let text = mail(&json!({"subject": "s", "text": "hi", "html": ""})).expect("it is complete");
        assert!(text.contains("Content-Type: text/plain") && !text.contains("multipart"), "{text}");
        let empty = mail(&json!({"subject": "s", "html": "<p> </p>"})).expect("there is a body");
        assert!(empty.contains("text/html") && !empty.contains("text/plain"), "{empty}");
    }

    #[test]
    fn files_stand_where_mail_programs_look_for_them_and_every_attempt_is_the_same_mail() {
        let file = |name: &str, inline: Option<&str>| File {
            name: name.to_owned(),
            media_type: "image/png".to_owned(),
            inline: inline.map(str::to_owned),
            bytes: b"\x89PNG\r\n".as_slice().into(),
        };
        let content = json!({"subject": "s", "html": "<img src=\"cid:logo\">hi"});
        let files = [file("发票.png", None), file("logo.png", Some("logo"))];
        let mail = mail_with(&content, &files).expect("it is complete");
        assert_eq!(mail, mail_with(&content, &files).expect("it is complete"));
        let at = |text: &str| mail.find(text).unwrap_or_else(|| panic!("{text} in {mail}"));
        let order = [
            "multipart/mixed",
            "multipart/related",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "Content-ID: <logo>",
            "Content-Disposition: attachment",
        ];
        assert!(order.windows(2).all(|two| at(two[0]) < at(two[1])), "{mail}");
        assert!(
            mail.contains("Content-Disposition: inline; filename=\"logo.png\"") && mail.contains("iVBORw0K"),
            "{mail}"
        );
        assert!(mail.contains("filename*0*=utf-8''%E5%8F%91%E7%A5%A8.png"), "{mail}");
        assert!(mail.is_ascii());
    }

    #[test]
    fn what_is_around_shown_files_says_of_which_kind_its_first_part_is() {
        let logo = File {
            name: "logo.png".to_owned(),
            media_type: "image/png".to_owned(),
            inline: Some("logo".to_owned()),
            bytes: b"\x89PNG\r\n".as_slice().into(),
        };
        for (content, kind) in [
            (json!({"subject": "s", "html": "<img src=\"cid:logo\">hi"}), "multipart/alternative"),
            (json!({"subject": "s", "html": "<img src=\"cid:logo\">"}), "text/html"),
            (json!({"subject": "s", "text": "hi"}), "text/plain"),
        ] {
            let mail = mail_with(&content, std::slice::from_ref(&logo)).expect("it is complete");
            let head = mail.split("\r\n\r\n").next().expect("a head").replace("\r\n ", " ");
            let starts = "Content-Type: multipart/related; boundary=\"=_related_dlv_";
            assert!(head.contains(starts) && head.contains(&format!("; type=\"{kind}\"")), "{head}");
            let boundary =
                head.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it has one");
            let first = mail.split(&format!("--{boundary}\r\n")).nth(1).expect("a first part");
            assert!(first.starts_with(&format!("Content-Type: {kind}")), "{kind} {first}");
        }
    }

    #[test]
    fn the_way_off_the_list_is_what_mail_programs_want() {
        let way = |content: Value| {
            let mut whole = json!({"subject": "s", "text": "t"});
            whole.as_object_mut().expect("an object").extend(content.as_object().cloned().expect("an object"));
            mail(&whole)
        };
        let both = way(
            json!({"unsubscribe_url": "https://shop.example/off?t=a b", "unsubscribe_mailto": "off@shop.example?subject=off"}),
        );
        let both = both.expect("it is right");
        assert!(
            both.contains(
                "List-Unsubscribe: <https://shop.example/off?t=a%20b>,\r\n <mailto:off@shop.example?subject=off>\r\n"
            ),
            "{both}"
        );
        assert!(both.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{both}");
        let only_mail = way(json!({"unsubscribe_mailto": "off@shop.example"})).expect("it is right");
        assert!(only_mail.contains("<mailto:off@shop.example>") && !only_mail.contains("One-Click"), "{only_mail}");
        for wrong in [
            json!({"unsubscribe_url": "http://shop.example/off"}),
            json!({"unsubscribe_url": "off"}),
            json!({"unsubscribe_mailto": "nobody"}),
            json!({"unsubscribe_mailto": "a@b.example, c@d.example"}),
        ] {
            assert!(way(wrong.clone()).is_err(), "{wrong}");
            assert_eq!(check(wrong.as_object().expect("an object")).len(), 1, "{wrong}");
        }
        let injected = way(json!({"unsubscribe_url": "https://shop.example/\r\nBcc: all@example.com>,<x"}))
            .expect("it is encoded");
        assert!(!injected.contains("\r\nBcc"), "{injected}");
    }

    #[test]
    fn placeholders_are_judged_when_they_are_filled() {
        let content = json!({"subject": "s", "text": "t", "unsubscribe_url": "{{ url }}",
            "attachments": [{"url": "{{ file }}"}, {"url": "https://a.example/{$id}.pdf"}]});
        assert_eq!(check(content.as_object().expect("an object")), []);
    }

    #[test]
    fn a_line_break_in_a_variable_adds_no_header() {
        let content = json!({"subject": "Hi\r\nBcc: all@example.com", "text": "x",
            "from_name": "Shop\nX-Evil: 1", "reply_to": "help@shop.example\r\nX-Evil: 1"});
        assert_eq!(mail(&content), Err("reply_to is not a mail address".to_owned()));
        let content = json!({"subject": "Hi\r\nBcc: all@example.com", "text": "x", "from_name": "Shop\nX-Evil: 1"});
        let mail = mail(&content).expect("it is complete");
        let headers = mail.split("\r\n\r\n").next().expect("headers come first");
        assert!(headers.lines().all(|line| !line.starts_with("Bcc") && !line.starts_with("X-Evil")), "{headers}");
    }

    #[test]
    fn no_line_end_stands_alone_whatever_a_variable_holds() {
        for text in ["one\rtwo", "a\r.\rb", "a\n.\nb", "a\r\n.\r\r\nb", "\r", "a\0b\r\0\nc", "\r\u{85}\u{2028}x"] {
            for field in ["text", "html"] {
                let mail = mail(&json!({"subject": "s", field: format!("x{text}")})).expect("it is complete");
                let rest = mail.replace("\r\n", "");
                assert!(!rest.contains(['\r', '\n', '\0']), "{text:?} as {field}: {mail:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        for (content, expected) in [
            (json!({"text": "x"}), "subject is missing"),
            (json!({"subject": " ", "text": "x"}), "subject is missing"),
            (json!({"subject": "s"}), "html or text is missing"),
        ] {
            assert_eq!(mail(&content), Err(expected.to_owned()));
        }
    }
}
