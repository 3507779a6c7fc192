//! An SMTP server that takes mails and records them, or fails where a test told it to.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Most of a mail that is kept, in bytes.
const MAIL_LIMIT: usize = 16 * 1_024 * 1_024;

/// What the server does at one step instead of what it should.
#[derive(Clone, Debug)]
pub enum SmtpStep {
    /// Says this line, its code included.
    Reply(String),
    /// Closes the connection.
    Close,
    /// Does and says the usual thing, and these lines with it at once.
    Adds(String),
    /// Says nothing more.
    Hang,
    /// Says lines of a reply that has no end.
    Endless,
}

/// How the server behaves.
#[derive(Clone, Debug, Default)]
pub struct SmtpScript {
    /// Speaks TLS from the first byte.
    pub implicit_tls: bool,
    /// Offers STARTTLS.
    pub starttls: bool,
    /// The name and password it wants; without them it takes mails from anyone.
    pub login: Option<(String, String)>,
    /// Offers AUTH LOGIN only, not AUTH PLAIN.
    pub login_only: bool,
    /// What it does at `GREETING`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` or `END` (the final dot).
    pub steps: BTreeMap<&'static str, SmtpStep>,
}

impl SmtpScript {
    /// The same with a step of its own.
    #[must_use]
    pub fn at(mut self, verb: &'static str, step: SmtpStep) -> Self {
        self.steps.insert(verb, step);
        self
    }

    /// The same with a reply of its own, such as `550 5.1.1 no such user`.
    #[must_use]
    pub fn says(self, verb: &'static str, line: &str) -> Self {
        self.at(verb, SmtpStep::Reply(line.to_owned()))
    }
}

/// A mail that was taken, or whose final dot was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The address in MAIL.
    pub from: String,
    /// The addresses in RCPT.
    pub to: Vec<String>,
    /// Headers and body, dots unstuffed.
    pub data: String,
    /// The name that logged in.
    pub user: Option<String>,
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
}

/// The server. Stops when it is dropped.
#[derive(Debug)]
pub struct SmtpServer {
    addr: SocketAddr,
    certificate: String,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    script: Mutex<SmtpScript>,
    mails: Mutex<Vec<ReceivedMail>>,
    connections: Mutex<usize>,
}

impl SmtpServer {
    /// Listens on a free port of 127.0.0.1 with a fresh certificate for `localhost`.
    ///
    /// # Errors
    /// When no port is free or no certificate can be made.
    pub async fn start(script: SmtpScript) -> io::Result<Self> {
        let (certificate, acceptor) = certificate().map_err(io::Error::other)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let state = State { script: Mutex::new(script), mails: Mutex::default(), connections: Mutex::default() };
        let state = Arc::new(state);
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Ok(Self { addr, certificate, state, accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its certificate in PEM: what goes into an account's `ca_pem`.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Changes how it behaves from the next step of every connection on.
    pub fn set(&self, script: SmtpScript) {
        *self.state.script.lock() = script;
    }

    /// Every mail, in order.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.state.mails.lock().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        *self.state.connections.lock()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn certificate() -> Result<(String, TlsAcceptor), Box<dyn std::error::Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    Ok((made.cert.pem(), TlsAcceptor::from(Arc::new(config))))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *state.connections.lock() += 1;
        let number = *state.connections.lock();
        connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&state), number));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>, number: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if state.script.lock().implicit_tls {
        let stream = acceptor.accept(stream).await?;
        let mut dialog = Dialog::new(stream, state, true, number);
        dialog.greet().await?;
        return dialog.talk().await.map(|_| ());
    }
    let mut dialog = Dialog::new(stream, Arc::clone(&state), false, number);
    dialog.greet().await?;
    if dialog.talk().await? == End::Starttls {
        let stream = acceptor.accept(dialog.stream.into_inner()).await?;
        Dialog::new(stream, state, true, number).talk().await?;
    }
    Ok(())
}

/// How a talk ended.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Starttls,
}

