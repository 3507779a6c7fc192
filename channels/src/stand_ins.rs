//! What stands in for an account's secrets in a preview: texts of the same form that open the account and let nobody in.
//!
//! A preview never has the secrets, so nothing of them can be in it, whatever a provider or a document makes of them. It is made
//! with two sets of stand-ins; where the two differ stands something that was derived from a secret, and is masked.

use serde_json::{Map, Value};
use tidings_contract::{Provider, Secret, Settings};

/// Which of the two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    A,
    B,
}

/// Private keys that were made for this and are used for nothing else: RSA, P-256 and Ed25519, as PKCS #8.
const KEYS: [[&str; 3]; 2] = [
    [include_str!("stand_ins/rsa_a.pem"), include_str!("stand_ins/ec_a.pem"), include_str!("stand_ins/ed25519_a.pem")],
    [include_str!("stand_ins/rsa_b.pem"), include_str!("stand_ins/ec_b.pem"), include_str!("stand_ins/ed25519_b.pem")],
];
/// Longest beginning of a secret that may say of what kind it is: `whsec_`, `xoxb-`, `SEC`.
const KIND: usize = 8;

impl Set {
    /// What stands for a letter or a digit; the others stay.
    fn of(self, letter: char) -> char {
        match (letter, self) {
            ('0'..='9', Self::A) => '1',
            ('0'..='9', Self::B) => '2',
            ('a'..='z', Self::A) => 'a',
            ('a'..='z', Self::B) => 'b',
            ('A'..='Z', Self::A) => 'A',
            ('A'..='Z', Self::B) => 'Q',
            (other, _) if other.is_ascii() => other,
            (_, Self::A) => 'a',
            (_, Self::B) => 'b',
        }
    }

