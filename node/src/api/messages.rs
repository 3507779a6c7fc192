//! Send: take messages, show them, cancel them.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidings_contract::{DeliveryId, MessageId, PartitionId, Time};
use tidings_machine::partition::{Finding, Judgement, Recipient, Ruling, State as Standing};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, id};
use super::cancel::{Cancelled, cancel};
use super::shapes::{Paging, limit};
use crate::app::{App, Shared};
use crate::auth::{Caller, Sender, Viewer};
use crate::intake::{self, Batch, Rehearsed, RehearsedLeg, Taken, recipients_in};
use crate::look::{HeaderOf, OfMessage, Summary, Unreachable};
use crate::problem::{Code, Problem, Rejected};
use crate::strict::{Raw, decode};

/// Messages of a batch that are under way at once.
const AT_ONCE: usize = 16;

/// A message that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenShape {
    /// The message.
    #[schema(value_type = String)]
    message_id: MessageId,
    /// What is kept.
    deliveries: Vec<PlacedShape>,
    /// What is not.
    rejected: Vec<Rejected>,
}

/// One delivery that is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlacedShape {
    #[schema(value_type = String)]
    id: DeliveryId,
    to: String,
    #[schema(value_type = String)]
    state: Standing,
    index: u16,
}

impl From<Taken> for TakenShape {
    fn from(taken: Taken) -> Self {
        let placed = |p: intake::Placed| PlacedShape { index: p.id.index(), id: p.id, to: p.to, state: p.state };
        Self {
            message_id: taken.message,
            deliveries: taken.deliveries.into_iter().map(placed).collect(),
            rejected: taken.rejected,
        }
    }
}

/// The body of a send, for the OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the JSON that intake reads in place")]
pub(crate) struct SubmissionShape {
    /// The template's name.
    template: String,
    /// Addresses, or objects with `to`, `variables` and `time_zone`; at most 10,000.
    #[schema(value_type = Vec<Object>)]
    to: Vec<()>,
    /// The variables given for all recipients.
    #[schema(value_type = Option<Object>)]
    variables: Option<()>,
    /// The caller's own id of the business case; at most 128 bytes.
    biz_id: Option<String>,
    /// Not before; at most 30 days ahead.
    send_at: Option<String>,
    /// Not after.
    expires_at: Option<String>,
    /// `high`, `normal`, `low`.
    priority: Option<String>,
    /// What policies select by; at most 16 of at most 64 bytes.
    tags: Option<Vec<String>>,
    /// The IANA time zone of recipients who give none of their own; it matters for quiet hours.
    time_zone: Option<String>,
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong = || Problem::field("Idempotency-Key", "must be 1 to 255 visible ASCII characters");
    let text = value.to_str().map_err(|_| wrong())?;
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(Some(text)) } else { Err(wrong()) }
}

/// How a message is taken.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// Only tells what would become of each recipient; nothing is kept.
    #[serde(default)]
    dry_run: bool,
}

/// What would become of a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RehearsedShape {
    /// Always true.
    dry_run: bool,
    /// The template's version.
    version: u32,
    /// What would become of each recipient who can be sent to.
    deliveries: Vec<JudgedShape>,
    /// Who would be rejected.
    rejected: Vec<Rejected>,
}

/// What would become of one recipient.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JudgedShape {
    index: u16,
    to: String,
    /// `pending`, `suppressed` or `expired`.
    #[schema(value_type = String)]
    state: Standing,
    /// When it would leave, if it would.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    due: Option<Time>,
    /// What each rule says, in the order in which they decide; the first that suppresses or expires it does.
    rules: Vec<FindingShape>,
    /// The channels it may fall back to, in that order, with what their rules would say. Nothing of it changes `state`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    legs: Vec<LegShape>,
}

/// What the rules of a channel would say about one recipient, if the delivery fell back to it at the time at which it would
/// leave first. Each recipient is looked at for itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LegShape {
    channel: String,
    /// The fallback template.
    template: String,
    /// The recipient's address there.
    to: String,
    /// What each rule says, in the order in which they decide: the list that bars it, `quiet_hours`, `suppression_list`,
    /// `frequency`, `words`; `limits` never decide. A leg that a rule says no to is passed over.
    rules: Vec<FindingShape>,
    /// Set where some of its rules could not be asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

impl From<RehearsedLeg> for LegShape {
    fn from(RehearsedLeg { channel, template, to, findings, incomplete }: RehearsedLeg) -> Self {
        Self { channel, template, to, rules: findings.into_iter().map(FindingShape::from).collect(), incomplete }
    }
}

