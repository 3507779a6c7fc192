//! The files that go with a mail: what a content asks for, and fetching them, once for each message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tidings_contract::{Blame, Material, MessageId, Outcome};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::http::{Answer, Client, ClientOptions, Failure, HeaderMap, HeaderValue, Method, USER_AGENT, Url, header};

/// Most files of one mail.
pub(crate) const MOST_FILES: usize = 20;
/// Longest time to fetch one file.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a file that was fetched serves the other recipients of its message.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Most files kept for one account, and most of their bytes together.
const KEPT_FILES: usize = 64;
const KEPT_BYTES: usize = 64 * 1_024 * 1_024;
/// Longest name of a file, in characters.
const NAME_LIMIT: usize = 128;

/// One file that a content asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where it is.
    pub(crate) from: From,
    /// What it is called; default what the URL ends in.
    pub(crate) name: Option<String>,
    /// Its media type; default what its server says.
    pub(crate) media_type: Option<String>,
    /// The id by which the HTML shows it (`cid:<id>`, RFC 2392); without it the file is an attachment.
    pub(crate) inline: Option<String>,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At an http or https URL.
    Url(Url),
    /// Among the cluster's materials, by its id.
    Material(String),
}

/// A file, ready to go into a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) inline: Option<String>,
    pub(crate) bytes: Arc<[u8]>,
}

/// What a content asks for under `attachments`: a list of `{url | material, name?, media_type?, inline?}`.
///
/// # Errors
/// What is wrong, with the place in the list.
pub(crate) fn wanted(content: &Value) -> Result<Vec<Wanted>, String> {
    let items = match content.get("attachments") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err("attachments must be a list".to_owned()),
    };
    if items.len() > MOST_FILES {
        return Err(format!("attachments has more than {MOST_FILES} files"));
    }
    let items = items.iter().enumerate();
    items.map(|(at, item)| one(item).map_err(|detail| format!("attachments[{at}]{detail}"))).collect()
}

fn one(item: &Value) -> Result<Wanted, String> {
    let fields = item.as_object().ok_or(" must be an object")?;
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!(".{name} is not a field; there are: {}", FIELDS.join(", ")));
    }
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(format!(".{name} must be a text")),
    };
    let from = match (text("url")?, text("material")?) {
        (Some(url), None) => From::Url(address(&url)?),
        (None, Some(id)) if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            From::Material(id.to_lowercase())
        }
        (None, Some(_)) => return Err(".material must be the id of a material".to_owned()),
        _ => return Err(" needs either url or material".to_owned()),
    };
    let inline = text("inline")?;
    if inline
        .as_ref()
        .is_some_and(|id| id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b)))
    {
        return Err(".inline must be at most 64 letters, digits, dots, hyphens, underscores and @".to_owned());
    }
    let media_type = text("media_type")?;
    if media_type.as_deref().is_some_and(|text| media(text).is_none()) {
        return Err(".media_type must be like image/png".to_owned());
    }
    Ok(Wanted { from, name: text("name")?, media_type, inline })
}

impl Wanted {
    /// The file that a material is in this mail.
    pub(crate) fn of_material(&self, material: &Material) -> File {
        let media_type = self.media_type.as_deref().and_then(media).or_else(|| media(&material.media_type));
        File {
            name: name(self.name.as_deref().or(Some(&material.name)), None),
            media_type: media_type.map_or_else(unknown_type, str::to_owned),
            inline: self.inline.clone(),
            bytes: Arc::clone(&material.bytes),
        }
    }

    /// What stands for the file in a preview, which fetches nothing.
    pub(crate) fn unfetched(&self) -> File {
        let url = if let From::Url(url) = &self.from { Some(url) } else { None };
        File {
            name: name(self.name.as_deref(), url),
            media_type: self.media_type.as_deref().and_then(media).map_or_else(unknown_type, str::to_owned),
            inline: self.inline.clone(),
            bytes: b"(fetched when the mail is sent)".as_slice().into(),
        }
    }
}

