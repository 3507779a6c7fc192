//! The suppression list: addresses that nothing is sent to any more.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tidings_channels::check_recipient;
use tidings_contract::{RecipientKind, Time, partition_of};
use tidings_machine::partition::{
    self, Command, EVERY_CHANNEL, Refusal, Suppress, Suppression, SuppressionKey, SuppressionReason,
};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::shapes::limit;
use crate::app::{App, Shared};
use crate::auth::{Admin, Sender, Viewer, not_founded};
use crate::look::{Suppressed, SuppressedAddress, Unreachable};
use crate::problem::{Code, Problem};
use crate::strict::Json;

/// An entry as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The channel, or `*` for every channel.
    channel: String,
    /// The address.
    address: String,
    /// `unsubscribed`, `bounced`, `manual`.
    #[schema(value_type = String)]
    reason: SuppressionReason,
    /// Until when; for ever by default.
    #[schema(value_type = Option<String>)]
    until: Option<Time>,
}

/// An entry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuppressionShape {
    channel: String,
    /// The address in its normal form.
    address: String,
    #[schema(value_type = String)]
    reason: SuppressionReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    until: Option<Time>,
    #[schema(value_type = String)]
    created_at: Time,
    created_by: String,
    /// The delivery that showed that the address is nobody's, where nobody asked; `created_by` is the key that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    /// The code of its supplier's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// A page of the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Suppressions {
    suppressions: Vec<SuppressionShape>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only of this channel; `*` for those of every channel.
    channel: Option<String>,
    /// Only of this address.
    address: Option<String>,
    /// Most entries, 1–500; 50 by default.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Which entry.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// The channel, or `*`.
    channel: String,
    /// The address.
    address: String,
}

fn shape(((address, channel), entry): (SuppressionKey, Suppression)) -> SuppressionShape {
    let Suppression { reason, until, at, by, bounce } = entry;
    let (delivery, code) = bounce.map(|bounce| (bounce.delivery.to_string(), bounce.code)).unzip();
    SuppressionShape { channel, address, reason, until, created_at: at, created_by: by, delivery, code }
}

/// The normal form of an address of a channel. On every channel it is whatever it can be.
fn normal(app: &App, channel: &str, address: &str) -> Result<String, Problem> {
    let kinds = if channel == EVERY_CHANNEL {
        vec![RecipientKind::Phone, RecipientKind::Email, RecipientKind::Url, RecipientKind::Opaque]
    } else {
        let known = app.registry.channel(channel);
        vec![known.ok_or_else(|| Problem::field("channel", "there is no such channel"))?.recipient]
    };
    let mut wrong = String::new();
    for kind in kinds {
        match check_recipient(kind, address) {
            Ok(address) => return Ok(address),
            Err(why) => wrong = why,
        }
    }
    Err(Problem::field("address", wrong))
}

/// Asks the partition of an address for a change.
async fn change(app: &App, address: &str, command: Command) -> Result<partition::Answer, Problem> {
    let partitions = app.ledger.control(|c| c.cluster.as_ref().map(|cluster| cluster.partitions));
    let home = partition_of(address, partitions.ok_or_else(not_founded)?);
    let answers = app.ledger.propose(home, vec![command]).await?;
    answers.into_iter().next().ok_or_else(|| Problem::new(Code::Timeout, format!("{home} gave no answer")))
}

