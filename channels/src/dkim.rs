//! DKIM signatures: says with the sender's key that a mail comes from its domain (RFC 6376, RFC 8301, RFC 8463).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tidings_contract::Time;

/// Header fields that are signed where they are there.
const SIGNED: &[&str] = &[
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
];
/// Header fields that are named once more than they are there, so that nobody can add one (RFC 6376 §8.15).
const CLOSED: &[&str] = &["from", "to", "subject", "date", "reply-to", "content-type"];
/// How much of a signature stands on one line, in characters.
const FOLD: usize = 72;

/// A domain's key and its name.
pub(crate) struct Dkim {
    domain: String,
    selector: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dkim({}._domainkey.{})", self.selector, self.domain)
    }
}

impl Dkim {
    /// Signs for `domain`, whose DNS has the public key at `<selector>._domainkey.<domain>`.
    ///
    /// `key` is an RSA key of 2,048 bits and more or an Ed25519 key, in PEM. `None` when it is neither.
    pub(crate) fn new(domain: &str, selector: &str, key: &str) -> Option<Self> {
        let key = match PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()? {
            PrivateKeyDer::Pkcs1(der) => Key::Rsa(Box::new(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()?)),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                match RsaKeyPair::from_pkcs8(der) {
                    Ok(rsa) => Key::Rsa(Box::new(rsa)),
                    Err(_) => Key::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?),
                }
            }
            _ => return None,
        };
        Some(Self { domain: domain.to_lowercase(), selector: selector.to_owned(), key })
    }

    /// The header field, line break included, that goes in front of `mail`. `None` when the key cannot sign.
    pub(crate) fn sign(&self, mail: &[u8], at: Time) -> Option<String> {
        let (headers, body) = parts(mail);
        let fields = fields(headers);
        let signed = signed(&fields);
        let algorithm = if matches!(self.key, Key::Rsa(_)) { "rsa-sha256" } else { "ed25519-sha256" };
        let unsigned = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={}; s={};\r\n\tt={}; h={};\r\n\tbh={};\r\n\tb=",
            self.domain,
            self.selector,
            at.0 / 1_000,
            signed.join(":\r\n\t "),
            STANDARD.encode(Sha256::digest(relaxed_body(body))),
        );
        let signature = STANDARD.encode(self.seal(&hash_input(&fields, &signed, &unsigned))?);
        let lines: Vec<_> = signature.as_bytes().chunks(FOLD).map(String::from_utf8_lossy).collect();
        Some(format!("{unsigned}{}\r\n", lines.join("\r\n\t ")))
    }

    fn seal(&self, input: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature).ok()?;
                Some(signature)
            }
            // It signs the hash, not what was hashed (RFC 8463 §3).
            Key::Ed25519(key) => Some(key.sign(&Sha256::digest(input)).as_ref().to_vec()),
        }
    }
}

/// Header fields, each with its name in lower case, and what stands behind the empty line.
fn parts(mail: &[u8]) -> (&[u8], &[u8]) {
    match mail.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => (&mail[..at + 2], &mail[at + 4..]),
        None => (mail, &[]),
    }
}

/// The fields in order: names in lower case, values in relaxed form (RFC 6376 §3.4.2).
fn fields(headers: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(headers);
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                fields.push((name.trim().to_lowercase(), value.to_owned()));
            }
        }
    }
    fields.into_iter().map(|(name, value)| (name, relaxed(&value))).collect()
}