const FIELDS: &[&str] = &["url", "material", "name", "media_type", "inline"];

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!(".url is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(".url must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(".url must not hold a user or a password".to_owned());
    }
    Ok(url)
}

/// The media type if it is one that can stand for a file: no multipart, no message, no line breaks.
fn media(text: &str) -> Option<&str> {
    let plain = text.split(';').next()?.trim();
    let (kind, sub) = plain.split_once('/')?;
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    (token(kind) && token(sub) && !matches!(kind, "multipart" | "message") && plain.len() <= 128).then_some(plain)
}

/// Fetches files for one account.
#[derive(Debug)]
pub(crate) struct Fetcher {
    public: Client,
    anywhere: Client,
    /// Names of hosts that may be outside the public internet.
    hosts: Vec<String>,
    kept: Mutex<VecDeque<Kept>>,
    most: usize,
}

#[derive(Clone, Debug)]
struct Kept {
    key: (MessageId, String),
    since: Instant,
    file: Arc<OnceCell<Arc<Fetched>>>,
}

/// What a server gave.
#[derive(Debug)]
struct Fetched {
    media_type: Option<String>,
    bytes: Arc<[u8]>,
}

impl Fetcher {
    /// Fetches files of at most `most` bytes. `hosts` may be outside the public internet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(most: usize, hosts: Vec<String>) -> Result<Self, Failure> {
        let client = |public_only| {
            Client::new(ClientOptions { timeout: FETCH_TIMEOUT, body_limit: most, public_only, gzip: false })
        };
        Ok(Self { public: client(true)?, anywhere: client(false)?, hosts, kept: Mutex::default(), most })
    }

    /// The file, fetched or from what was fetched for the same message before.
    ///
    /// # Errors
    /// What the mail's attempt comes to without it: later or never.
    pub(crate) async fn get(&self, message: MessageId, wanted: &Wanted, url: &Url) -> Result<File, Outcome> {
        let cell = self.cell((message, url.to_string()));
        let fetched = cell.get_or_try_init(|| self.fetch(url)).await?;
        let media_type = wanted.media_type.as_deref().and_then(media).map(str::to_owned);
        Ok(File {
            name: name(wanted.name.as_deref(), Some(url)),
            media_type: media_type.or_else(|| fetched.media_type.clone()).unwrap_or_else(unknown_type),
            inline: wanted.inline.clone(),
            bytes: Arc::clone(&fetched.bytes),
        })
    }

    /// The place of a file among those that are kept; old ones and the oldest of too many give way.
    fn cell(&self, key: (MessageId, String)) -> Arc<OnceCell<Arc<Fetched>>> {
        let mut kept = self.kept.lock();
        kept.retain(|one| one.since.elapsed() < KEPT_FOR);
        if let Some(found) = kept.iter().find(|one| one.key == key) {
            return Arc::clone(&found.file);
        }
        let bytes = |kept: &VecDeque<Kept>| {
            kept.iter().filter_map(|one| one.file.get()).map(|file| file.bytes.len()).sum::<usize>()
        };
        while kept.len() >= KEPT_FILES || bytes(&kept) > KEPT_BYTES.saturating_sub(self.most) {
            if kept.pop_front().is_none() {
                break;
            }
        }
        let new = Kept { key, since: Instant::now(), file: Arc::default() };
        let file = Arc::clone(&new.file);
        kept.push_back(new);
        file
    }

    async fn fetch(&self, url: &Url) -> Result<Arc<Fetched>, Outcome> {
        let known = url.host_str().is_some_and(|host| self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host)));
        let client = if known { &self.anywhere } else { &self.public };
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let answer = client.call(Method::GET, url.clone(), headers, bytes::Bytes::new()).await.map_err(not_fetched)?;
        self.judge(answer).map(Arc::new)
    }

    fn judge(&self, answer: Answer) -> Result<Fetched, Outcome> {
        let words = format!("the server of an attachment answered {}", answer.status);
        match answer.status {
            200 if answer.cut => {
                let words = format!("an attachment is larger than {} bytes", self.most);
                Err(Outcome::never(Blame::Content, "attachment_too_large", words))
            }
            200 => Ok(Fetched {
                media_type: answer.header("content-type").and_then(media).map(str::to_owned),
                bytes: answer.body.to_vec().into(),
            }),
            // A redirect could lead past the guard, so it is not followed.
            300..=399 => {
                Err(Outcome::never(Blame::Content, "attachment", format!("{words}; redirects are not followed")))
            }
            408 | 425 | 429 | 500..=599 => Err(Outcome::later("attachment", words)),
            _ => Err(Outcome::never(Blame::Content, "attachment", words)),
        }
    }
}

