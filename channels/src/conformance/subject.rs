//! How a provider that speaks HTTP describes itself to the suite: one small value beside its code.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_contract::{Call, Channel, Secret};

use crate::Registry;
use crate::testing::{HttpReply, call, open};

/// A provider under test. Made with `..Subject::HTTP`, so that a simple one names only what it has.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    /// Its name.
    pub(crate) provider: &'static str,
    /// Settings of an account that calls this URL and waits for three seconds at most. Its secrets must be texts of
    /// six characters or more that stand nowhere else: the suite looks for them in everything that is printed.
    pub(crate) settings: fn(&str) -> Value,
    /// A recipient, for providers whose recipient is not the URL.
    pub(crate) to: fn(&str) -> String,
    /// A content that can be sent.
    pub(crate) content: fn() -> Value,
    /// The answer with which the supplier takes a message to that one recipient.
    pub(crate) taken: fn() -> HttpReply,
    /// What a 200 that is not the supplier's language comes to.
    pub(crate) gibberish: &'static str,
    /// Whose fault a 404 or a redirect is: of a recipient that is a URL, or of an account with a wrong one.
    pub(crate) blame: &'static str,
    /// An answer of the supplier's with which it refuses, using these words.
    pub(crate) complains: fn(&str) -> HttpReply,
    /// Every documented answer beside success, and what it comes to.
    pub(crate) answers: fn() -> Vec<(HttpReply, String)>,
    /// Answers to a call with many recipients. Needed where one call carries more than one.
    pub(crate) partial: fn() -> Vec<Partial>,
    /// How access tokens are fetched and refused, for suppliers that want one.
    pub(crate) token: Option<fn() -> TokenCase>,
    /// Texts made from secrets that must not be printed either, such as a base64 of name and password.
    pub(crate) derived: &'static [&'static str],
    /// One request for every kind of message.
    pub(crate) golden: fn() -> Vec<Golden>,
    /// One upload for every kind of file, for suppliers that must have files before messages can refer to them.
    pub(crate) uploads: fn() -> Vec<UploadCase>,
}

/// The material that contents of [`UploadCase`]s name.
pub(crate) const MATERIAL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A file that is uploaded, and a message that refers to it.
pub(crate) struct UploadCase {
    /// The name of the file with its golden request, without its end.
    pub(crate) name: &'static str,
    /// The vendor's page that the request was reviewed against.
    pub(crate) page: &'static str,
    /// As what it is uploaded.
    pub(crate) kind: &'static str,
    /// The material's name and media type.
    pub(crate) file: (&'static str, &'static str),
    /// A content that names [`MATERIAL`] once.
    pub(crate) content: Value,
    /// The answer with which the supplier takes it.
    pub(crate) taken: HttpReply,
    /// The id in it.
    pub(crate) id: &'static str,
    /// How long the vendor's page says it is good for.
    pub(crate) good_for: Duration,
    /// The answer about a file that is too large.
    pub(crate) too_large: HttpReply,
    /// The answer to a message whose id the supplier does not know.
    pub(crate) gone: HttpReply,
}

impl UploadCase {
    /// A file at WeCom, which answers robots and applications alike. Its pages say that it keeps files for three days.
    pub(crate) fn wecom(
        name: &'static str,
        page: &'static str,
        kind: &'static str,
        file: (&'static str, &'static str),
    ) -> Self {
        Self {
            name,
            page,
            kind,
            file,
            content: json!({"type": kind, "media_id": format!("material:{MATERIAL}")}),
            taken: HttpReply::json(
                200,
                &json!({"errcode": 0, "errmsg": "ok", "type": kind, "media_id": "1G6nrLmr5EC3M",
                    "created_at": "1380000000"}),
            ),
            id: "1G6nrLmr5EC3M",
            good_for: Duration::from_secs(3 * 86_400),
            too_large: HttpReply::json(200, &json!({"errcode": 40_006, "errmsg": "invalid file size"})),
            gone: HttpReply::json(200, &json!({"errcode": 40_007, "errmsg": "invalid media_id"})),
        }
    }
}

/// One call with many recipients, and what comes of each.
pub(crate) struct Partial {
    pub(crate) to: Vec<&'static str>,
    pub(crate) reply: HttpReply,
    /// In the order of `to`, with the supplier's ids: `delivered 42`, `never isv.X Account`.
    pub(crate) expected: Vec<&'static str>,
}

/// How a supplier gives out access tokens.
pub(crate) struct TokenCase {
    /// The answer to the request for a token.
    pub(crate) fetched: HttpReply,
    /// The token in it.
    pub(crate) token: &'static str,
    /// How long the answer says it is good for.
    pub(crate) expires_in: Duration,
    /// Answers to a message that say that the token is no longer good.
    pub(crate) expired: Vec<HttpReply>,
}

/// A message whose request is kept in a file and was held against the vendor's page.
pub(crate) struct Golden {
    /// The name of the file without its end, in the provider's folder of `tests/golden`.
    pub(crate) name: &'static str,
    /// The vendor's page that the request was reviewed against.
    pub(crate) page: &'static str,
    /// The recipients; none stands for the subject's own.
    pub(crate) to: &'static [&'static str],
    pub(crate) content: Value,
    /// What follows one of these, up to a comma, a quote, an ampersand or a space, changes with the server's port.
    pub(crate) masked: &'static [&'static str],
}

impl Golden {
    /// One for each of `cases`, a file's name with its content, all held against the same page.
    pub(crate) fn each<const N: usize>(
        page: &'static str,
        to: &'static [&'static str],
        cases: [(&'static str, Value); N],
    ) -> Vec<Self> {
        cases.map(|(name, content)| Self { name, page, to, content, masked: &[] }).into()
    }
}

impl Subject {
    /// What most have: a recipient that is no URL, an answer that must be understood, nothing else. Name and functions
    /// are stand-ins.
    pub(crate) const HTTP: Self = Self {
        provider: "",
        settings: |_| Value::Null,
        to: str::to_owned,
        content: || Value::Null,
        taken: || HttpReply::status(200),
        gibberish: "unknown answer",
        blame: "Recipient",
        complains: |words| HttpReply::text(400, words),
        answers: Vec::new,
        partial: Vec::new,
        token: None,
        derived: &[],
        golden: Vec::new,
        uploads: Vec::new,
    };

    pub(super) fn account(&self, url: &str) -> Arc<dyn Channel> {
        open(&Registry::new(), self.provider, (self.settings)(url)).expect("the settings are right")
    }

    /// A call to the subject's one recipient; `url` is where the server listens.
    pub(super) fn call(&self, url: &str) -> Call {
        self.call_to(&[&(self.to)(url)], (self.content)())
    }

    pub(super) fn call_to(&self, to: &[&str], content: Value) -> Call {
        let mut call = call(to, content);
        call.token = self.token.map(|case| Secret::new(case().token));
        call
    }
}