/// Runs of spaces and tabs become one space; none at either end.
fn relaxed(value: &str) -> String {
    value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What `h=` names.
fn signed(fields: &[(String, String)]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for name in SIGNED {
        let there = fields.iter().filter(|(known, _)| known == name).count();
        let once_more = usize::from(CLOSED.contains(name));
        names.extend(std::iter::repeat_n(*name, there + once_more));
    }
    names
}

/// What is hashed for the signature (RFC 6376 §3.7): the fields named, from the last of each name up, then the signature's
/// own field without the signature.
fn hash_input(fields: &[(String, String)], signed: &[&str], unsigned: &str) -> Vec<u8> {
    let mut input = String::new();
    let mut left: Vec<_> = fields.iter().collect();
    for name in signed {
        if let Some(at) = left.iter().rposition(|(known, _)| known == name) {
            let (name, value) = left.remove(at);
            input.push_str(&format!("{name}:{value}\r\n"));
        }
    }
    for (name, value) in self::fields(unsigned.as_bytes()) {
        input.push_str(&format!("{name}:{value}"));
    }
    input.into_bytes()
}

/// The body in relaxed form (RFC 6376 §3.4.4).
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len() + 2);
    for line in body.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for word in line.split_inclusive(|b| matches!(b, b' ' | b'\t')) {
            let blank = word.last().is_some_and(|b| matches!(b, b' ' | b'\t'));
            let text = if blank { &word[..word.len() - 1] } else { word };
            relaxed.extend_from_slice(text);
            if blank && relaxed.last() != Some(&b' ') {
                relaxed.push(b' ');
            }
        }
        if relaxed.last() == Some(&b' ') {
            relaxed.pop();
        }
        relaxed.extend_from_slice(b"\r\n");
    }
    while relaxed.ends_with(b"\r\n\r\n") {
        relaxed.truncate(relaxed.len() - 2);
    }
    if relaxed == b"\r\n" { Vec::new() } else { relaxed }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// The message of RFC 8463 appendix A.3.
    const MAIL: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n\
        Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

    #[test]
    fn the_example_of_rfc_8463_has_the_published_signature() {
        let seed = STANDARD.decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").expect("base64");
        let key = Key::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed"));
        let dkim = Dkim { domain: "football.example.com".into(), selector: "brisbane".into(), key };
        let (headers, body) = parts(MAIL.as_bytes());
        assert_eq!(STANDARD.encode(Sha256::digest(relaxed_body(body))), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let signed = ["from", "to", "subject", "date", "message-id", "from", "subject", "date"];
        let unsigned = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; \
            i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : \
            message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
        let signature = dkim.seal(&hash_input(&fields(headers), &signed, unsigned)).expect("it signs");
        assert_eq!(
            STANDARD.encode(signature),
            "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
        );
    }

    #[test]
    fn bodies_and_headers_take_the_relaxed_form_of_rfc_6376() {
        for (body, expected) in [
            ("", ""),
            ("\r\n\r\n", ""),
            (" \t\r\n", ""),
            // The example of §3.4.5.
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("no end", "no end\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            ("  two", " two\r\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&relaxed_body(body.as_bytes())), expected, "{body:?}");
        }
        let read = fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n");
        assert_eq!(read, [("a".to_owned(), "X".to_owned()), ("b".to_owned(), "Y Z".to_owned())]);
    }

    #[test]
    fn both_kinds_of_keys_sign_what_their_public_keys_verify_and_nothing_can_be_added() {
        for pem in [
            include_str!("testing/dkim_rsa.pem"),
            include_str!("testing/dkim_rsa_pkcs1.pem"),
            include_str!("testing/dkim_ed25519.pem"),
        ] {
            let dkim = Dkim::new("Shop.example", "s1", pem).expect("a key");
            let header = dkim.sign(MAIL.as_bytes(), Time(1_795_456_800_000)).expect("it signs");
            assert!(header.contains("d=shop.example; s=s1;") && header.contains("t=1795456800;"), "{header}");
            assert!(header.lines().all(|line| line.len() < 200), "{header}");
            let (unsigned, signature) = header.split_once("\tb=").expect("a signature");
            let signature: String = signature.split_whitespace().collect();
            let signature = STANDARD.decode(signature).expect("base64");
            let named = unsigned.split_once("h=").and_then(|(_, rest)| rest.split_once(';')).expect("names").0;
            let named: Vec<_> = named.split(':').map(str::trim).collect();
            assert_eq!(named.iter().filter(|name| **name == "from").count(), 2, "one more than there is");
            let input = hash_input(&fields(parts(MAIL.as_bytes()).0), &named, &format!("{unsigned}\tb="));
            let verified = match &dkim.key {
                Key::Rsa(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
                    .verify(&input, &signature),
                Key::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key.public_key().as_ref())
                    .verify(&Sha256::digest(&input), &signature),
            };
            assert!(verified.is_ok(), "{header}");
        }
        assert!(
            Dkim::new("shop.example", "s1", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_none()
        );
    }
}
