//! What every provider must keep to, shown against scripted servers.

mod cases;
mod golden;
mod http;
mod mail;
mod preview;
mod secrets;
mod smtp;
mod subject;
mod uploads;
mod verdicts;

pub(crate) use cases::every;
pub(crate) use subject::{Golden, MATERIAL, Partial, Subject, TokenCase, UploadCase};
use tidings_contract::{Blame, Outcome};

use crate::Registry;
use crate::providers::subjects;

/// Providers without an entry here, and why.
const EXCUSED: [(&str, &str); 2] =
    [("email/smtp", "speaks SMTP and has a suite of its own"), ("sandbox", "calls nobody")];

/// An outcome in a few words: `delivered`, `later http_429 after 7000`, `never http_404 Recipient`, `unknown timeout`.
fn brief(outcome: &Outcome) -> String {
    let code = outcome.reason().map_or("", |reason| reason.code.as_str());
    match outcome {
        Outcome::Later { after_ms: Some(ms), .. } => format!("later {code} after {ms}"),
        Outcome::Never { blame: Blame::Account, .. } => format!("never {code} Account"),
        Outcome::Never { blame: Blame::Content, .. } => format!("never {code} Content"),
        Outcome::Never { blame: Blame::Recipient, .. } => format!("never {code} Recipient"),
        Outcome::Never { blame: Blame::Gone, .. } => format!("never {code} Gone"),
        other => format!("{} {code}", other.class()).trim_end().to_owned(),
    }
}

/// The same with the supplier's id, where there is one: `delivered 2019:538`.
fn brief_with_id(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { provider_id: Some(id) } => format!("delivered {id}"),
        other => brief(other),
    }
}

#[test]
fn every_registered_provider_is_in_the_suite_or_excused_by_name() {
    let registry = Registry::new();
    let mut known: Vec<_> = subjects().iter().map(|subject| subject.provider).collect();
    known.extend(EXCUSED.map(|(name, _)| name));
    known.sort_unstable();
    let registered: Vec<_> = registry.providers().map(|provider| provider.info().name).collect();
    assert_eq!(known, registered);
}
