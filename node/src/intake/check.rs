//! Checks a submission against its template: what would be kept, and who is rejected for which reason.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use tidings_actors::render::Variables;
use tidings_channels::check_recipient;
use tidings_contract::{Lane, RecipientKind, Time};
use tidings_machine::partition::{Callback, CallbackSpec, Policy, Recipient, Rules, Sheet};

use super::request::{Submission, To};
use super::templates::Compiled;
use super::ways::{Ways, addresses};
use crate::app::{App, Limits};
use crate::policies::time_zone;
use crate::problem::{Code, Problem, Rejected};
use crate::providers::serves;

/// Most bytes of the variables given for all recipients, and of those given for one.
pub(crate) const MAX_VARIABLES_BYTES: usize = 64 * 1024;
/// Most bytes of the caller's own id.
const MAX_BIZ_ID_BYTES: usize = 128;

/// Most tags of a message.
const MAX_TAGS: usize = 16;
/// Most bytes of a tag.
const MAX_TAG_BYTES: usize = 64;

/// Whether a text can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG_BYTES).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// A submission that was checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What its deliveries share.
    pub sheet: Arc<Sheet>,
    /// Who it is for.
    pub recipients: Vec<Recipient>,
    /// Who was rejected.
    pub rejected: Vec<Rejected>,
    /// Those of the rejected who may be taken by a later repeat, normalised. They keep their place when the message is
    /// split, so that a repeat splits it the same way.
    pub absent: Vec<Recipient>,
    /// Recipients in the request.
    pub count: u16,
}

/// Checks what is wrong with the whole of a submission, before its template is looked up.
pub(crate) fn check_shape(submission: &Submission<'_>, limits: &Limits, now: Time) -> Result<(), Problem> {
    if submission.to.is_empty() {
        return Err(Problem::new(Code::NoRecipients, "`to` is empty"));
    }
    if submission.to.len() > limits.max_recipients {
        let detail =
            format!("`to` has {} recipients; a message has at most {}", submission.to.len(), limits.max_recipients);
        return Err(Problem::new(Code::TooManyRecipients, detail));
    }
    if submission.biz_id.as_ref().is_some_and(|id| id.len() > MAX_BIZ_ID_BYTES) {
        return Err(Problem::field("biz_id", format!("is longer than {MAX_BIZ_ID_BYTES} bytes")));
    }
    if submission.variables.is_some_and(|v| v.get().len() > MAX_VARIABLES_BYTES) {
        return Err(Problem::field("variables", format!("are longer than {MAX_VARIABLES_BYTES} bytes")));
    }
    if submission.tags.len() > MAX_TAGS {
        return Err(Problem::field("tags", format!("holds more than {MAX_TAGS} tags")));
    }
    if let Some(n) = submission.tags.iter().position(|tag| !is_tag(tag)) {
        let detail = format!("must be 1 to {MAX_TAG_BYTES} bytes without blanks");
        return Err(Problem::field(format!("tags[{n}]"), detail));
    }
    if let Some(zone) = submission.time_zone.as_deref().filter(|zone| time_zone(zone).is_none()) {
        let shown: String = zone.chars().take(64).collect();
        return Err(Problem::field("time_zone", format!("{shown:?} is no name of the IANA time zone database")));
    }
    if let Some(at) = submission.send_at {
        if at > now.after_ms(limits.max_delay_ms) {
            let days = limits.max_delay_ms / 86_400_000;
            return Err(Problem::field("send_at", format!("is more than {days} days ahead")));
        }
        if submission.expires_at.is_some_and(|expires| expires <= at) {
            return Err(Problem::field("expires_at", "is not after send_at"));
        }
    }
    Ok(())
}

/// Reads variables, or says what is wrong with them.
pub(crate) fn variables(raw: &RawValue, field: impl FnOnce() -> String) -> Result<Variables, Problem> {
    Variables::parse(raw.get()).map_err(|_| Problem::field(field(), "must be an object"))
}