/// Puts an address on the list. The same entry again changes nothing.
#[utoipa::path(post, path = "/v1/suppressions", tag = "people", request_body = Written,
    responses((status = 200, body = SuppressionShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_suppression(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Json(written): Json<Written>,
) -> Result<Answer<SuppressionShape>, Problem> {
    let Written { channel, address, reason, until } = written;
    let address = normal(&app, &channel, &address)?;
    if until.is_some_and(|until| until <= app.now()) {
        return Err(Problem::field("until", "has passed"));
    }
    let by = caller.key_id.clone();
    let (on, to, key) = (channel.clone(), address.clone(), by.clone());
    let wish = Suppress { channel: on, address: to, reason, until, by: key, bounce: None };
    match change(&app, &address, Command::Suppress(Box::new(wish))).await? {
        partition::Answer::Refused(Refusal::Full) => {
            // Nothing goes from the list by itself, so to come again does not help.
            let words = "the suppression list of the address's partition is full; take addresses off it first";
            return Err(Problem::new(Code::Conflict, words));
        }
        partition::Answer::Refused(Refusal::TooLate) => return Err(Problem::field("until", "has passed")),
        partition::Answer::Refused(other) => {
            return Err(Problem::new(Code::Internal, format!("the partition refused: {other:?}")));
        }
        _ => {}
    }
    let found = of_address(&app, &address).await?.into_iter().find(|(key, _)| key.1 == channel);
    // It may be gone again, or the leader may have changed; what was written is known all the same.
    let fresh = || ((address, channel), Suppression { reason, until, at: app.now(), by, bounce: None });
    Ok(Answer(shape(found.unwrap_or_else(fresh))))
}

async fn of_address(app: &Shared, address: &str) -> Result<Vec<(SuppressionKey, Suppression)>, Problem> {
    let partitions = app.ledger.control(|c| c.cluster.as_ref().map(|cluster| cluster.partitions));
    let partition = partition_of(address, partitions.ok_or_else(not_founded)?);
    let question = SuppressedAddress { partition, address: address.to_owned() };
    let unreachable = |Unreachable(partition)| Problem::new(Code::NoLeader, format!("{partition} cannot be asked"));
    app.ask(partition, question).await.map_err(unreachable)
}

/// The list, in the order of addresses.
#[utoipa::path(get, path = "/v1/suppressions", tag = "people", params(Wanted),
    responses((status = 200, body = Suppressions), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_suppressions(
    State(app): State<Shared>,
    _: Viewer,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Suppressions>, Problem> {
    let limit = limit(wanted.limit)?;
    if let Some(address) = &wanted.address {
        let address = normal(&app, wanted.channel.as_deref().unwrap_or(EVERY_CHANNEL), address)?;
        let of = of_address(&app, &address).await?.into_iter();
        let of = of.filter(|(key, _)| wanted.channel.as_ref().is_none_or(|channel| *channel == key.1));
        return Ok(Answer(Suppressions { suppressions: of.map(shape).collect(), next: None, incomplete: Vec::new() }));
    }
    let after = wanted.cursor.map(|text| read_cursor(&text)).transpose()?;
    let ask =
        |partition| Suppressed { partition, channel: wanted.channel.clone(), after: after.clone(), limit: limit + 1 };
    let (pages, incomplete) = app.ask_all(app.partitions(), ask).await;
    // Where a partition was not looked through to its end, nothing behind its place is known in order.
    let bound = pages.iter().filter_map(|(_, page)| page.reached.clone()).min();
    let mut entries: Vec<_> = pages.into_iter().flat_map(|(_, page)| page.entries).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.retain(|(key, _)| bound.as_ref().is_none_or(|bound| key <= bound));
    let next = if entries.len() > limit {
        entries.truncate(limit);
        entries.last().map(|(key, _)| key.clone())
    } else {
        bound
    };
    let suppressions = entries.into_iter().map(shape).collect();
    Ok(Answer(Suppressions { suppressions, next: next.as_ref().and_then(write_cursor), incomplete }))
}

fn write_cursor(key: &SuppressionKey) -> Option<String> {
    serde_json::to_vec(key).ok().map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
}

fn read_cursor(text: &str) -> Result<SuppressionKey, Problem> {
    let read = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.ok_or_else(|| Problem::field("cursor", "is not a cursor of this list"))
}

/// Takes an address off the list.
#[utoipa::path(delete, path = "/v1/suppressions", tag = "people", params(Named),
    responses((status = 204), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn delete_suppression(
    State(app): State<Shared>,
    _: Admin,
    Asked(named): Asked<Named>,
) -> Result<StatusCode, Problem> {
    let Named { channel, address } = named;
    let address = normal(&app, &channel, &address)?;
    match change(&app, &address, Command::Unsuppress { channel, address: address.clone() }).await? {
        partition::Answer::Refused(Refusal::NotSuppressed) => {
            Err(Problem::new(Code::NotFound, format!("{address} is not on the suppression list of that channel")))
        }
        partition::Answer::Refused(other) => {
            Err(Problem::new(Code::Internal, format!("the partition refused: {other:?}")))
        }
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
