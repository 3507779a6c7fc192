//! Look: lists of deliveries, and everything that happened to one.

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use tidings_channels::check_recipient;
use tidings_contract::{DeliveryId, MessageId, PartitionId, RecipientKind, Time, partition_of};
use tidings_machine::control::Standing as OfBreaker;
use tidings_machine::partition::{Choice, Health, State as Standing, What, choose};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, id};
use super::cancel::{Cancelled, cancel};
use super::messages::outline;
use super::shapes::{EventShape, limit};
use crate::app::Shared;
use crate::auth::{Sender, Viewer};
use crate::look::{Filter, Find, Found, OfMessage, Recent, Summary, Unreachable, cursor, merge, read_cursor};
use crate::problem::{Code, Problem};

/// What deliveries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// To this recipient, in any form that a send would take.
    recipient: Option<String>,
    /// Of this template.
    template: Option<String>,
    /// In this state.
    #[param(value_type = Option<String>)]
    state: Option<Standing>,
    /// With this business id.
    biz_id: Option<String>,
    /// Of this message.
    message: Option<String>,
    /// Accepted at or after (RFC 3339).
    #[param(value_type = Option<String>)]
    since: Option<Time>,
    /// Accepted before (RFC 3339).
    #[param(value_type = Option<String>)]
    until: Option<Time>,
    /// Most deliveries, 1–500; 50 by default.
    limit: Option<usize>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// Newest first.
    deliveries: Vec<Summary>,
    /// Where the next page begins; a page may be short although there is one.
    next: Option<String>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// Deliveries that match, newest first. What is pending and what has ended, in one list.
#[utoipa::path(get, path = "/v1/deliveries", tag = "look", params(Wanted),
    responses((status = 200, body = Deliveries), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_deliveries(
    State(app): State<Shared>,
    _: Viewer,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Deliveries>, Problem> {
    let limit = limit(wanted.limit)?;
    if let Some(message) = &wanted.message {
        let message = message.parse().map_err(|_| Problem::field("message", "is not a message id"))?;
        return of_message(&app, message, &wanted, limit).await.map(Answer);
    }
    let streams = streams(&app, &wanted);
    let places = match &wanted.cursor {
        None => vec![Default::default(); streams.len()],
        Some(text) => read_cursor(text)
            .filter(|places| places.len() == streams.len())
            .ok_or_else(|| Problem::field("cursor", "is not a cursor of this list"))?,
    };
    let asked = streams.into_iter().zip(&places).map(|((partition, filter), place)| {
        let question = Recent { partition, filter, place: place.clone(), limit };
        let (app, place) = (app.clone(), place.clone());
        async move { (place, app.ask(partition, question).await) }
    });
    let mut given = Vec::new();
    let mut incomplete = Vec::new();
    for (place, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(page) => given.push((place, Some(page))),
            Err(Unreachable(partition)) => {
                incomplete.push(partition.to_string());
                given.push((place, None));
            }
        }
    }
    let (deliveries, places) = merge(given, limit);
    Ok(Answer(Deliveries { deliveries, next: cursor(&places), incomplete }))
}

/// Which partitions to ask for what. A recipient lives in one partition, but the text may mean several: a number without
/// its country, a name.
fn streams(app: &Shared, wanted: &Wanted) -> Vec<(PartitionId, Filter)> {
    let filter = Filter {
        recipient: None,
        template: wanted.template.clone(),
        state: wanted.state,
        biz_id: wanted.biz_id.clone(),
        since: wanted.since,
        until: wanted.until,
    };
    let partitions = app.partitions();
    let Some(text) = &wanted.recipient else {
        return partitions.into_iter().map(|partition| (partition, filter.clone())).collect();
    };
    let kinds = [RecipientKind::Opaque, RecipientKind::Phone, RecipientKind::Email, RecipientKind::Url];
    let mut forms: Vec<String> = kinds.into_iter().filter_map(|kind| check_recipient(kind, text).ok()).collect();
    forms.sort_unstable();
    forms.dedup();
    // At most 65,535 partitions: the count came from a u16.
    let count = partitions.len() as u16;
    let stream = |to: String| (partition_of(&to, count), Filter { recipient: Some(to), ..filter.clone() });
    forms.into_iter().map(stream).collect()
}

async fn of_message(app: &Shared, message: MessageId, wanted: &Wanted, limit: usize) -> Result<Deliveries, Problem> {
    let others = [&wanted.recipient, &wanted.template, &wanted.biz_id].iter().any(|filter| filter.is_some());
    if others || wanted.since.is_some() || wanted.until.is_some() {
        return Err(Problem::field("message", "goes with state, limit and cursor only"));
    }
    let after = wanted.cursor.as_ref().map(|text| text.parse::<DeliveryId>()).transpose();
    let after = after.map_err(|_| Problem::field("cursor", "is not a cursor of this list"))?;
    let partitions = outline(app, message).await?.partitions;
    let ask = |partition| OfMessage { partition, message, after, limit: limit + 1 };
    let (given, incomplete) = app.ask_all(partitions, ask).await;
    let mut deliveries: Vec<Summary> = given.into_iter().flat_map(|(_, siblings)| siblings.summaries).collect();
    deliveries.sort_by_key(|summary| summary.id);
    let more = deliveries.len() > limit;
    deliveries.truncate(limit);
    let next = deliveries.last().filter(|_| more).map(|summary| summary.id.to_string());
    deliveries.retain(|summary| wanted.state.is_none_or(|state| state == summary.state));
    Ok(Deliveries { deliveries, next, incomplete })
}

/// A delivery with everything that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trace {
    #[serde(flatten)]
    summary: Summary,
    /// The account of the last attempt, or the one it will be sent with.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// While it is pending: the breakers that it waits for, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    /// Everything that happened, in order.
    events: Vec<EventShape>,
}