/// Nothing of the mail went out yet, so what is unknown about the file is certain about the mail.
fn not_fetched(failure: Failure) -> Outcome {
    match failure {
        Failure::Forbidden { words } => {
            Outcome::never(Blame::Content, "address_forbidden", format!("an attachment: {words}"))
        }
        Failure::NotSent { code, words } | Failure::Broken { code, words } => {
            Outcome::later("attachment", format!("an attachment could not be fetched: {code}: {words}"))
        }
    }
}

/// What a file is called in the mail: never a path, never a line break.
pub(crate) fn name(given: Option<&str>, url: Option<&Url>) -> String {
    let last = url.and_then(|url| url.path_segments()?.next_back().map(str::to_owned)).unwrap_or_default();
    let last = percent_encoding::percent_decode_str(&last).decode_utf8_lossy();
    let text = given.unwrap_or(&last);
    let safe = |c: char| if c.is_control() || "/\\:\"<>|*?".contains(c) { '_' } else { c };
    let name: String = text.trim().chars().map(safe).take(NAME_LIMIT).collect();
    if name.trim_matches(['.', '_', ' ']).is_empty() { "attachment".to_owned() } else { name }
}

/// The media type of what nobody named one for (RFC 2046 §4.5.1).
pub(crate) fn unknown_type() -> String {
    "application/octet-stream".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_contract::{PartitionId, Time};

    use super::*;
    use crate::testing::{HttpReply, HttpServer};

    fn fetcher(hosts: &[&str]) -> Fetcher {
        Fetcher::new(1_000, hosts.iter().map(|host| (*host).to_owned()).collect()).expect("TLS is there")
    }

    fn message(chance: u64) -> MessageId {
        MessageId::new(Time(1), PartitionId(0), chance)
    }

    async fn get(fetcher: &Fetcher, chance: u64, url: &str) -> Result<File, Outcome> {
        let wanted = wanted(&json!({"attachments": [{"url": url}]})).expect("it is right").remove(0);
        let From::Url(url) = wanted.from.clone() else { panic!("a URL") };
        fetcher.get(message(chance), &wanted, &url).await
    }

    #[test]
    fn what_a_content_asks_for_is_read_and_mistakes_are_named() {
        let hash = "a".repeat(64);
        let good = json!({"attachments": [
            {"url": "https://a.example/in%20voice.pdf", "name": "../../invoice.pdf"}, {"material": hash, "inline": "logo"}]});
        let read = wanted(&good).expect("it is right");
        assert_eq!((&read[1].from, read[1].inline.as_deref()), (&From::Material(hash), Some("logo")));
        assert_eq!(name(read[0].name.as_deref(), None), ".._.._invoice.pdf");
        for (item, expected) in [
            (json!({"attachments": {}}), "attachments must be a list"),
            (json!({"attachments": [7]}), "attachments[0] must be an object"),
            (json!({"attachments": [{}]}), "attachments[0] needs either url or material"),
            (
                json!({"attachments": [{"url": "https://a.example/", "material": "x"}]}),
                "attachments[0] needs either url or material",
            ),
            (
                json!({"attachments": [{"url": "ftp://a.example/"}]}),
                "attachments[0].url must begin with http:// or https://",
            ),
            (
                json!({"attachments": [{"url": "file:///etc/passwd"}]}),
                "attachments[0].url must begin with http:// or https://",
            ),
            (
                json!({"attachments": [{"url": "https://u:p@a.example/"}]}),
                "attachments[0].url must not hold a user or a password",
            ),
            (json!({"attachments": [{"material": "x"}]}), "attachments[0].material must be the id of a material"),
            (
                json!({"attachments": [{"url": "https://a.example/", "inline": "a b"}]}),
                "attachments[0].inline must be at most 64 letters, digits, dots, hyphens, underscores and @",
            ),
            (
                json!({"attachments": [{"url": "https://a.example/", "media_type": "text/plain\r\nX: 1"}]}),
                "attachments[0].media_type must be like image/png",
            ),
            (
                json!({"attachments": [{"url": "https://a.example/", "media_type": "message/rfc822"}]}),
                "attachments[0].media_type must be like image/png",
            ),
            (
                json!({"attachments": [{"url": "https://a.example/", "size": 7}]}),
                "attachments[0].size is not a field; there are: url, material, name, media_type, inline",
            ),
        ] {
            assert_eq!(wanted(&item).expect_err("it is wrong"), expected);
        }
    }

    #[tokio::test]
    async fn a_file_is_fetched_once_for_all_recipients_of_a_message() {
        let reply = HttpReply::text(200, "%PDF").with("Content-Type", "application/pdf; v=1");
        let server = HttpServer::start(reply).await.expect("a free port");
        let fetcher = fetcher(&["127.0.0.1"]);
        let url = server.url("/files/in voice.pdf?k=1");
        let (one, two) = tokio::join!(get(&fetcher, 1, &url), get(&fetcher, 1, &url));
        let file = one.expect("it is there");
        assert_eq!(file, two.expect("it is there"));
        assert_eq!(
            (file.name.as_str(), file.media_type.as_str(), &*file.bytes),
            ("in voice.pdf", "application/pdf", &b"%PDF"[..])
        );
        assert_eq!(server.count(), 1);
        get(&fetcher, 2, &url).await.expect("another message asks again: the file may have changed");
        assert_eq!(server.count(), 2);
    }

    #[tokio::test]
    async fn only_the_public_internet_is_asked_unless_the_account_names_the_host() {
        let server = HttpServer::start(HttpReply::text(200, "secret")).await.expect("a free port");
        let port =
            server.url("/").rsplit_once(':').map(|(_, rest)| rest.trim_end_matches('/').to_owned()).expect("a port");
        let fetcher = fetcher(&["only.example"]);
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
            "169.254.169.254",
            "10.0.0.1",
            "2130706433",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "100.100.100.200",
            "0x7f.1",
        ] {
            let outcome = get(&fetcher, 1, &format!("http://{host}:{port}/")).await.expect_err("it must not be asked");
            assert_eq!(outcome.reason().map(|r| r.code.as_str()), Some("address_forbidden"), "{host}: {outcome:?}");
            assert!(matches!(outcome, Outcome::Never { blame: Blame::Content, .. }));
        }
        assert_eq!(server.connections(), 0);
    }

    #[tokio::test]
    async fn every_way_a_fetch_can_fail_says_whether_to_try_again_and_is_not_remembered() {
        let cases = [
            (HttpReply::text(200, &"x".repeat(1_001)), "never attachment_too_large"),
            (HttpReply::Flood(200), "never attachment_too_large"),
            (HttpReply::status(302).with("Location", "http://127.0.0.1:1/"), "never attachment"),
            (HttpReply::status(404), "never attachment"),
            (HttpReply::status(503), "later attachment"),
            (HttpReply::Reset, "later attachment"),
            (HttpReply::Truncate, "later attachment"),
        ];
        for (reply, expected) in cases {
            let server = HttpServer::start(HttpReply::text(200, "x")).await.expect("a free port");
            server.then([reply.clone()]);
            let fetcher = fetcher(&["127.0.0.1"]);
            let outcome = get(&fetcher, 1, &server.url("/f")).await.expect_err("it fails");
            let code = outcome.reason().map(|r| r.code.clone()).unwrap_or_default();
            assert_eq!(format!("{} {code}", outcome.class()), expected, "{reply:?}");
            get(&fetcher, 1, &server.url("/f")).await.expect("the next attempt asks again");
        }
    }
}
