//! What a server's reply, or its silence, means for a mail, by how far the mail had got.

use std::error::Error as _;
use std::sync::atomic::{AtomicU8, Ordering};

use lettre::Address;
use tidings_contract::{Blame, Outcome};

/// How far a mail got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Waiting for a free connection.
    Waiting,
    /// Connecting, greeting, TLS.
    Connect,
    /// AUTH.
    Login,
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// DATA, before the server's go-ahead.
    Data,
    /// The mail is going out. From here on only a reply tells whether it was taken.
    Sent,
}

const STAGES: [Stage; 7] =
    [Stage::Waiting, Stage::Connect, Stage::Login, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Sent];

impl Stage {
    pub(crate) fn store(self, into: &AtomicU8) {
        into.store(self as u8, Ordering::Relaxed);
    }

    /// A value that is no stage reads as the last one, the careful choice.
    pub(crate) fn load(from: &AtomicU8) -> Self {
        STAGES.get(usize::from(from.load(Ordering::Relaxed))).copied().unwrap_or(Self::Sent)
    }
}

/// Classes an error of the SMTP library, for a mail to `to`.
pub(crate) fn judge(stage: Stage, error: &lettre::transport::smtp::Error, to: &Address) -> Outcome {
    let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    if let Some(code) = error.status() {
        return judge_reply(stage, code.into(), words, to.as_ref());
    }
    match stage {
        Stage::Sent => Outcome::unknown("broken", words),
        Stage::Waiting | Stage::Connect if error.is_tls() || words.contains("certificate") => {
            Outcome::later("tls", words)
        }
        Stage::Waiting | Stage::Connect => Outcome::later("connect", words),
        Stage::Login | Stage::Sender | Stage::Recipient | Stage::Data => Outcome::later("broken", words),
    }
}

/// Classes a deadline that passed.
pub(crate) fn judge_silence(stage: Stage) -> Outcome {
    match stage {
        Stage::Sent => Outcome::unknown("timeout", "no reply to the mail in time"),
        Stage::Waiting => Outcome::later("busy", "no connection was free in time"),
        Stage::Connect => Outcome::later("connect", "no connection in time"),
        _ => Outcome::later("timeout", "no reply in time, before the mail went out"),
    }
}

/// Classes a negative reply (RFC 5321 §4.2, RFC 3463): 4xx may pass later, 5xx will not.
fn judge_reply(stage: Stage, code: u16, words: String, to: &str) -> Outcome {
    let name = format!("smtp_{code}");
    if code < 500 {
        return Outcome::later(name, words);
    }
    let said = enhanced(&words);
    let means = means(&words, to);
    let blame = match () {
        () if means == Means::Recipient && is_gone(stage, code, said, &words) => Blame::Gone,
        () if means == Means::Sender && stage >= Stage::Sender && said.is_none_or(|said| said.0 == 1) => Blame::Account,
        () => blame(stage, code, said),
    };
    Outcome::never(blame, name, words)
}

/// Subject and detail of the enhanced status code (RFC 3463) that a reply begins with.
fn enhanced(words: &str) -> Option<(u16, u16)> {
    let mut parts = words.split_whitespace().next()?.split('.');
    let (_class, subject, detail) = (parts.next()?.parse::<u16>().ok()?, parts.next()?, parts.next()?);
    Some((subject.parse().ok()?, detail.parse().ok()?))
}

/// Whether a 5xx says that there is no such mailbox or no such domain, and so that nothing will ever arrive there: the
/// mailbox or its domain does not exist, has moved, or takes no mail at all (RFC 3463 x.1.1, x.1.2, x.1.6; RFC 7505 x.1.10).
/// A plain code does not tell that from a rule of the receiver's; its usual words do.
fn is_gone(stage: Stage, code: u16, enhanced: Option<(u16, u16)>, words: &str) -> bool {
    match enhanced {
        Some(said) => stage >= Stage::Recipient && matches!(said, (1, 1 | 2 | 6 | 10)),
        None if stage == Stage::Recipient && matches!(code, 550 | 551 | 553) => {
            let words = words.to_ascii_lowercase();
            NOBODY.iter().any(|nobody| words.contains(nobody))
        }
        None => false,
    }
}

