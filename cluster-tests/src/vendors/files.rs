//! Files that vendors take before messages refer to them: reading an upload, and knowing which ids were given.

use serde_json::{Value, json};

use super::ask::{Ask, Reply, Taken, mark_in, needs};

/// With what every id begins that the double gave for a file.
const GIVEN: &str = "file-";

/// A file in a form.
struct File<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

/// An upload to DingTalk or WeCom, whose form has the file as `media`.
pub(super) fn media(ask: &Ask<'_>, kind: &str) -> Taken {
    let id = take(ask, "media", kind)?;
    let given = json!({"errcode": 0, "errmsg": "ok", "type": kind, "media_id": id, "created_at": "1380000000"});
    Ok(Reply::json(&given, Vec::new()))
}

/// An upload to Feishu, whose form has the file as `field`.
pub(super) fn feishu(ask: &Ask<'_>, field: &str) -> Taken {
    let (declares, says) = if field == "image" { ("image_type", "message") } else { ("file_type", "stream") };
    needs(ask.text_of_form(declares)? == says, &format!("{declares} is wrong"))?;
    let id = take(ask, field, field)?;
    Ok(Reply::json(&json!({"code": 0, "msg": "success", "data": {format!("{field}_key"): id}}), Vec::new()))
}

/// Takes the file and gives its id, which holds the file's mark if it has one.
fn take(ask: &Ask<'_>, field: &str, kind: &str) -> Result<String, String> {
    let file = part(ask, field)?;
    needs(file.bytes.len() > 5, "the file is too small")?;
    let mark = mark_in(&String::from_utf8_lossy(file.bytes)).unwrap_or_default();
    let id = ask.id(&format!("{GIVEN}{mark}-"));
    ask.desk.files.lock().entry(ask.account.to_owned()).or_default().push(id.clone());
    let name = format!("{} {kind} {}", ask.account, file.name);
    *ask.desk.uploads.lock().entry(name).or_default() += 1;
    Ok(id)
}

/// The part of a form with that name.
fn part<'a>(ask: &'a Ask<'_>, field: &str) -> Result<File<'a>, String> {
    needs(ask.method == "POST", "it is not a POST")?;
    let kind = ask.header("content-type")?;
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").ok_or("it is no form with a file")?;
    let end = format!("\r\n--{boundary}");
    let mut rest = ask.body.strip_prefix(&end.as_bytes()[2..]).ok_or("the form does not begin with its boundary")?;
    while let Some(body) = rest.strip_prefix(b"\r\n") {
        let close = find(body, end.as_bytes()).ok_or("the form has no end")?;
        let (head, bytes) = body[..close].split_at(find(&body[..close], b"\r\n\r\n").ok_or("a part has no head")?);
        let head = std::str::from_utf8(head).map_err(|_| "a head is no text")?;
        if head.contains(&format!(" name=\"{field}\"")) {
            let name = head.split_once("filename=\"").and_then(|(_, name)| name.split('"').next()).unwrap_or_default();
            return Ok(File { name, bytes: &bytes[4..] });
        }
        rest = &body[close + end.len()..];
    }
    Err(format!("the form has no {field}"))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Ask<'_> {
    /// A text in a form with a file.
    pub(super) fn text_of_form(&self, name: &str) -> Result<String, String> {
        part(self, name).map(|part| String::from_utf8_lossy(part.bytes).into_owned())
    }

    /// Whether a message refers only to files that this account was given ids of, and to no material.
    pub(super) fn knows_files(&self, message: &Value) -> Result<(), String> {
        match message {
            Value::String(text) if text.starts_with(GIVEN) => {
                let files = self.desk.files.lock();
                let known = files.get(self.account).is_some_and(|given| given.iter().any(|given| given == text));
                needs(known, &format!("the id {text} was never given"))
            }
            Value::String(text) => needs(!text.starts_with("material:"), "a material went out by its own id"),
            Value::Array(items) => items.iter().try_for_each(|item| self.knows_files(item)),
            Value::Object(fields) => fields.values().try_for_each(|value| self.knows_files(value)),
            _ => Ok(()),
        }
    }
}
