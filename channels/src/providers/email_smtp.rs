//! `email/smtp`: hands mails to an SMTP submission server, one mail for each recipient.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::Certificate;
use lettre::transport::smtp::extension::ClientId;
use tidings_contract::{
    Blame, Call, Channel, FieldError, Outcome, Provider, ProviderInfo, Secret, Setting, Settings, Target,
};

use crate::SandboxInbox;
use crate::attachments::{Fetcher, File, From, wanted};
use crate::dkim::Dkim;
use crate::mail::{Letter, build};
use crate::reading::Reading;
use crate::show;
use crate::smtp::{Security, Smtp, SmtpOptions};
use crate::status::without;

const fn setting(name: &'static str, required: bool, doc: &'static str) -> Setting {
    Setting { name, required, secret: false, doc }
}

static INFO: ProviderInfo = ProviderInfo {
    name: "email/smtp",
    channel: "email",
    doc: "Hands mails to an SMTP submission server.",
    source: "RFC 5321, RFC 3207, RFC 3463, RFC 4954, RFC 5322, RFC 6376, RFC 8058, RFC 8314",
    settings: &[
        setting("host", true, "The server's name."),
        setting("port", false, "Its port; default 587, or 465 where tls is implicit, or 25 where it is none."),
        setting("username", false, "The name to log in with; without it there is no login."),
        Setting { name: "password", required: false, secret: true, doc: "The password to log in with." },
        setting("from", true, "The sender: an address, or Name <address>."),
        setting("tls", false, "starttls (default, never without it), implicit, or none for a server on this machine."),
        setting("ca_pem", false, "Certificates in PEM that are trusted beside the system's."),
        setting("helo", false, "How we name ourselves to the server; default the machine's name."),
        setting("connections", false, "Most connections at once on each node, 1 to 100; default 8."),
        setting("timeout_ms", false, "How long one mail may take, in milliseconds, 100 to 60,000; default 30,000."),
        setting("dkim_domain", false, "The domain that mails are signed for (DKIM); default that of from."),
        setting(
            "dkim_selector",
            false,
            "The name of its key: the public one stands in DNS at <selector>._domainkey.<domain>.",
        ),
        Setting {
            name: "dkim_key",
            required: false,
            secret: true,
            doc: "The private key in PEM: RSA of at least 2,048 bits, or Ed25519. Without it mails are not signed here.",
        },
        setting(
            "attachment_bytes",
            false,
            "Most bytes of one mail's files together, 1,024 to 26,214,400; default 10,485,760.",
        ),
        setting(
            "attachment_hosts",
            false,
            "A list of host names from which files may be fetched although they are outside the public internet.",
        ),
    ],
    example: r#"{"host": "smtp.example.com", "username": "shop", "password": "secret", "from": "Shop <no-reply@shop.example>"}"#,
    max_recipients: 1,
    // A mail's files and the mail itself have limits of their own.
    deadline: Duration::from_secs(110),
};

pub(super) fn provider(_: &Arc<SandboxInbox>) -> Arc<dyn Provider> {
    Arc::new(EmailSmtp)
}

#[derive(Debug)]
struct EmailSmtp;

#[derive(Debug)]
struct Account {
    smtp: Smtp,
    from: Mailbox,
    password: Option<Secret>,
    dkim: Option<Dkim>,
    fetcher: Fetcher,
    /// Most bytes of a mail's files together.
    most: usize,
}