/// Checks `submission`, and calls no account unknown that another node was told of before.
///
/// # Errors
/// What [`check`] finds; whatever makes control unreachable, where all recipients are accounts that are not known here.
pub(crate) async fn check_surely(
    app: &App,
    submission: &Submission<'_>,
    compiled: &Compiled,
    (key_id, bytes): (&str, usize),
    accepted_at: Time,
) -> Result<Checked, Problem> {
    let look = || check(app, submission, compiled, key_id, accepted_at);
    let before = app.ledger.control_state();
    let mut checked = app.heavy.run(bytes, look).await?;
    if !checked.rejected.iter().any(is_unknown) {
        return Ok(checked);
    }
    match app.fresh_control().await {
        Ok(()) if app.ledger.control_state() == before => Ok(checked),
        Ok(()) => app.heavy.run(bytes, look).await,
        Err(problem) if checked.recipients.is_empty() => Err(problem),
        // They alone have to come again.
        Err(problem) => {
            for rejected in checked.rejected.iter_mut().filter(|rejected| is_unknown(rejected)) {
                *rejected = Rejected::new(rejected.index, &rejected.to, "no_leader", problem.detail()).retryable();
            }
            Ok(checked)
        }
    }
}

fn is_unknown(rejected: &Rejected) -> bool {
    rejected.code == "unknown_account"
}

/// Checks `submission` against the template version it is pinned to.
pub(crate) fn check(
    app: &App,
    submission: &Submission<'_>,
    compiled: &Compiled,
    key_id: &str,
    accepted_at: Time,
) -> Result<Checked, Problem> {
    let shared = submission.variables.map(|raw| variables(raw, || "variables".to_owned()));
    let shared = shared.transpose()?.unwrap_or_default();
    let ways = app.ways(compiled)?;
    let many = submission.to.len() > 1;
    let mut seen = HashSet::with_capacity(if many { submission.to.len() } else { 0 });
    let mut checked = Checked {
        sheet: Arc::new(Sheet {
            callback: callback_of(app, compiled, key_id),
            ..sheet(submission, compiled, &ways, key_id, accepted_at)
        }),
        recipients: Vec::with_capacity(submission.to.len()),
        rejected: Vec::new(),
        absent: Vec::new(),
        // The limit of recipients is far below 65,536.
        count: submission.to.len() as u16,
    };
    let mut zones = Zones { default: submission.time_zone.as_deref(), known: BTreeSet::new() };
    for (index, to) in submission.to.iter().enumerate() {
        let index = index as u16;
        let (address, fallback) = match address(app, to, index, (compiled, &ways), &shared)? {
            Ok(address) => address,
            Err((code, detail)) => {
                checked.reject(index, to, code, detail);
                continue;
            }
        };
        if many && !seen.insert((address.clone(), to.variables.map(RawValue::get))) {
            let detail = "stands earlier in `to` with the same variables".to_owned();
            checked.reject(index, to, "duplicate_recipient", detail);
            continue;
        }
        let variables = to.variables.map(|raw| raw.get().to_owned());
        let time_zone = match zones.name(to) {
            Ok(zone) => zone,
            Err(zone) => {
                let detail = format!("{zone:?} is no name of the IANA time zone database");
                checked.reject(index, to, "unknown_time_zone", detail);
                continue;
            }
        };
        let own = app.own(compiled, &ways, (&address, &fallback));
        checked.recipients.push(Recipient {
            index,
            to: address,
            variables,
            time_zone,
            own,
            fallback,
            ..Recipient::default()
        });
    }
    if compiled.channel.recipient == RecipientKind::Account {
        checked.set_aside_unknown_accounts(app, compiled);
    }
    Ok(checked)
}

/// The time zones that were named, looked up once each.
struct Zones<'a> {
    default: Option<&'a str>,
    known: BTreeSet<String>,
}

impl Zones<'_> {
    /// The zone of a recipient, or the name that is none.
    fn name(&mut self, to: &To<'_>) -> Result<Option<String>, String> {
        let Some(name) = to.time_zone.as_deref().or(self.default) else { return Ok(None) };
        if !self.known.contains(name) {
            time_zone(name).ok_or_else(|| name.chars().take(64).collect::<String>())?;
            self.known.insert(name.to_owned());
        }
        Ok(Some(name.to_owned()))
    }
}