struct Dialog<S> {
    stream: BufReader<S>,
    state: Arc<State>,
    mail: ReceivedMail,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialog<S> {
    fn new(stream: S, state: Arc<State>, encrypted: bool, connection: usize) -> Self {
        let mail = ReceivedMail {
            from: String::new(),
            to: Vec::new(),
            data: String::new(),
            user: None,
            encrypted,
            connection,
        };
        Self { stream: BufReader::new(stream), state, mail }
    }

    async fn greet(&mut self) -> io::Result<()> {
        self.step("GREETING", "220 scripted ESMTP").await.map(|_| ())
    }

    async fn talk(&mut self) -> io::Result<End> {
        while let Some(line) = self.line().await? {
            let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => {
                    let extensions = self.extensions();
                    self.step("EHLO", &extensions).await?;
                }
                "STARTTLS" => {
                    if self.step("STARTTLS", "220 go ahead").await? {
                        return Ok(End::Starttls);
                    }
                }
                "AUTH" => self.auth(&line).await?,
                "MAIL" if self.state.script.lock().login.is_some() && self.mail.user.is_none() => {
                    self.say("530 5.7.0 authentication required").await?;
                }
                "MAIL" => {
                    if self.step("MAIL", "250 2.1.0 ok").await? {
                        (self.mail.from, self.mail.to) = (path(&line), Vec::new());
                    }
                }
                "RCPT" => {
                    if self.step("RCPT", "250 2.1.5 ok").await? {
                        self.mail.to.push(path(&line));
                    }
                }
                "DATA" => {
                    if self.step("DATA", "354 end with a dot").await? {
                        self.data().await?;
                    }
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    return Ok(End::Closed);
                }
                "RSET" | "NOOP" => self.say("250 2.0.0 ok").await?,
                _ => self.say("502 5.5.1 not known").await?,
            }
        }
        Ok(End::Closed)
    }

    fn extensions(&self) -> String {
        let script = self.state.script.lock();
        let mut lines = String::from("250-scripted\r\n250-8BITMIME\r\n");
        if script.starttls && !self.mail.encrypted {
            lines.push_str("250-STARTTLS\r\n");
        }
        if script.login.is_some() {
            lines.push_str(if script.login_only { "250-AUTH LOGIN\r\n" } else { "250-AUTH PLAIN LOGIN\r\n" });
        }
        lines.push_str("250 ENHANCEDSTATUSCODES");
        lines
    }

    async fn auth(&mut self, line: &str) -> io::Result<()> {
        let mut words = line.split_whitespace().skip(1);
        let (user, password) = match (words.next(), words.next()) {
            (Some("PLAIN"), Some(initial)) => {
                let text = decoded(initial);
                let mut parts = text.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            (Some("LOGIN"), None) => {
                self.say(&format!("334 {}", STANDARD.encode("Username:"))).await?;
                let user = self.line().await?.unwrap_or_default();
                self.say(&format!("334 {}", STANDARD.encode("Password:"))).await?;
                let password = self.line().await?.unwrap_or_default();
                (decoded(&user), decoded(&password))
            }
            _ => return self.say("504 5.5.4 not known").await,
        };
        let right = self.state.script.lock().login.as_ref() == Some(&(user.clone(), password));
        if !right {
            return self.say("535 5.7.8 wrong name or password").await;
        }
        if self.step("AUTH", "235 2.7.0 welcome").await? {
            self.mail.user = Some(user);
        }
        Ok(())
    }

    async fn data(&mut self) -> io::Result<()> {
        let mut data = String::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(()) };
            if line == "." {
                break;
            }
            if data.len() < MAIL_LIMIT {
                data.push_str(line.strip_prefix('.').unwrap_or(&line));
                data.push_str("\r\n");
            }
        }
        // A server that breaks off after the final dot may have taken the mail, so it is kept before the reply.
        let refused = matches!(self.state.script.lock().steps.get("END"), Some(SmtpStep::Reply(_)));
        if !refused {
            self.state.mails.lock().push(ReceivedMail { data, ..self.mail.clone() });
        }
        let number = self.state.mails.lock().len();
        self.step("END", &format!("250 2.0.0 ok: queued as Q{number}")).await.map(|_| ())
    }

    /// Does what the script says at `verb`, else says `usual`. Tells whether the usual thing was done.
    async fn step(&mut self, verb: &str, usual: &str) -> io::Result<bool> {
        let step = self.state.script.lock().steps.get(verb).cloned();
        match step {
            None => self.say(usual).await.map(|()| true),
            Some(SmtpStep::Reply(line)) => self.say(&line).await.map(|()| false),
            Some(SmtpStep::Adds(more)) => self.say(&format!("{usual}\r\n{more}")).await.map(|()| true),
            Some(SmtpStep::Close) => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(SmtpStep::Hang) => std::future::pending().await,
            Some(SmtpStep::Endless) => loop {
                self.say("250-and more").await?;
            },
        }
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.get_mut().flush().await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await?;
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok((read > 0).then_some(line))
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path).to_owned()
}

fn decoded(text: &str) -> String {
    STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