/// What one rule says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingShape {
    /// The rule: `<kind>/<policy>@<version>`, `suppression_list`, `expiry`, `content_dedup`. `limits` never decide: they only
    /// make it wait for its turn.
    rule: String,
    /// `pass`, `suppress`, `defer`, `expire`, `mask`.
    ruling: &'static str,
    /// What it saw.
    detail: String,
    /// When it would leave instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    until: Option<Time>,
}

impl From<Finding> for FindingShape {
    fn from(Finding { title, ruling, detail }: Finding) -> Self {
        let (ruling, until) = match ruling {
            Ruling::Pass => ("pass", None),
            Ruling::Suppress => ("suppress", None),
            Ruling::Defer { until } => ("defer", Some(until)),
            Ruling::Expire => ("expire", None),
            Ruling::Mask { .. } => ("mask", None),
        };
        Self { rule: title, ruling, detail, until }
    }
}

impl From<Rehearsed> for RehearsedShape {
    fn from(Rehearsed { version, deliveries, legs, rejected }: Rehearsed) -> Self {
        let judged = |((recipient, judgement), legs): ((Recipient, Judgement), Vec<RehearsedLeg>)| JudgedShape {
            index: recipient.index,
            to: recipient.to,
            state: judgement.state,
            due: (judgement.state == Standing::Pending).then_some(judgement.due),
            rules: judgement.findings.into_iter().map(FindingShape::from).collect(),
            legs: legs.into_iter().map(LegShape::from).collect(),
        };
        let deliveries = deliveries.into_iter().zip(legs).map(judged).collect();
        Self { dry_run: true, version, deliveries, rejected }
    }
}

