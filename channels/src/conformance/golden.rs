//! The requests as they go out, byte for byte but for what is secret, against files that were held against the vendors'
//! pages. `TIDINGS_GOLDEN=write` writes the files anew; what changed in them is then to be reviewed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidings_contract::{Secret, Settings};

use super::uploads::material;
use super::{Golden, Subject, UploadCase};
use crate::catalog::{is_of_type, message_types};
use crate::providers::subjects;
use crate::testing::{HttpRequest, HttpServer};
use crate::{Registry, check_content};

/// Headers that the client adds to every request or that change with the server's port.
const LEFT_OUT: [&str; 3] = ["host", "content-length", "user-agent"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The secrets of the subject's account.
pub(super) fn secrets(subject: &Subject, url: &str) -> Vec<Secret> {
    let registry = Registry::new();
    let info = registry.get(subject.provider).expect("it is registered").info();
    let Value::Object(given) = (subject.settings)(url) else { panic!("settings are an object") };
    let settings = Settings::sort(info.settings, given.into_iter().collect()).expect("they are right");
    settings.secret.into_values().collect()
}

/// One request as a text that can be read and compared.
fn written(request: &HttpRequest) -> String {
    let mut text = format!("{} {}\n", request.method, request.target);
    let mut headers: Vec<_> = request.headers.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str())).collect();
    headers.sort();
    headers.into_iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\n")));
    let body = match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) => serde_json::to_string_pretty(&body).expect("it was JSON"),
        // A form with a file, as lines; its parts end with CR and LF.
        Err(_) if request.header("content-type").is_some_and(|kind| kind.starts_with("multipart/")) => {
            String::from_utf8_lossy(&request.body).replace("\r\n", "\n").trim_end().to_owned()
        }
        // A form, one field a line.
        Err(_) => String::from_utf8_lossy(&request.body).replace('&', "\n&"),
    };
    if !body.is_empty() {
        text.push_str(&format!("\n{body}\n"));
    }
    text
}

/// The text without secrets, the server's address and what depends on it.
fn masked(mut text: String, golden: &Golden, secrets: &[Secret], addr: &str) -> String {
    for secret in secrets {
        text = text.replace(secret.expose(), "***");
    }
    for marker in golden.masked {
        let parts: Vec<_> = text.split(marker).map(str::to_owned).collect();
        let ends = [',', '"', '&', ' ', '\n'];
        let hidden = parts.iter().skip(1).map(|part| {
            let end = part.find(ends).unwrap_or(part.len());
            format!("{marker}***{}", &part[end..])
        });
        text = format!("{}{}", parts[0], hidden.collect::<String>());
    }
    text.replace(addr, "host")
}

/// What goes out for one golden message.
async fn sent(subject: &Subject, golden: &Golden) -> String {
    let server = HttpServer::start((subject.taken)()).await.expect("a free port");
    let url = server.url("/in");
    let own = (subject.to)(&url);
    let to = if golden.to.is_empty() { vec![own.as_str()] } else { golden.to.to_vec() };
    subject.account(&url).send(&subject.call_to(&to, golden.content.clone())).await;
    let requests: Vec<_> = server.requests().iter().map(written).collect();
    assert!(!requests.is_empty(), "{} {} was not sent", subject.provider, golden.name);
    let text = format!("# {}\n{}", golden.page, requests.join("\n---\n"));
    let token = subject.token.map(|case| Secret::new(case().token));
    let sealed: Vec<_> = secrets(subject, &url).into_iter().chain(token).collect();
    masked(text, golden, &sealed, &server.addr().to_string())
}

/// What goes out for one upload.
async fn uploaded(subject: &Subject, case: &UploadCase) -> String {
    let server = HttpServer::start(case.taken.clone()).await.expect("a free port");
    let url = server.url("/in");
    let token = subject.token.map(|case| Secret::new(case().token));
    let given = subject.account(&url).upload(&material(case), case.kind, token.as_ref()).await;
    assert!(given.is_ok_and(|given| given.is_ok()), "{} {} was not taken", subject.provider, case.name);
    let sealed: Vec<_> = secrets(subject, &url).into_iter().chain(token).collect();
    let requests: Vec<_> = server.requests().iter().map(written).collect();
    let text = format!("# {}\n{}", case.page, requests.join("\n---\n"));
    sealed.iter().fold(text, |text, secret| text.replace(secret.expose(), "***"))
}