/// Whose address a reply speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// Nobody's but the recipient's, as far as it says.
    Recipient,
    /// Ours: it was verified, or refused, before the recipient was looked at.
    Sender,
    /// Another one's; a mailbox that there is not need not be the recipient's.
    Another,
}

/// What servers say when they mean the address that a mail comes from: some ask its server whether there is such a mailbox
/// (sender verification), and pass its answer on.
const OURS: [&str; 9] = [
    "sender",
    "from address",
    "mail from",
    "return path",
    "return-path",
    "reverse-path",
    "verification failed",
    "verify failed",
    "callout",
];

fn means(words: &str, to: &str) -> Means {
    let (words, to) = (words.to_lowercase(), to.to_lowercase());
    if OURS.iter().any(|ours| words.contains(ours)) {
        return Means::Sender;
    }
    let around = |sign: char| sign.is_whitespace() || "<>()[]{}\"':;,".contains(sign);
    let mut named = words.split(around).map(|word| word.trim_end_matches('.')).filter(|word| word.contains('@'));
    if named.any(|named| named != to) { Means::Another } else { Means::Recipient }
}

/// What servers without enhanced codes say of a mailbox that there is not.
const NOBODY: [&str; 6] =
    ["no such user", "user unknown", "unknown user", "user not found", "mailbox not found", "no such mailbox"];