impl Provider for EmailSmtp {
    fn info(&self) -> &'static ProviderInfo {
        &INFO
    }

    fn open(&self, _account: &str, settings: &Settings) -> Result<Arc<dyn Channel>, Vec<FieldError>> {
        let mut reading = Reading::new(settings);
        let host = reading.needed_text("host").to_owned();
        let from = reading.needed_text("from").parse::<Mailbox>().ok();
        let from = reading.known("from", "must be a mail address, or Name <address>", from);
        let security = security(&mut reading, &host);
        let usual = match security {
            Security::Starttls => 587,
            Security::Implicit => 465,
            Security::None => 25,
        };
        let port = reading.number("port", usual, 1, 65_535);
        let login = login(&mut reading);
        let roots = roots(&mut reading);
        let hello = reading.text("helo").map(str::to_owned);
        if hello.as_deref().is_some_and(|name| !name.chars().all(|c| c.is_ascii_graphic())) {
            reading.wrong("helo", "must be a host name");
        }
        let connections = reading.number("connections", 8, 1, 100);
        let timeout = reading.timeout(30_000, 60_000);
        let dkim = dkim(&mut reading, from.as_ref());
        let most = usize::try_from(reading.number("attachment_bytes", 10 << 20, 1_024, 25 << 20)).unwrap_or(10 << 20);
        let hosts = hosts(&mut reading, settings);
        let from = reading.finish(from)?;
        let fetcher =
            Fetcher::new(most, hosts).map_err(|failure| vec![FieldError::new("settings", failure.to_string())])?;
        let password = login.as_ref().map(|(_, password)| password.clone());
        let smtp = Smtp::new(SmtpOptions {
            host,
            port: u16::try_from(port).unwrap_or(587),
            security,
            hello: hello.map_or_else(ClientId::default, ClientId::Domain),
            login,
            roots,
            timeout,
            connections: usize::try_from(connections).unwrap_or(8),
        });
        Ok(Arc::new(Account { smtp, from, password, dkim, fetcher, most }))
    }
}

fn security(reading: &mut Reading<'_>, host: &str) -> Security {
    match reading.text("tls") {
        None | Some("starttls") => Security::Starttls,
        Some("implicit") => Security::Implicit,
        Some("none") => {
            let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if !local {
                reading.wrong("tls", "none is only for a server on this machine; use starttls or implicit");
            }
            Security::None
        }
        Some(_) => {
            reading.wrong("tls", "must be starttls, implicit or none");
            Security::Starttls
        }
    }
}

fn login(reading: &mut Reading<'_>) -> Option<(String, Secret)> {
    let (user, password) = (reading.text("username"), reading.secret("password"));
    match (user, password) {
        (Some(user), Some(password)) => Some((user.to_owned(), password.clone())),
        (None, None) => None,
        (Some(_), None) => {
            reading.wrong("password", "is required with a username");
            None
        }
        (None, Some(_)) => {
            reading.wrong("username", "is required with a password");
            None
        }
    }
}

fn roots(reading: &mut Reading<'_>) -> Option<Certificate> {
    let pem = reading.text("ca_pem")?;
    let read = Certificate::from_pem(pem.as_bytes()).ok().filter(|_| pem.contains("BEGIN CERTIFICATE"));
    reading.known("ca_pem", "must be certificates in PEM", read)
}

/// The key that mails are signed with. What is given must be whole.
fn dkim(reading: &mut Reading<'_>, from: Option<&Mailbox>) -> Option<Dkim> {
    let (domain, selector) = (reading.text("dkim_domain"), reading.text("dkim_selector"));
    let Some(key) = reading.secret("dkim_key") else {
        if domain.or(selector).is_some() {
            reading.wrong("dkim_key", "is required with dkim_domain and dkim_selector");
        }
        return None;
    };
    let selector =
        reading.known("dkim_selector", "is required with dkim_key and must be a DNS name", selector.filter(is_dns))?;
    let domain =
        domain.map_or_else(|| from.map(|from| from.email.domain().to_owned()), |name| Some(name.to_owned()))?;
    if !is_dns(&domain.as_str()) {
        reading.wrong("dkim_domain", "must be a DNS name in ASCII");
    }
    reading.known(
        "dkim_key",
        "must be an RSA key of at least 2,048 bits or an Ed25519 key, in PEM",
        Dkim::new(&domain, selector, key.expose()),
    )
}

fn is_dns(name: &&str) -> bool {
    name.len() <= 253
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
}

fn hosts(reading: &mut Reading<'_>, settings: &Settings) -> Vec<String> {
    let Some(value) = settings.plain.get("attachment_hosts") else { return Vec::new() };
    let names = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    reading.known("attachment_hosts", "must be a list of host names", names.flatten()).unwrap_or_default()
}

#[async_trait]
impl Channel for Account {
    async fn send(&self, call: &Call) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(call.targets.len());
        for target in &call.targets {
            outcomes.push(self.hand_in(call, target).await);
        }
        outcomes
    }
}

