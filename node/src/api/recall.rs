//! Recalls: what is pending is cancelled; what was delivered is taken back through its provider, where that can be done.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, MessageId, PartitionId, Reason, Time};
use tidings_machine::partition::{
    Answer as Told, Command, RecallCommand, RecallStanding, Refusal, SentAs, State as Standing, Want,
};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, id};
use super::messages::outline;
use crate::app::Shared;
use crate::auth::{Caller, Sender};
use crate::intake::unknown_template;
use crate::look::{Filter, Now, OfMessage, Place, Recent, Sendings, Standings, Unreachable, merge};
use crate::problem::{Code, Problem};

/// How long a request waits for providers and owners.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Deliveries asked about, or recalled, with one question or proposal.
const AT_ONCE: usize = 200;
/// Most deliveries of a template that one request recalls.
const OF_TEMPLATE: usize = 1_000;
/// How far back a recall by template may reach, in milliseconds: a week.
const FARTHEST_MS: u64 = 7 * 86_400_000;
/// How long a wish may be under way before what it says of a delivery counts as too old, in milliseconds.
const ACCEPT_MS: u64 = 30_000;

/// What became of a recall.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Recalled {
    /// Deliveries that were taken back.
    recalled: usize,
    /// Deliveries that had not been sent yet and are cancelled.
    cancelled: usize,
    /// Deliveries whose provider has not answered yet, or whose attempt is in flight; their traces will tell.
    wanted: usize,
    /// Deliveries that cannot be taken back, each with why.
    not_recallable: usize,
    /// Deliveries of which nobody can tell whether they were taken back.
    unknown: usize,
    /// What became of each.
    deliveries: Vec<RecallShape>,
    /// Whether there are more of the template: ask again with an earlier `until`.
    more: bool,
    /// Partitions that could not be asked; nothing of theirs was recalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// What became of the recall of one delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecallShape {
    #[schema(value_type = String)]
    id: DeliveryId,
    /// Where the delivery stands.
    #[schema(value_type = String)]
    state: Standing,
    /// `recalled`, `cancelled`, `wanted`, `not_recallable`, `unknown`.
    recall: &'static str,
    /// Why not, where there is a why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<super::shapes::Why>)]
    reason: Option<Reason>,
}

/// Which deliveries of a template.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Accepted at or after (RFC 3339); at most a week ago.
    #[param(value_type = String)]
    since: Time,
    /// Accepted before (RFC 3339).
    #[param(value_type = Option<String>)]
    until: Option<Time>,
}