/// Whose fault a 5xx is. The enhanced code speaks first; without it the plain code and the stage do.
fn blame(stage: Stage, code: u16, enhanced: Option<(u16, u16)>) -> Blame {
    if stage <= Stage::Login || matches!(code, 530 | 534 | 535 | 538) {
        // Greeting and login know neither recipient nor content (RFC 4954 §6).
        return Blame::Account;
    }
    match enhanced {
        // The sender's address or domain is refused; authentication or encryption is wanted (RFC 5248), SPF, DKIM or
        // DMARC fail (RFC 7372), the sender takes no answers (RFC 7505); a quota of ours is used up.
        Some((1, 7 | 8) | (3, 2) | (4, 5) | (7, 0 | 8..=14 | 20..=29)) => return Blame::Account,
        // No such mailbox or domain, or it takes no mail; the mailbox is closed, full, moved or somebody else's by now
        // (RFC 7293); no way to the domain; an address beyond ASCII (RFC 6531).
        Some((1, _) | (2, 0..=2 | 4) | (4, _) | (6, 7) | (7, 17 | 18)) => return Blame::Recipient,
        // Too long for the mailbox or the system; the media are not supported.
        Some((2, 3) | (3, 4) | (6, _)) => return Blame::Content,
        _ => {}
    }
    match (stage, code) {
        // Before the mail is seen only the mailbox or we ourselves (no relaying, a block list) can be refused.
        (Stage::Recipient, 550..=553) if enhanced != Some((7, 1)) => Blame::Recipient,
        (Stage::Sender | Stage::Recipient, _) => Blame::Account,
        _ => Blame::Content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_has_its_class() {
        let cases = [
            (Stage::Connect, 421, "try again", "later"),
            (Stage::Connect, 554, "no service for you", "never Account"),
            (Stage::Login, 454, "4.7.0 temporary", "later"),
            (Stage::Login, 535, "5.7.8 bad credentials", "never Account"),
            (Stage::Sender, 530, "5.7.0 authentication required", "never Account"),
            (Stage::Sender, 552, "5.3.4 too big", "never Content"),
            (Stage::Sender, 550, "sender refused", "never Account"),
            (Stage::Recipient, 450, "4.2.1 greylisted", "later"),
            (Stage::Recipient, 452, "too many recipients", "later"),
            (Stage::Recipient, 550, "5.1.1 no such user", "never Gone"),
            (Stage::Recipient, 550, "No such user here", "never Gone"),
            (Stage::Recipient, 550, "<ann.lee@example.com>: user unknown", "never Gone"),
            (Stage::Recipient, 550, "5.1.1 <Ann.Lee@example.com>... User unknown.", "never Gone"),
            // Of whom they speak is not the recipient, or nobody can tell.
            (Stage::Recipient, 550, "<no-reply@shop.example>: Sender address rejected: User unknown", "never Account"),
            (Stage::Recipient, 550, "5.1.0 <a@shop.example>: Sender address rejected: User unknown", "never Account"),
            (Stage::Recipient, 550, "5.1.1 Sender verify failed: no such user here", "never Account"),
            (
                Stage::Recipient,
                550,
                "Verification failed for <no-reply@shop.example> No Such User Here",
                "never Account",
            ),
            (Stage::Recipient, 550, "callout to mx.shop.example said: 550 user unknown", "never Account"),
            (Stage::Sender, 550, "user unknown", "never Account"),
            (Stage::Recipient, 550, "5.1.1 <bob@example.com>: user unknown", "never Recipient"),
            (Stage::Recipient, 550, "user unknown, ask postmaster@example.com", "never Recipient"),
            (Stage::Recipient, 550, "mailbox unavailable", "never Recipient"),
            (Stage::Recipient, 550, "5.1.0 user unknown to this sender", "never Account"),
            (Stage::Recipient, 550, "5.1.2 no such domain", "never Gone"),
            (Stage::Recipient, 551, "5.1.6 moved without an address", "never Gone"),
            (Stage::Recipient, 551, "not here", "never Recipient"),
            (Stage::Recipient, 552, "5.2.2 mailbox full", "never Recipient"),
            (Stage::Recipient, 553, "no such name", "never Recipient"),
            (Stage::Recipient, 553, "5.1.8 bad sender domain", "never Account"),
            (Stage::Recipient, 554, "5.7.1 relay access denied", "never Account"),
            (Stage::Recipient, 550, "5.7.1 relaying denied", "never Account"),
            (Stage::Data, 554, "no valid recipients", "never Content"),
            (Stage::Recipient, 550, "5.1.10 recipient domain takes no mail", "never Gone"),
            (Stage::Recipient, 550, "5.4.1 no answer from host", "never Recipient"),
            (Stage::Recipient, 550, "5.7.17 the mailbox has another owner", "never Recipient"),
            (Stage::Recipient, 553, "5.6.7 address beyond ASCII", "never Recipient"),
            (Stage::Sent, 550, "5.4.5 daily quota used up", "never Account"),
            (Stage::Sent, 550, "5.7.26 unauthenticated: DMARC", "never Account"),
            (Stage::Sent, 550, "5.7.23 SPF failed", "never Account"),
            (Stage::Sender, 550, "5.7.27 sender takes no answers", "never Account"),
            (Stage::Sent, 554, "5.6.1 media not supported", "never Content"),
            (Stage::Sent, 552, "5.2.3 too long for the mailbox", "never Content"),
            (Stage::Sent, 451, "try later", "later"),
            (Stage::Sent, 550, "5.1.1 no such user after all", "never Gone"),
            (Stage::Sent, 550, "5.7.1 spam", "never Content"),
            (Stage::Sent, 552, "too big", "never Content"),
            (Stage::Sent, 554, "5.6.0 bad content", "never Content"),
        ];
        for (stage, code, words, expected) in cases {
            let outcome = judge_reply(stage, code, words.to_owned(), "Ann.Lee@Example.com");
            let seen = match &outcome {
                Outcome::Never { blame, .. } => format!("never {blame:?}"),
                other => other.class().to_owned(),
            };
            assert_eq!(seen, expected, "{stage:?} {code} {words}");
            assert_eq!(outcome.reason().map(|r| r.code.clone()), Some(format!("smtp_{code}")));
        }
    }

    #[test]
    fn silence_is_unknown_only_once_the_mail_is_on_its_way() {
        for stage in STAGES {
            let expected = if stage == Stage::Sent { "unknown" } else { "later" };
            assert_eq!(judge_silence(stage).class(), expected, "{stage:?}");
        }
    }
}