impl Account {
    async fn hand_in(&self, call: &Call, target: &Target) -> Outcome {
        let Ok(to) = target.to.parse::<Address>() else {
            return Outcome::never(Blame::Recipient, "address", "not a mail address");
        };
        let files = match self.files(call, target).await {
            Ok(files) => files,
            Err(outcome) => return outcome,
        };
        let letter = Letter { from: &self.from, to: &to, delivery: target.delivery, at: call.at };
        let mut mail = match build(&letter, &target.content, &files) {
            Ok(mail) => mail,
            Err(detail) => return Outcome::never(Blame::Content, "content", detail),
        };
        if let Some(dkim) = self.dkim.as_ref().filter(|_| !show::is_on()) {
            let Some(signature) = dkim.sign(&mail, call.at) else {
                return Outcome::never(Blame::Account, "dkim", "the key cannot sign");
            };
            mail.splice(0..0, signature.into_bytes());
        }
        without(self.smtp.send(&self.from.email, &to, &mail).await, &self.password)
    }

    /// The files of the mail, fetched. For a preview they are only named.
    async fn files(&self, call: &Call, target: &Target) -> Result<Vec<File>, Outcome> {
        let wanted = wanted(&target.content).map_err(|detail| Outcome::never(Blame::Content, "content", detail))?;
        let mut files = Vec::with_capacity(wanted.len());
        let mut left = self.most;
        for one in &wanted {
            let file = match &one.from {
                _ if show::is_on() => one.unfetched(),
                From::Url(url) => self.fetcher.get(target.delivery.message(), one, url).await?,
                From::Material(id) => match &call.materials {
                    Some(materials) => one.of_material(&*materials.get(id).await?),
                    None => return Err(Outcome::never(Blame::Content, "material", "there are no materials here")),
                },
            };
            left = left.checked_sub(file.bytes.len()).ok_or_else(|| {
                let words = format!("the files together are larger than {} bytes", self.most);
                Outcome::never(Blame::Content, "attachment_too_large", words)
            })?;
            files.push(file);
        }
        Ok(files)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use crate::Registry;
    use crate::conformance::Subject;
    use crate::testing::open;

    /// It speaks SMTP and has a suite of its own.
    pub(in crate::providers) fn subject() -> Option<Subject> {
        None
    }

    #[test]
    fn wrong_settings_are_named() {
        let cases = [
            (json!({}), vec!["settings.from", "settings.host"]),
            (json!({"host": "h", "from": "nobody"}), vec!["settings.from"]),
            (json!({"host": "mail.example", "from": "a@b.example", "tls": "none"}), vec!["settings.tls"]),
            (json!({"host": "h", "from": "a@b.example", "tls": "maybe"}), vec!["settings.tls"]),
            (json!({"host": "h", "from": "a@b.example", "username": "u"}), vec!["settings.password"]),
            (json!({"host": "h", "from": "a@b.example", "password": "p"}), vec!["settings.username"]),
            (json!({"host": "h", "from": "a@b.example", "ca_pem": "x"}), vec!["settings.ca_pem"]),
            (json!({"host": "h", "from": "a@b.example", "port": 70_000}), vec!["settings.port"]),
            (json!({"host": "h", "from": "a@b.example", "helo": "a b"}), vec!["settings.helo"]),
            (json!({"host": "h", "from": "a@b.example", "dkim_selector": "s"}), vec!["settings.dkim_key"]),
            (json!({"host": "h", "from": "a@b.example", "dkim_key": "x"}), vec!["settings.dkim_selector"]),
            (
                json!({"host": "h", "from": "a@b.example", "dkim_key": "x", "dkim_selector": "s"}),
                vec!["settings.dkim_key"],
            ),
            (
                json!({"host": "h", "from": "a@b.example", "dkim_key": include_str!("../testing/dkim_rsa.pem"),
                    "dkim_selector": "s", "dkim_domain": "b.example; x"}),
                vec!["settings.dkim_domain"],
            ),
            (json!({"host": "h", "from": "a@b.example", "attachment_bytes": 1}), vec!["settings.attachment_bytes"]),
            (
                json!({"host": "h", "from": "a@b.example", "attachment_hosts": ["a", 7]}),
                vec!["settings.attachment_hosts"],
            ),
        ];
        for (settings, expected) in cases {
            let errors = open(&Registry::new(), "email/smtp", settings.clone()).expect_err("it is wrong");
            let mut fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
            fields.sort_unstable();
            assert_eq!(fields, expected, "{settings}");
        }
    }
}
