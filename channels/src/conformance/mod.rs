//! What every provider must keep to, shown against scripted servers.

mod http;
mod secrets;
mod smtp;

pub(crate) use http::Subject;
use tidings_contract::{Blame, Outcome};

/// An outcome in a few words: `delivered`, `later http_429 after 7000`, `never http_404 Recipient`, `unknown timeout`.
fn brief(outcome: &Outcome) -> String {
    let code = outcome.reason().map_or("", |reason| reason.code.as_str());
    match outcome {
        Outcome::Later { after_ms: Some(ms), .. } => format!("later {code} after {ms}"),
        Outcome::Never { blame: Blame::Account, .. } => format!("never {code} Account"),
        Outcome::Never { blame: Blame::Content, .. } => format!("never {code} Content"),
        Outcome::Never { blame: Blame::Recipient, .. } => format!("never {code} Recipient"),
        other => format!("{} {code}", other.class()).trim_end().to_owned(),
    }
}
