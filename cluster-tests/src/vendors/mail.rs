//! The mail server of the double: a submission server on loopback, in the clear, with a login (RFC 5321, RFC 4954).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Given;
use super::ask::mark_in;

/// Who may log in, and the account that this is.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) account: String,
    pub(super) username: String,
    pub(super) password: String,
}

/// Speaks with one client until it goes; `take` gets each mail and gives the id it is queued under.
pub(super) async fn speak(
    stream: TcpStream,
    mailbox: &Mailbox,
    mut take: impl FnMut(Result<Given, String>) -> String,
) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    writing.write_all(b"220 double.example ESMTP\r\n").await?;
    let login = STANDARD.encode(format!("\0{}\0{}", mailbox.username, mailbox.password));
    let (mut known, mut to) = (false, String::new());
    while let Some(line) = lines.next_line().await? {
        let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
        let said = match verb.as_str() {
            "EHLO" => "250-double.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                known = line.strip_prefix("AUTH PLAIN ") == Some(login.as_str());
                if known { "235 2.7.0 welcome" } else { "535 5.7.8 the login is wrong" }.to_owned()
            }
            "MAIL" if !known => "530 5.7.0 log in first".to_owned(),
            "RCPT" => {
                to =
                    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(to, _)| to).to_owned();
                "250 2.1.5 ok".to_owned()
            }
            "DATA" => {
                writing.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    mail.push_str(&line);
                    mail.push('\n');
                }
                let id = take(mark_in(&mail).map(|mark| Given {
                    account: mailbox.account.clone(),
                    to: to.clone(),
                    mark,
                    id: None,
                }));
                format!("250 2.0.0 ok: queued as {id}")
            }
            "QUIT" => return writing.write_all(b"221 2.0.0 bye\r\n").await,
            _ => "250 2.0.0 ok".to_owned(),
        };
        writing.write_all(format!("{said}\r\n").as_bytes()).await?;
    }
    Ok(())
}