type Rejection = (&'static str, String);
/// The address on the first leg, and those on the further ones.
type Addresses = (String, Vec<Option<String>>);

/// The normal forms of a recipient's addresses; the outer error is one of shape, which refuses the whole.
fn address(
    app: &App,
    to: &To<'_>,
    index: u16,
    (compiled, ways): (&Compiled, &Ways),
    shared: &Variables,
) -> Result<Result<Addresses, Rejection>, Problem> {
    let own = match to.variables {
        Some(raw) if raw.get().len() > MAX_VARIABLES_BYTES => {
            return Ok(Err(("invalid_recipient", format!("variables are longer than {MAX_VARIABLES_BYTES} bytes"))));
        }
        Some(raw) => variables(raw, || format!("to[{index}].variables"))?,
        None => Variables::default(),
    };
    let address = match check_recipient(compiled.channel.recipient, &to.to) {
        Ok(address) => address,
        Err(detail) => return Ok(Err(("invalid_recipient", detail))),
    };
    let missing = compiled.missing(shared, &own);
    if !missing.is_empty() {
        return Ok(Err(("missing_variable", format!("needs: {}", missing.join(", ")))));
    }
    let first = (compiled.channel.name, address.as_str());
    let further = addresses(app, ways, first, &to.fallback, |one| one.missing(shared, &own));
    Ok(further.map(|further| (address, further)))
}

fn sheet(submission: &Submission<'_>, compiled: &Compiled, ways: &Ways, key_id: &str, accepted_at: Time) -> Sheet {
    let spec = &compiled.version.spec;
    let start = submission.send_at.map_or(accepted_at, |at| at.max(accepted_at));
    let own_end = ways.expires_after_ms.map(|ms| start.after_ms(ms));
    Sheet {
        template: compiled.name.clone(),
        version: compiled.version.version,
        channel: spec.channel.clone(),
        account: spec.account.clone(),
        message_type: spec.message_type,
        lane: submission.priority.unwrap_or_else(|| Lane::from(spec.message_type)),
        variables: submission.variables.map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
        biz_id: submission.biz_id.clone(),
        send_at: submission.send_at,
        expires_at: submission.expires_at.or(own_end),
        key_id: key_id.to_owned(),
        policy: Policy {
            retry: ways.retry,
            on_unknown: ways.on_unknown,
            dedup_window_ms: spec.dedup.map(|dedup| dedup.window_ms),
        },
        tags: submission.tags.clone(),
        rules: Rules::default(),
        way: Some(Arc::clone(&ways.way)),
        legs: ways.legs.clone(),
        failover_on_unknown: spec.failover_on_unknown,
        callback: None,
    }
}

/// Who is told what becomes of the deliveries: the template's own callback, or the one of the key that submits.
fn callback_of(app: &App, compiled: &Compiled, key_id: &str) -> Option<Box<Callback>> {
    let own = compiled.version.spec.callback.clone();
    let spec = own.or_else(|| app.ledger.control(|c| c.callbacks.get(key_id).map(|spec| CallbackSpec::clone(spec))))?;
    Some(Box::new(Callback { spec, about: None }))
}

impl Checked {
    fn reject(&mut self, index: u16, to: &To<'_>, code: &'static str, detail: String) {
        self.rejected.push(Rejected::new(index, &to.to, code, &detail));
    }

    /// Rejects recipients that name no account of the template's channel.
    fn set_aside_unknown_accounts(&mut self, app: &App, compiled: &Compiled) {
        let channel = compiled.channel.name;
        let known: Vec<bool> = app.ledger.control(|control| {
            let serves = |name: &String| {
                let account = control.accounts.get(name);
                account.is_some_and(|account| serves(control, &app.registry, &account.provider, channel))
            };
            self.recipients.iter().map(|recipient| serves(&recipient.to)).collect()
        });
        let mut known = known.into_iter();
        self.set_aside(|recipient| {
            (!known.next().unwrap_or(true)).then(|| {
                let detail = format!("there is no account {} that serves {channel}", recipient.to);
                Rejected::new(recipient.index, &recipient.to, "unknown_account", &detail)
            })
        });
    }

    /// Rejects those of whom `why` says something: what they lack may be there when the message is repeated.
    pub(super) fn set_aside(&mut self, mut why: impl FnMut(&Recipient) -> Option<Rejected>) {
        for recipient in std::mem::take(&mut self.recipients) {
            match why(&recipient) {
                None => self.recipients.push(recipient),
                Some(rejected) => {
                    self.absent.push(recipient);
                    self.rejected.push(rejected);
                }
            }
        }
    }
}
