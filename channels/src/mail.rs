//! Builds a mail out of rendered content: headers that nobody can inject into, and the right alternatives.

use std::time::{Duration, SystemTime};

use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use serde_json::Value;
use tidings_contract::{DeliveryId, Time};

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

/// The mail in wire form: ASCII only, unless an address is not.
///
/// # Errors
/// What is missing or wrong in the content.
pub(crate) fn build(letter: &Letter<'_>, content: &Value) -> Result<Vec<u8>, String> {
    let text = |name: &str| content.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let name = text("from_name").map(one_line).or_else(|| letter.from.name.clone());
    let message_id = format!("<{}@{}>", letter.delivery, letter.from.email.domain());
    let mut builder = Message::builder()
        .from(Mailbox::new(name, letter.from.email.clone()))
        .to(Mailbox::new(None, letter.to.clone()))
        .subject(one_line(text("subject").ok_or("subject is missing")?))
        .message_id(Some(message_id))
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(letter.at.0));
    if let Some(reply_to) = text("reply_to") {
        let mailbox: Mailbox = one_line(reply_to).parse().map_err(|_| "reply_to is not a mail address")?;
        builder = builder.reply_to(mailbox);
    }
    let message = match (text("text"), text("html")) {
        (Some(text), Some(html)) => {
            builder.multipart(MultiPart::alternative_plain_html(text.to_owned(), html.to_owned()))
        }
        (Some(text), None) => builder.singlepart(SinglePart::plain(text.to_owned())),
        (None, Some(html)) => builder.singlepart(SinglePart::html(html.to_owned())),
        (None, None) => return Err("html or text is missing".to_owned()),
    };
    Ok(message.map_err(|error| error.to_string())?.formatted())
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
        let (from, to) = ("Shop <no-reply@shop.example>".parse(), "ann@example.com".parse());
        let delivery = DeliveryId::new(MessageId::new(Time(1), PartitionId(2), 3), 4, PartitionId(5));
        let letter = Letter {
            from: &from.expect("a mailbox"),
            to: &to.expect("an address"),
            delivery,
            at: Time(1_795_456_800_123),
        };
        build(&letter, content).map(|bytes| String::from_utf8(bytes).expect("a mail is text"))
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
    fn one_body_is_sent_alone() {
        let html = mail(&json!({"subject": "s", "html": "<p>hi</p>"})).expect("it is complete");
        assert!(html.contains("Content-Type: text/html") && !html.contains("multipart"), "{html}");
        let text = mail(&json!({"subject": "s", "text": "hi", "html": ""})).expect("it is complete");
        assert!(text.contains("Content-Type: text/plain") && !text.contains("multipart"), "{text}");
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
