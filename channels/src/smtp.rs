//! Submits mails over SMTP: connections kept open, one mail at a time on each, and exact about how far a mail got.

use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use parking_lot::Mutex;
use tidings_contract::{Blame, Outcome, Secret};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::barrier::Barrier;
use crate::show;
use crate::smtp_line::Line;
use crate::smtp_reply::{Stage, judge, judge_silence};

/// An idle connection is not used again after this; servers drop them after some minutes (RFC 5321 §4.5.3.2.7).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Mails on one connection before a new one is opened; some servers allow no more.
const MAILS_PER_CONNECTION: u32 = 100;

/// How the connection is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// STARTTLS (RFC 3207), refused if the server does not offer it.
    Starttls,
    /// TLS from the first byte (RFC 8314 §3.3).
    Implicit,
    /// Neither; for servers on this machine.
    None,
}

/// Where mails are handed in, and how.
pub(crate) struct SmtpOptions {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) hello: ClientId,
    pub(crate) login: Option<(String, Secret)>,
    /// Roots trusted beside the system's.
    pub(crate) roots: Option<Certificate>,
    /// Longest time of one mail, waiting for a connection included.
    pub(crate) timeout: Duration,
    /// Most connections at once.
    pub(crate) connections: usize,
}

/// A server that mails are handed to.
pub(crate) struct Smtp {
    options: SmtpOptions,
    tls: OnceLock<Result<TlsParameters, String>>,
    permits: Semaphore,
    idle: Mutex<Vec<Open>>,
}

struct Open {
    connection: AsyncSmtpConnection,
    line: Line,
    used: Instant,
    mails: u32,
    /// Whether the server still remembers a mail that it refused.
    refused: bool,
}

/// One mail on its way.
#[derive(Clone, Copy)]
struct Submission<'a> {
    from: &'a Address,
    to: &'a Address,
    mail: &'a [u8],
    stage: &'a AtomicU8,
    barrier: &'a Barrier,
}

/// Why a mail was not taken, other than by a class of its own.
enum Trouble {
    /// The library's error: a reply of the server's or a broken connection.
    Smtp(lettre::transport::smtp::Error),
    /// Known without asking the server.
    Outcome(Outcome),
}

impl From<lettre::transport::smtp::Error> for Trouble {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self::Smtp(error)
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("host", &self.options.host)
            .field("port", &self.options.port)
            .finish_non_exhaustive()
    }
}

async fn reach(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let found = crate::resolving::addresses(host).await?;
    let found: Vec<SocketAddr> = found.iter().map(|found| SocketAddr::new(found.ip(), port)).collect();
    TcpStream::connect(&found[..]).await
}

impl Smtp {
    pub(crate) fn new(options: SmtpOptions) -> Self {
        let permits = Semaphore::new(options.connections);
        Self { options, tls: OnceLock::new(), permits, idle: Mutex::new(Vec::new()) }
    }

    /// Hands in one mail for one recipient.
    pub(crate) async fn send(&self, from: &Address, to: &Address, mail: &[u8]) -> Outcome {
        if show::is_on()
            && let Some(shown) = self.show(from, to, mail)
        {
            return shown;
        }
        let (stage, barrier) = (AtomicU8::new(0), Barrier::around());
        let submission = Submission { from, to, mail, stage: &stage, barrier: &barrier };
        let result = tokio::time::timeout(self.options.timeout, self.submit(submission)).await;
        let stage = Stage::load(&stage);
        match result {
            // The dot did not leave, so the mail was not handed in.
            _ if barrier.is_shut() => Outcome::fenced(),
            Ok(Ok(provider_id)) => Outcome::Delivered { provider_id },
            Ok(Err(Trouble::Outcome(outcome))) => outcome,
            Ok(Err(Trouble::Smtp(error))) => judge(stage, &error, submission.to),
            Err(_) => judge_silence(stage),
        }
    }

    fn show(&self, from: &Address, to: &Address, mail: &[u8]) -> Option<Outcome> {
        let SmtpOptions { host, port, security, login, .. } = &self.options;
        let scheme = if *security == Security::Implicit { "smtps" } else { "smtp" };
        let mut headers = vec![("from".to_owned(), from.to_string()), ("to".to_owned(), to.to_string())];
        headers.extend(login.iter().map(|(user, _)| ("login".to_owned(), user.clone())));
        if *security == Security::Starttls {
            headers.push(("tls".to_owned(), "starttls".to_owned()));
        }
        show::other("SMTP", format!("{scheme}://{host}:{port}"), headers, mail)
    }

