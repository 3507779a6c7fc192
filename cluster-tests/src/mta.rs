//! A real mail server (Debian's exim4) for one proof: unprivileged, on loopback, with STARTTLS, AUTH and a Maildir.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{User, chown};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::cluster::eventually;
use crate::{Failure, Proof, When};

/// The domain it takes mail for.
pub const DOMAIN: &str = "shop.example";
/// Who may hand mail in.
pub const USER: &str = "tidings";
/// With this password.
pub const PASSWORD: &str = "only for this proof";

/// Where Debian installs it.
const EXIM: &str = "/usr/sbin/exim4";
/// The user that Debian's package makes for it; besides root only this one may start the server.
const ACCOUNT: &str = "Debian-exim";

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Mta {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The certificate that signed its own, in PEM.
    pub ca_pem: String,
    child: Child,
    dir: TempDir,
}

impl Mta {
    /// Starts it and waits until it greets.
    ///
    /// # Errors
    /// When exim4 is not installed or does not start; its log is in the words.
    pub async fn start() -> Proof<Self> {
        let dir = TempDir::with_prefix("tidings-mta-").when("making a temporary folder")?;
        let port = free_port()?;
        let ca_pem = certificates(dir.path())?;
        for folder in ["spool", "log", "mail"] {
            fs::create_dir(dir.path().join(folder)).when("making the server's folders")?;
        }
        let config = dir.path().join("exim.conf");
        fs::write(&config, configuration(dir.path(), port)).when("writing the server's configuration")?;
        let mut command = Command::new(EXIM);
        command.arg("-C").arg(&config).args(["-bdf", "-q1m"]).current_dir(dir.path());
        let said = fs::File::create(dir.path().join("log/saidlog")).when("making the server's log")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        if nix::unistd::geteuid().is_root() {
            let account = User::from_name(ACCOUNT).when("looking for exim4's user")?;
            let account = account.when("looking for exim4's user (Debian package exim4-daemon-light)")?;
            give_away(dir.path(), &account)?;
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        let child = command.spawn().when("starting exim4 (Debian package exim4-daemon-light)")?;
        let mta = Self { port, ca_pem, child, dir };
        eventually("exim4 greets", Duration::from_secs(20), async || {
            let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.when("connecting")?;
            let mut greeting = [0; 3];
            stream.readable().await.when("reading the greeting")?;
            stream.try_read(&mut greeting).when("reading the greeting")?;
            if &greeting == b"220" { Ok(()) } else { Err(Failure::new("another greeting")) }
        })
        .await
        .map_err(|failure| Failure::new(format!("{failure}: {}", mta.log())))?;
        Ok(mta)
    }

    /// Every mail in the Maildir, as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mails(&self) -> Proof<Vec<String>> {
        let folder = self.dir.path().join("mail/new");
        let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
        entries.flatten().map(|entry| fs::read_to_string(entry.path()).when("reading a mail")).collect()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        ["said", "main", "reject", "panic"]
            .map(|name| fs::read_to_string(self.dir.path().join(format!("log/{name}log"))).unwrap_or_default())
            .concat()
    }
}

impl Drop for Mta {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Writes `cert.pem` and `key.pem` for `localhost`, and gives the certificate that signed them.
fn certificates(dir: &Path) -> Proof<String> {
    let authority_key = KeyPair::generate().when("making a key")?;
    let mut authority = CertificateParams::new(Vec::new()).when("making a certificate")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two names: with one, the server's certificate would look as if it had signed itself.
    authority.distinguished_name.push(DnType::CommonName, "the authority of one proof");
    let authority_pem = authority.self_signed(&authority_key).when("signing a certificate")?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().when("making a key")?;
    let mut own = CertificateParams::new(vec!["localhost".to_owned()]).when("making a certificate")?;
    own.distinguished_name.push(DnType::CommonName, "localhost");
    let own = own.signed_by(&key, &issuer).when("signing a certificate")?;
    fs::write(dir.join("cert.pem"), own.pem()).when("writing a certificate")?;
    fs::write(dir.join("key.pem"), key.serialize_pem()).when("writing a key")?;
    Ok(authority_pem)
}

/// Exim 4 specification, chapters 14 (main options), 26 (appendfile), 33 (SMTP AUTH), 42 (TLS).
fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        r"primary_hostname = localhost
spool_directory = {dir}/spool
log_file_path = {dir}/log/%slog
pid_file_path = {dir}/exim.pid
deliver_drop_privilege = true
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtp_accept_max = 100
queue_run_max = 1
smtp_accept_queue_per_connection = 0
keep_environment =
tls_advertise_hosts = *
tls_certificate = {dir}/cert.pem
tls_privatekey = {dir}/key.pem
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
acl_smtp_rcpt = check_recipient
domainlist ours = {DOMAIN}

begin acl
check_recipient:
  deny !encrypted = *
       message = encryption is required
  deny !authenticated = *
       message = authentication is required
  deny local_parts = nobody-here
       message = 5.1.1 no such mailbox
  accept domains = +ours
  deny message = not ours

begin routers
ours:
  driver = accept
  domains = +ours
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {dir}/mail
  maildir_format
  create_directory
  delivery_date_add
  envelope_to_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
"
    )
}

/// Everything below `dir` goes to the server's user.
fn give_away(dir: &Path, account: &User) -> Proof {
    let mut all: Vec<PathBuf> = vec![dir.to_path_buf()];
    let entries = fs::read_dir(dir).when("listing the server's folder")?;
    all.extend(entries.flatten().map(|entry| entry.path()));
    for path in all {
        chown(&path, Some(account.uid), Some(account.gid)).when("giving the server's folder away")?;
    }
    Ok(())
}
/// A port that was free a moment ago.
fn free_port() -> Proof<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).when("looking for a free port")?;
    Ok(listener.local_addr().when("looking for a free port")?.port())
}