/// Takes a message. 202 is answered when a majority of replicas has it on disk.
#[utoipa::path(post, path = "/v1/messages", tag = "send", request_body = SubmissionShape,
    params(How, ("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters")),
    responses((status = 202, body = TakenShape), (status = 200, body = RehearsedShape),
        (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_message(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Asked(how): Asked<How>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Problem> {
    if how.dry_run {
        let rehearsed = intake::rehearse(&app, &caller, &body).await?;
        return Ok(Answer(RehearsedShape::from(rehearsed)).into_response());
    }
    let key = idempotency_key(&headers)?;
    let taken = intake::submit(&app, &caller, &body, key).await?;
    let replayed = taken.replayed;
    let mut response = (StatusCode::ACCEPTED, Answer(TakenShape::from(taken))).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The body of a batch, for the OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the JSON that intake reads in place")]
pub(crate) struct BatchShape {
    /// At most 100 messages with at most 10,000 recipients together, each taken or refused on its own.
    messages: Vec<SubmissionShape>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Results {
    /// One per message, in the order of the request: `status` and the fields of a taken message, or `problem`.
    #[schema(value_type = Vec<Object>)]
    results: Vec<Box<RawValue>>,
}

/// Takes several messages, each on its own. With an Idempotency-Key, message n of the batch has the key `<key>#<n>`.
#[utoipa::path(post, path = "/v1/messages/batch", tag = "send", request_body = BatchShape,
    responses((status = 200, body = Results), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_batch(
    State(app): State<Shared>,
    Sender(caller): Sender,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Answer<Results>, Problem> {
    let key = idempotency_key(&headers)?;
    let batch: Batch<'_> = app.heavy.run(body.len(), || decode(&body)).await?;
    if batch.messages.len() > Batch::MOST {
        return Err(Problem::field("messages", format!("holds more than {} messages", Batch::MOST)));
    }
    let most = app.limits().max_recipients;
    let counted = || batch.messages.iter().map(|message| recipients_in(message)).sum::<usize>();
    let recipients = app.heavy.run(body.len(), counted).await;
    if recipients > most {
        let words = format!("the messages have {recipients} recipients together; a batch has at most {most}");
        return Err(Problem::new(Code::TooManyRecipients, words));
    }
    let each = batch.messages.iter().enumerate();
    let each: Vec<_> = each.map(|(n, raw)| one_of_batch(&app, &caller, raw, key, n).boxed()).collect();
    Ok(Answer(Results { results: stream::iter(each).buffered(AT_ONCE).collect().await }))
}

/// What became of one message of a batch. Written at once: a tree of values would take many times the memory.
async fn one_of_batch(app: &App, caller: &Caller, raw: &RawValue, key: Option<&str>, n: usize) -> Box<RawValue> {
    #[derive(Serialize)]
    struct OfTaken {
        status: u16,
        #[serde(flatten)]
        taken: TakenShape,
    }

    #[derive(Serialize)]
    struct OfRefused<'a> {
        status: u16,
        problem: crate::problem::Body<'a>,
    }

    let key = key.map(|key| format!("{key}#{n}"));
    let result = intake::submit(app, caller, raw.get().as_bytes(), key.as_deref()).await;
    let written = match result {
        Ok(taken) => to_raw_value(&OfTaken { status: 202, taken: taken.into() }),
        Err(problem) => to_raw_value(&OfRefused { status: problem.status(), problem: problem.body() }),
    };
    written.unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A message and how its deliveries stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageShape {
    #[schema(value_type = String)]
    id: MessageId,
    template: String,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    biz_id: Option<String>,
    #[schema(value_type = String)]
    accepted_at: Time,
    /// Recipients in the request, the rejected ones included.
    recipients: u16,
    /// How many deliveries stand where.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    states: BTreeMap<Standing, u64>,
    /// In the order of the request.
    deliveries: Vec<Summary>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// What is known of a message before its deliveries are asked for.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Template, version, business id, time, recipients; unknown when the header was lost with its partition.
    pub header: Option<tidings_machine::partition::Header>,
    /// Where its deliveries are.
    pub partitions: Vec<PartitionId>,
}

/// The header of a message. Where its home never kept one, because the message has one recipient or because the part with
/// the header was lost, all partitions are asked for its deliveries.
pub(crate) async fn outline(app: &Shared, message: MessageId) -> Result<Outline, Problem> {
    let all = app.partitions();
    if !all.contains(&message.home()) {
        return Err(Problem::new(Code::NotFound, format!("there is no {message}")));
    }
    let header = app
        .ask(message.home(), HeaderOf(message))
        .await
        .map_err(|Unreachable(partition)| Problem::new(Code::NoLeader, format!("{partition} cannot be asked")))?;
    let partitions = header.as_ref().map_or(all, |h| h.partitions.iter().map(|(partition, _)| *partition).collect());
    Ok(Outline { header, partitions })
}

/// A message with its deliveries, a page of them at a time.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "send",
    params(("id" = String, Path), ("limit" = Option<usize>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = MessageShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_message(
    State(app): State<Shared>,
    _: Viewer,
    Path(text): Path<String>,
    Asked(paging): Asked<Paging>,
) -> Result<Answer<MessageShape>, Problem> {
    let message: MessageId = id(&text)?;
    let limit = limit(paging.limit)?;
    let after = paging.cursor.map(|c| c.parse::<DeliveryId>()).transpose();
    let after = after.map_err(|_| Problem::field("cursor", "is not a cursor of this list"))?;
    let outline = outline(&app, message).await?;
    let ask = |partition| OfMessage { partition, message, after, limit: limit + 1 };
    let (given, incomplete) = app.ask_all(outline.partitions, ask).await;
    let mut states = BTreeMap::new();
    let mut deliveries = Vec::new();
    for (_, siblings) in given {
        for state in siblings.states.values() {
            *states.entry(*state).or_default() += 1;
        }
        deliveries.extend(siblings.summaries);
    }
    deliveries.sort_by_key(|summary: &Summary| summary.id);
    let next = if deliveries.len() > limit {
        deliveries.truncate(limit);
        deliveries.last().map(|summary| summary.id.to_string())
    } else {
        None
    };
    let found = outline.header.is_some() || !deliveries.is_empty();
    if !found && !incomplete.is_empty() {
        return Err(Problem::new(Code::NoLeader, format!("{} cannot be asked", incomplete.join(", "))));
    }
    if !found {
        return Err(Problem::new(Code::NotFound, format!("there is no {message}")));
    }
    let sample = deliveries.first();
    let header = outline.header.as_ref();
    let counted: u64 = states.values().sum();
    Ok(Answer(MessageShape {
        id: message,
        template: header.map(|h| h.template.clone()).or_else(|| sample.map(|s| s.template.clone())).unwrap_or_default(),
        version: header.map(|h| h.version).or_else(|| sample.map(|s| s.version)).unwrap_or_default(),
        biz_id: header.map_or_else(|| sample.and_then(|s| s.biz_id.clone()), |h| h.biz_id.clone()),
        accepted_at: header.map_or_else(|| message.time(), |h| h.accepted_at),
        recipients: header.map_or_else(|| u16::try_from(counted).unwrap_or(u16::MAX), |h| h.recipients),
        states,
        deliveries,
        next,
        incomplete,
    }))
}

/// Cancels what is still pending of a message.
#[utoipa::path(post, path = "/v1/messages/{id}/cancel", tag = "send", params(("id" = String, Path)),
    responses((status = 200, body = Cancelled), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn cancel_message(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Path(text): Path<String>,
) -> Result<Answer<Cancelled>, Problem> {
    let message: MessageId = id(&text)?;
    let outline = outline(&app, message).await?;
    cancel(&app, &caller, message, outline.partitions, None).await.map(Answer)
}