/// Takes one delivery back.
#[utoipa::path(post, path = "/v1/deliveries/{id}/recall", tag = "send", params(("id" = String, Path)),
    responses((status = 200, body = Recalled), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn recall_delivery(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Path(text): Path<String>,
) -> Result<Answer<Recalled>, Problem> {
    let id: DeliveryId = id(&text)?;
    if !app.partitions().contains(&id.partition()) {
        return Err(Problem::new(Code::NotFound, format!("there is no {id}")));
    }
    recall(&app, &caller, vec![id], Recalled::default()).await.map(Answer)
}

/// Takes every delivery of a message back.
#[utoipa::path(post, path = "/v1/messages/{id}/recall", tag = "send", params(("id" = String, Path)),
    responses((status = 200, body = Recalled), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn recall_message(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Path(text): Path<String>,
) -> Result<Answer<Recalled>, Problem> {
    let message: MessageId = id(&text)?;
    let outline = outline(&app, message).await?;
    let ask = |partition| OfMessage { partition, message, after: None, limit: 0 };
    let (given, incomplete) = app.ask_all(outline.partitions, ask).await;
    let ids = given.into_iter().flat_map(|(_, siblings)| siblings.states.into_keys()).collect();
    recall(&app, &caller, ids, Recalled { incomplete, ..Recalled::default() }).await.map(Answer)
}

/// Takes the newest 1,000 deliveries of a template back that were accepted since a time.
#[utoipa::path(post, path = "/v1/templates/{name}/recall", tag = "send", params(("name" = String, Path), Since),
    responses((status = 200, body = Recalled), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn recall_template(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Path(name): Path<String>,
    Asked(Since { since, until }): Asked<Since>,
) -> Result<Answer<Recalled>, Problem> {
    if since.after_ms(FARTHEST_MS) < app.now() {
        return Err(Problem::field("since", "is more than a week ago"));
    }
    app.known(|c| c.templates.get(&name).map(drop)).await?.ok_or_else(|| unknown_template(&name))?;
    let filter = Filter { template: Some(name), since: Some(since), until, ..Filter::default() };
    let (ids, more, incomplete) = newest(&app, &filter).await;
    recall(&app, &caller, ids, Recalled { more, incomplete, ..Recalled::default() }).await.map(Answer)
}

/// The newest deliveries that match, whether there are more, and the partitions that could not be asked.
async fn newest(app: &Shared, filter: &Filter) -> (Vec<DeliveryId>, bool, Vec<String>) {
    let partitions = app.partitions();
    let mut places = vec![Place::default(); partitions.len()];
    let (mut ids, mut incomplete) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let limit = (OF_TEMPLATE - ids.len()).min(500);
        let mut given = Vec::with_capacity(places.len());
        for (partition, place) in partitions.iter().zip(places) {
            let question = Recent { partition: *partition, filter: filter.clone(), place: place.clone(), limit };
            let page = app.ask(*partition, question).await.ok();
            if page.is_none() && !incomplete.contains(&partition.to_string()) {
                incomplete.push(partition.to_string());
            }
            given.push((place, page));
        }
        let (summaries, next) = merge(given, limit);
        let found = summaries.len();
        ids.extend(summaries.into_iter().map(|summary| summary.id));
        let stuck = found == 0 && !incomplete.is_empty();
        if next.is_empty() || stuck {
            return (ids, false, incomplete);
        }
        if ids.len() >= OF_TEMPLATE || Instant::now() >= deadline {
            return (ids, true, incomplete);
        }
        places = next;
    }
}

/// What is known of the deliveries while their recalls go on.
type Outcomes = BTreeMap<DeliveryId, (Standing, Option<RecallStanding>)>;

async fn recall(
    app: &Shared,
    caller: &Caller,
    ids: Vec<DeliveryId>,
    mut recalled: Recalled,
) -> Result<Recalled, Problem> {
    if ids.is_empty() && recalled.incomplete.is_empty() {
        return Err(Problem::new(Code::NotFound, "there is no such delivery"));
    }
    let mut outcomes = Outcomes::new();
    begin_all(app, caller, ids, &mut outcomes, &mut recalled.incomplete).await;
    if outcomes.is_empty() {
        return match recalled.incomplete.is_empty() {
            true => Err(Problem::new(Code::NotFound, "there is no such delivery")),
            false => Err(Problem::new(Code::NoLeader, format!("{} cannot be asked", recalled.incomplete.join(", ")))),
        };
    }
    wait(app, &mut outcomes).await;
    // What was in flight when it was to be cancelled, and was taken, is taken back like any other.
    let late = outcomes.iter().filter(|(_, outcome)| **outcome == (Standing::Delivered, None));
    let late: Vec<DeliveryId> = late.map(|(id, _)| *id).collect();
    if !late.is_empty() {
        begin_all(app, caller, late, &mut outcomes, &mut recalled.incomplete).await;
        wait(app, &mut outcomes).await;
    }
    for (id, (state, standing)) in outcomes {
        recalled.add(id, state, standing);
    }
    Ok(recalled)
}

async fn begin_all(
    app: &Shared,
    caller: &Caller,
    ids: Vec<DeliveryId>,
    outcomes: &mut Outcomes,
    incomplete: &mut Vec<String>,
) {
    let mut by_partition: BTreeMap<PartitionId, Vec<DeliveryId>> = BTreeMap::new();
    for id in ids {
        by_partition.entry(id.partition()).or_default().push(id);
    }
    for (partition, ids) in by_partition {
        for some in ids.chunks(AT_ONCE) {
            let begun = begin(app, caller, partition, some, outcomes).await;
            if begun.is_err() && !incomplete.contains(&partition.to_string()) {
                incomplete.push(partition.to_string());
            }
        }
    }
}

/// Asks to cancel what is pending and to take back what was delivered. Asking twice changes nothing.
async fn begin(
    app: &Shared,
    caller: &Caller,
    partition: PartitionId,
    ids: &[DeliveryId],
    outcomes: &mut Outcomes,
) -> Result<(), ()> {
    let asking = app.ask(partition, Sendings { partition, ids: ids.to_vec() });
    let sendings = asking.await.map_err(|Unreachable(_)| ())?;
    let accept_by = app.latest().after_ms(ACCEPT_MS);
    let mut asked: Vec<(DeliveryId, Standing)> = Vec::new();
    let mut commands = Vec::new();
    for sending in sendings {
        let (id, by) = (sending.id, caller.key_id.clone());
        match (sending.state, sending.sent) {
            (Standing::Pending, _) => {
                asked.push((id, sending.state));
                commands.push(Command::RequestCancel { delivery: id, by });
            }
            (Standing::Delivered, Some(sent)) => {
                asked.push((id, sending.state));
                commands.push(want(id, by, accept_by, sent));
            }
            (Standing::Delivered, None) => {
                let reason = Reason::new("no_provider_id", "its provider gave no id to recall it by");
                outcomes.insert(id, (sending.state, Some(RecallStanding::NotRecallable(reason))));
            }
            (state, _) => drop(outcomes.insert(id, (state, None))),
        }
    }
    if commands.is_empty() {
        return Ok(());
    }
    let answers = app.ledger.propose(partition, commands).await.map_err(drop)?;
    for ((id, state), answer) in asked.into_iter().zip(answers) {
        let standing = match answer {
            Told::Recall(standing) => Some(standing),
            Told::Refused(Refusal::Full) => {
                Some(RecallStanding::NotRecallable(Reason::new("full", "too many recalls wait already; ask again")))
            }
            Told::Refused(Refusal::TooLate) => {
                Some(RecallStanding::NotRecallable(Reason::new("too_late", "it took too long to ask; ask again")))
            }
            _ => None,
        };
        outcomes.insert(id, (state, standing));
    }
    Ok(())
}

fn want(delivery: DeliveryId, by: String, accept_by: Time, sent: SentAs) -> Command {
    Command::Recall(RecallCommand::Want(Box::new(Want { delivery, by, accept_by, sent })))
}

/// Looks until all are decided, or patience has ended.
async fn wait(app: &Shared, outcomes: &mut Outcomes) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = |(state, standing): &(Standing, Option<RecallStanding>)| {
            !state.is_final() || *standing == Some(RecallStanding::Wanted)
        };
        let mut waiting: BTreeMap<PartitionId, Vec<DeliveryId>> = BTreeMap::new();
        for (id, _) in outcomes.iter().filter(|(_, outcome)| open(outcome)) {
            waiting.entry(id.partition()).or_default().push(*id);
        }
        if waiting.is_empty() || Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(PAUSE).await;
        for (partition, ids) in waiting {
            for some in ids.chunks(AT_ONCE) {
                let standings = app.ask(partition, Standings { partition, ids: some.to_vec() }).await;
                for Now { id, state, recall } in standings.unwrap_or_default() {
                    outcomes.insert(id, (state, recall));
                }
            }
        }
    }
}

impl Recalled {
    fn add(&mut self, id: DeliveryId, state: Standing, standing: Option<RecallStanding>) {
        let (count, recall, reason) = match (state, standing) {
            (Standing::Recalled, _) | (_, Some(RecallStanding::Recalled)) => (&mut self.recalled, "recalled", None),
            (Standing::Cancelled, _) => (&mut self.cancelled, "cancelled", None),
            (_, Some(RecallStanding::Wanted)) | (Standing::Pending, _) => (&mut self.wanted, "wanted", None),
            (_, Some(RecallStanding::Unknown(reason))) => (&mut self.unknown, "unknown", Some(reason)),
            (_, Some(RecallStanding::NotRecallable(reason))) => {
                (&mut self.not_recallable, "not_recallable", Some(reason))
            }
            (state, _) => {
                let reason = Reason::new("not_delivered", format!("it ended as {}", state.name()));
                (&mut self.not_recallable, "not_recallable", Some(reason))
            }
        };
        *count += 1;
        let state = if recall == "recalled" { Standing::Recalled } else { state };
        self.deliveries.push(RecallShape { id, state, recall, reason });
    }
}