    async fn submit(&self, submission: Submission<'_>) -> Result<Option<String>, Trouble> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(Trouble::Outcome(Outcome::later("busy", "the account is being closed")));
        };
        if let Some(mut open) = self.take() {
            Stage::Sender.store(submission.stage);
            // RSET waits for the next mail: sent at once, it could cost this one its outcome.
            if !open.refused || open.connection.command(Rset).await.is_ok() {
                open.refused = false;
                match self.hand_in(&mut open, submission).await {
                    // The server gave it up while it was idle, and nothing of this mail was taken.
                    Err(Trouble::Smtp(error)) if is_used_up(Stage::load(submission.stage), &error) => {}
                    result => return self.put_back(open, submission, result),
                }
            }
        }
        Stage::Connect.store(submission.stage);
        let (connection, line) = self.connect(submission.stage).await?;
        let mut open = Open { connection, line, used: Instant::now(), mails: 0, refused: false };
        let result = self.hand_in(&mut open, submission).await;
        self.put_back(open, submission, result)
    }

    /// Connects, makes the connection safe, logs in.
    async fn connect(&self, stage: &AtomicU8) -> Result<(AsyncSmtpConnection, Line), Trouble> {
        let SmtpOptions { host, port, security, hello, login, .. } = &self.options;
        let implicit = if *security == Security::Implicit { Some(self.tls()?) } else { None };
        let line = Line::default();
        let stream = reach(host, *port).await;
        let stream = stream.map_err(|error| Trouble::Outcome(Outcome::later("connect", error.to_string())))?;
        let mut connection = line.greet(stream, implicit, hello).await?;
        if *security == Security::Starttls {
            if !connection.can_starttls() {
                let words = "the server offers no STARTTLS";
                return Err(Trouble::Outcome(Outcome::never(Blame::Account, "starttls", words)));
            }
            connection.starttls(self.tls()?, hello).await?;
        }
        if let Some((user, password)) = login {
            Stage::Login.store(stage);
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&mechanisms).is_none() {
                let words = "the server offers neither AUTH PLAIN nor AUTH LOGIN";
                return Err(Trouble::Outcome(Outcome::never(Blame::Account, "auth", words)));
            }
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(&mechanisms, &credentials).await?;
        }
        Ok((connection, line))
    }

    /// The TLS settings, made at the first connection because the system's roots are read from disk.
    fn tls(&self) -> Result<TlsParameters, Trouble> {
        let made = self.tls.get_or_init(|| {
            let mut builder = TlsParameters::builder(self.options.host.clone());
            if let Some(roots) = &self.options.roots {
                builder = builder.add_root_certificate(roots.clone());
            }
            builder.build_rustls().map_err(|error| error.to_string())
        });
        made.clone().map_err(|words| Trouble::Outcome(Outcome::later("tls", words)))
    }

    /// MAIL, RCPT, DATA and the mail itself (RFC 5321 §3.3). The server takes the mail at the final dot and not before, so the
    /// barrier is asked up to there; a connection that breaks in front of it hands nothing in (RFC 5321 §4.1.1.4).
    async fn hand_in(&self, open: &mut Open, submission: Submission<'_>) -> Result<Option<String>, Trouble> {
        let Submission { from, to, mail, stage, barrier } = submission;
        let connection = &mut open.connection;
        Stage::Sender.store(stage);
        if !barrier.opens() {
            return Err(Trouble::Outcome(Outcome::fenced()));
        }
        let parameters = parameters(connection, submission)?;
        connection.command(Mail::new(Some(from.clone()), parameters)).await?;
        Stage::Recipient.store(stage);
        connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
        Stage::Data.store(stage);
        connection.command(Data).await?;
        open.line.guard(Some(barrier.clone()));
        barrier.opens();
        Stage::Sent.store(stage);
        let reply = connection.message(mail).await?;
        open.line.guard(None);
        open.mails += 1;
        Ok(reply.first_line().and_then(queue_id))
    }

    /// An idle connection that is not too old.
    fn take(&self) -> Option<Open> {
        let mut idle = self.idle.lock();
        idle.retain(|open| open.used.elapsed() < IDLE_TIMEOUT);
        idle.pop()
    }

    /// Keeps the connection for the next mail if the server is still talking on it.
    fn put_back(
        &self,
        mut open: Open,
        submission: Submission<'_>,
        result: Result<Option<String>, Trouble>,
    ) -> Result<Option<String>, Trouble> {
        let reusable = match &result {
            Ok(_) => open.mails < MAILS_PER_CONNECTION,
            // After a refusal of this recipient or mail the server waits for the next command. Whoever is asked to come back later, or
            // refused before the recipient was named, is not welcome on this connection any more.
            Err(Trouble::Smtp(error)) => {
                error.is_permanent() && !is_stale(error) && Stage::load(submission.stage) >= Stage::Recipient
            }
            Err(Trouble::Outcome(_)) => true,
        };
        if reusable {
            open.used = Instant::now();
            open.refused = result.is_err();
            self.idle.lock().push(open);
        }
        result
    }
}

/// Whether the server has given the connection up: no reply, or 421 (RFC 5321 §3.8).
fn is_stale(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_none_or(|code| u16::from(code) == 421)
}

/// Whether nothing more is to be had on a connection that was used before, and nothing of the mail was taken: the server gave
/// it up while it was idle, or takes no further mail on it.
fn is_used_up(stage: Stage, error: &lettre::transport::smtp::Error) -> bool {
    stage < Stage::Sent && is_stale(error) || stage == Stage::Sender && error.is_transient()
}

/// What MAIL must announce: addresses beyond ASCII (RFC 6531), a mail beyond ASCII (RFC 6152).
fn parameters(connection: &AsyncSmtpConnection, submission: Submission<'_>) -> Result<Vec<MailParameter>, Trouble> {
    let Submission { from, to, mail, .. } = submission;
    let mut parameters = Vec::new();
    let info = connection.server_info();
    if !AsRef::<str>::as_ref(from).is_ascii() || !AsRef::<str>::as_ref(to).is_ascii() {
        if !info.supports_feature(Extension::SmtpUtfEight) {
            let words = "the server takes no addresses beyond ASCII (SMTPUTF8)";
            return Err(Trouble::Outcome(Outcome::never(Blame::Recipient, "smtputf8", words)));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() && info.supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

/// The server's id out of its last reply: what follows `queued as`, else the whole line.
fn queue_id(line: &str) -> Option<String> {
    let id = line.rsplit_once("queued as ").map_or(line, |(_, id)| id).trim();
    (!id.is_empty()).then(|| id.chars().take(128).collect())
}