    fn text(self, secret: &str) -> String {
        let word = |word: &str| {
            let bare = word.trim_end_matches('=');
            let mut text: String = bare.chars().map(|letter| self.of(letter)).collect();
            // The end of a base64 text has bits that must be zero: those of A and Q are.
            let padding = word.len() - bare.len();
            if (1..=2).contains(&padding) && text.len() > 3 {
                text.truncate(text.len() - 3);
                text.push_str(if self == Self::A { "AAA" } else { "QQQ" });
            }
            text + &"=".repeat(padding)
        };
        secret.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    fn keys(self) -> [&'static str; 3] {
        KEYS[usize::from(self == Self::B)]
    }

    /// What may stand for a secret, what keeps least of it first.
    fn candidates(self, secret: &str) -> Vec<String> {
        let mut all = vec![self.text(secret)];
        let keep = |end: usize| {
            let (kept, rest) = secret.split_at(end);
            format!("{kept}{}", self.text(rest))
        };
        if let Some((scheme, rest)) = secret.split_once("://") {
            all.push(keep(scheme.len() + 3));
            let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            all.push(keep(scheme.len() + 3 + host));
            return all;
        }
        if let Ok(Value::Object(document)) = serde_json::from_str(secret) {
            all.extend(self.keys().map(|key| Value::Object(self.document(document.clone(), key)).to_string()));
        }
        all.extend(self.keys().map(str::to_owned));
        // Several secrets with spaces between them each begin with their kind.
        let kind = |word: &str| {
            let end = word.char_indices().find(|(at, letter)| *at < KIND && "_-:.".contains(*letter));
            let (kept, rest) = word.split_at(end.map_or(0, |(at, _)| at + 1));
            format!("{kept}{}", self.text(rest))
        };
        all.push(secret.split(' ').map(kind).collect::<Vec<_>>().join(" "));
        all.extend(secret.is_char_boundary(3).then(|| keep(3)));
        all
    }

    /// A key file: its keys are replaced, and what tells one key from another; what says where and who it is for stays.
    fn document(self, document: Map<String, Value>, key: &str) -> Map<String, Value> {
        let replaced = |(name, value): (String, Value)| {
            let value = match value {
                Value::String(text) if text.contains("PRIVATE KEY") => Value::from(key),
                Value::String(text) if !SAID.contains(&name.as_str()) => Value::from(self.text(&text)),
                Value::Object(inner) => Value::Object(self.document(inner, key)),
                Value::Number(_) | Value::Array(_) => Value::Null,
                other => other,
            };
            (name, value)
        };
        document.into_iter().map(replaced).collect()
    }

    /// The settings with stand-ins in place of all secrets; `None` where nothing that stands in for one opens the account.
    pub(crate) fn settings(self, provider: &dyn Provider, account: &str, settings: &Settings) -> Option<Settings> {
        let mut stand = settings.clone();
        for (name, secret) in &settings.secret {
            let opens = |text: &String| {
                let mut tried = settings.clone();
                tried.secret.insert(name.clone(), Secret::new(text.as_str()));
                provider.open(account, &tried).is_ok()
            };
            let text = self.candidates(secret.expose()).into_iter().find(opens)?;
            stand.secret.insert(name.clone(), Secret::new(text));
        }
        Some(stand)
    }
}

/// Fields of a key file that are no secrets: Google, "Service account keys".
const SAID: &[&str] = &["type", "project_id", "client_email", "token_uri", "auth_uri", "universe_domain"];

/// `a` with stars in place of the words in which `b` differs.
pub(crate) fn common(a: &str, b: &str, mask: &str) -> String {
    if a == b {
        return a.to_owned();
    }
    let (left, right) = (words(a), words(b));
    if left.len() != right.len() {
        let same = |(l, r): &(&&str, &&str)| l == r;
        let front = left.iter().zip(&right).take_while(same).count();
        let back = left[front..].iter().rev().zip(right[front..].iter().rev()).take_while(same).count();
        return format!("{}{mask}{}", left[..front].concat(), left[left.len() - back..].concat());
    }
    let masked = left.iter().zip(&right).map(|(l, r)| if l == r { *l } else { mask });
    masked.collect::<Vec<_>>().concat()
}

/// The text in words, and single characters between them. What base64 and percent-encoding are made of does not end a word.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begun = None;
    for (at, letter) in text.char_indices() {
        if letter.is_ascii_alphanumeric() || "+_-%~".contains(letter) {
            begun.get_or_insert(at);
            continue;
        }
        if let Some(begin) = begun.take() {
            words.push(&text[begin..at]);
        }
        words.push(&text[at..at + letter.len_utf8()]);
    }
    words.extend(begun.map(|begin| &text[begin..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_are_masked_and_nothing_else() {
        for (a, b, shown) in [
            ("/bot111:AAA/send?x=1", "/bot222:QQQ/send?x=1", "/***:***/send?x=1"),
            (
                r#"{"sign":"ab+c=","text":"hi all"}"#,
                r#"{"sign":"xy+z=","text":"hi all"}"#,
                r#"{"sign":"***=","text":"hi all"}"#,
            ),
            (r#"{"sign":"a/b","text":"hi"}"#, r#"{"sign":"xyz","text":"hi"}"#, r#"{"sign":"***","text":"hi"}"#),
            ("same", "same", "same"),
            ("名 a1", "名 b2", "名 ***"),
        ] {
            assert_eq!(common(a, b, "***"), shown);
        }
    }

    #[test]
    fn a_stand_in_has_the_form_of_its_secret_and_nothing_of_it() {
        assert_eq!(Set::A.text("Pa55-wörd"), "Aa11-aaaa");
        assert_eq!(Set::A.text("MfKQ9r8GKYo="), "AaAA1a1AAAA=");
        assert_eq!(Set::B.text("MfKQ9r8GKY=="), "QbQQ2b2QQQ==");
        assert!(Set::A.candidates("whsec_MfKQ9r8G whsec_abcd").contains(&"whsec_AaAA1a1A whsec_aaaa".to_owned()));
        assert!(Set::B.candidates("https://a.example/x?y=1").contains(&"https://a.example/b?b=2".to_owned()));
    }
}