/// The golden messages of every provider that calls anybody.
fn goldens() -> Vec<(&'static str, Vec<Golden>)> {
    let mut all: Vec<_> = subjects().iter().map(|subject| (subject.provider, (subject.golden)())).collect();
    all.push(("email/smtp", super::mail::goldens()));
    all
}

/// Types for which a provider's vendor has no message, and why.
const NO_SUCH_MESSAGE: [(&str, &str, &str); 1] = [("sms/lintong", "template_id", "the vendor takes texts only")];

#[test]
fn every_type_of_message_of_every_channel_has_a_golden_request_held_against_a_page_of_its_vendor() {
    let (registry, goldens) = (Registry::new(), goldens());
    for provider in registry.providers() {
        let info = provider.info();
        let own = goldens.iter().find(|(name, _)| *name == info.name).map(|(_, own)| own);
        let Some(own) = own else {
            assert!(super::EXCUSED.iter().any(|(name, _)| *name == info.name), "{} has none at all", info.name);
            continue;
        };
        for kind in message_types(info.channel) {
            let excused = NO_SUCH_MESSAGE.iter().any(|(name, none, _)| (*name, *none) == (info.name, kind));
            let found = own.iter().any(|golden| is_of_type(info.channel, &golden.content, kind));
            assert_eq!(found, !excused, "{} {kind:?}", info.name);
        }
        let vendor = |page: &'static str| page.split([' ', ':']).next().unwrap_or_default();
        for golden in own {
            assert_eq!(vendor(golden.page), vendor(info.source), "{} {}: whose page is it?", info.name, golden.name);
            assert!(golden.page.len() > vendor(golden.page).len() + 4, "{} {} names no page", info.name, golden.name);
        }
    }
}

#[test]
fn the_sources_say_of_every_provider_what_its_golden_requests_were_held_against() {
    let sources = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SOURCES.md")).expect("it is there");
    let (_, table) = sources.split_once("What each golden request was held against").expect("it is said");
    let table = table.split("\n## ").next().unwrap_or_default();
    let lines: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
    for (provider, _) in goldens() {
        let own = lines
            .iter()
            .filter(|line| line.split('|').nth(1).is_some_and(|names| names.contains(&format!("`{provider}`"))));
        assert!(own.count() > 0, "{provider} has no line");
    }
}

/// Compares what was seen with the file, or writes it.
fn compare(files: &mut BTreeSet<PathBuf>, file: PathBuf, seen: &str) {
    if std::env::var("TIDINGS_GOLDEN").is_ok_and(|value| value == "write") {
        let home = file.parent().expect("a folder");
        fs::create_dir_all(home).and_then(|()| fs::write(&file, seen)).expect("the folder is writable");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(seen, kept, "{}", file.display());
    assert!(files.insert(file.clone()), "{} stands twice", file.display());
}

#[tokio::test]
async fn every_kind_of_message_is_the_request_in_its_file() {
    let registry = Registry::new();
    let mut files = BTreeSet::new();
    for golden in super::mail::goldens() {
        let seen = format!("# {}\n{}\n", golden.page, super::mail::sent(&golden).await.trim_end());
        compare(&mut files, folder().join(format!("email_smtp/{}.eml", golden.name)), &seen);
    }
    for subject in subjects() {
        let home = folder().join(subject.provider.replace('/', "_"));
        let info = registry.get(subject.provider).expect("it is registered").info();
        let messages = (subject.golden)();
        assert!(!messages.is_empty(), "{} has no golden request", subject.provider);
        for golden in messages {
            if let Some(channel) = registry.channel(info.channel) {
                assert_eq!(check_content(channel, &golden.content), [], "{} {}", subject.provider, golden.name);
            }
            let file = home.join(format!("{}.http", golden.name));
            compare(&mut files, file, &sent(&subject, &golden).await);
        }
        for case in (subject.uploads)() {
            compare(&mut files, home.join(format!("{}.http", case.name)), &uploaded(&subject, &case).await);
        }
    }
    let providers = fs::read_dir(folder()).expect("there are golden requests");
    let on_disk = providers.flat_map(|home| fs::read_dir(home.expect("readable").path()).expect("a folder"));
    let on_disk: BTreeSet<_> = on_disk.map(|file| file.expect("readable").path()).collect();
    assert_eq!(on_disk, files, "files that no provider names");
}