/// Why did this recipient (not) get this message.
#[utoipa::path(get, path = "/v1/deliveries/{id}", tag = "look", params(("id" = String, Path)),
    responses((status = 200, body = Trace), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_delivery(
    State(app): State<Shared>,
    _: Viewer,
    Path(text): Path<String>,
) -> Result<Answer<Trace>, Problem> {
    let id: DeliveryId = id(&text)?;
    let missing = || Problem::new(Code::NotFound, format!("there is no {id}"));
    if !app.partitions().contains(&id.partition()) {
        return Err(missing());
    }
    let found = app
        .ask(id.partition(), Find(id))
        .await
        .map_err(|Unreachable(partition)| Problem::new(Code::NoLeader, format!("{partition} cannot be asked")))?;
    let found = found.ok_or_else(missing)?;
    let account = found.delivery.last_account().map(str::to_owned).or_else(|| found.sheet.account.clone());
    Ok(Answer(Trace {
        summary: Summary::new(&found.delivery, &found.sheet),
        account,
        waits_for: waits_for(&app, &found),
        events: found.delivery.events.iter().cloned().map(EventShape::from).collect(),
    }))
}

/// The breakers that a pending delivery waits for, as this node knows them.
fn waits_for(app: &Shared, found: &Found) -> Option<String> {
    let now = app.now();
    let choice = app.ledger.control(|control| {
        let mut health = |account: &str| match control.breakers.accounts.get(account).map(|one| one.standing(now)) {
            None | Some(OfBreaker::Closed) => Health::Closed,
            Some(OfBreaker::Open(until)) => Health::Open(until),
            Some(OfBreaker::HalfOpen(_)) => Health::HalfOpen,
        };
        match choose(&found.delivery, &found.sheet, &mut health) {
            Choice::Wait { why, .. } => Some(why),
            Choice::Go { .. } => None,
        }
    });
    let endpoint = || match &found.delivery.events.last()?.what {
        What::Waited { waited, .. } if waited.of_endpoint() => Some(format!("{}: breaker open", waited.subject)),
        _ => None,
    };
    choice.filter(|why| !why.is_empty()).or_else(endpoint).filter(|_| !found.delivery.state.is_final())
}

/// Cancels one delivery, if it is still pending.
#[utoipa::path(post, path = "/v1/deliveries/{id}/cancel", tag = "send", params(("id" = String, Path)),
    responses((status = 200, body = Cancelled), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn cancel_delivery(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Path(text): Path<String>,
) -> Result<Answer<Cancelled>, Problem> {
    let id: DeliveryId = id(&text)?;
    if !app.partitions().contains(&id.partition()) {
        return Err(Problem::new(Code::NotFound, format!("there is no {id}")));
    }
    cancel(&app, &caller, id.message(), vec![id.partition()], Some(id)).await.map(Answer)
}
