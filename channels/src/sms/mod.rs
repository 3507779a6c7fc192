//! What the providers of text messages share: content, templates, grouping, verdicts, receipts, segments.

mod charged;
mod cloud;
mod content;
mod group;
mod receipt;
mod segments;
mod templates;
mod verdict;

use std::time::Duration;

use tidings_contract::{FieldError, Setting};

use crate::http::{Client, ClientOptions, HeaderMap, HeaderName, HeaderValue, USER_AGENT, Url, header};

pub use charged::segments_of;
pub(crate) use cloud::Cloud;
pub(crate) use content::Sms;
pub(crate) use group::{Group, groups, run};
pub(crate) use receipt::{called_with_key, china_time, mark, phone_of};
pub use segments::{Encoding, SegmentRules, Segments};
pub(crate) use templates::{Templates, template_settings};
pub(crate) use verdict::{Verdict, judged};

/// How long after its start a call may still begin a request: a request takes 20 s at most, and every deadline is 25 s.
pub(crate) const WINDOW: Duration = Duration::from_secs(4);
/// The deadline of every provider here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(25);

/// A setting that may be shown.
pub(crate) const fn plain(name: &'static str, required: bool, doc: &'static str) -> Setting {
    Setting { name, required, secret: false, doc }
}

/// A setting that may not.
pub(crate) const fn sealed(name: &'static str, required: bool, doc: &'static str) -> Setting {
    Setting { name, required, secret: true, doc }
}

/// How long one request may take.
pub(crate) const TIMEOUT: Setting =
    plain("timeout_ms", false, "How long one request may take, in milliseconds, 100 to 20,000; default 10,000.");
/// The key of suppliers that do not sign their callbacks.
pub(crate) const CALLBACK_KEY: Setting = sealed(
    "callback_key",
    false,
    "Callbacks are believed only if their address ends in ?key= and this. Without it none is.",
);

/// Opens the client of an account.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client(timeout: Duration) -> Result<Client, Vec<FieldError>> {
    Client::new(ClientOptions::provider(timeout, false))
        .map_err(|failure| vec![FieldError::new("settings", failure.to_string())])
}

/// The value of the header `Host` for this URL.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `base` with `path`, which begins with a slash, after it.
pub(crate) fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// Headers of texts. One that cannot stand in a header is left out, and the supplier complains.
pub(crate) fn headers<'a>(pairs: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, USER_AGENT);
    for (name, value) in pairs {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(name == "authorization");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// The national number of a phone in mainland China; `None` for any other. `to` is in E.164.
pub(crate) fn domestic(to: &str) -> Option<&str> {
    to.strip_prefix("+86")
}
