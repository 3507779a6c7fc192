//! Cancels: asks the owners, then looks for a while what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tidings_contract::{DeliveryId, MessageId, PartitionId};
use tidings_machine::partition::{Command, State};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::auth::Caller;
use crate::look::OfMessage;
use crate::problem::{Code, Problem};

/// How long a request waits for owners to close what it cancelled.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(25);
/// Deliveries cancelled with one proposal.
const AT_ONCE: usize = 500;

/// What became of a cancel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cancelled {
    #[schema(value_type = String)]
    message_id: MessageId,
    /// Deliveries that are cancelled now.
    cancelled: usize,
    /// Deliveries that had ended otherwise, or did while the request waited.
    too_late: usize,
    /// Deliveries with an attempt in flight: they will be cancelled unless it comes back delivered.
    pending: usize,
    /// Where each stands.
    deliveries: Vec<StandingShape>,
    /// Partitions that could not be asked; their deliveries go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// Where a delivery stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingShape {
    #[schema(value_type = String)]
    id: DeliveryId,
    #[schema(value_type = String)]
    state: State,
}

type States = BTreeMap<DeliveryId, State>;

/// Cancels the deliveries of `message` in `partitions`, or only the `one`.
pub(crate) async fn cancel(
    app: &Shared,
    caller: &Caller,
    message: MessageId,
    partitions: Vec<PartitionId>,
    one: Option<DeliveryId>,
) -> Result<Cancelled, Problem> {
    let (states, mut incomplete) = look(app, message, partitions, one).await;
    let unreachable = |names: &[String]| Problem::new(Code::NoLeader, format!("{} cannot be asked", names.join(", ")));
    if states.is_empty() && incomplete.is_empty() {
        return Err(Problem::new(Code::NotFound, "there is no such delivery"));
    }
    if states.is_empty() {
        return Err(unreachable(&incomplete));
    }
    let mut pending: BTreeMap<PartitionId, Vec<DeliveryId>> = BTreeMap::new();
    for id in states.iter().filter(|(_, state)| !state.is_final()).map(|(id, _)| *id) {
        pending.entry(id.partition()).or_default().push(id);
    }
    let mut asked = Vec::with_capacity(pending.len());
    for (partition, ids) in &pending {
        match request(app, caller, *partition, ids).await {
            Ok(()) => asked.push(*partition),
            Err(_) => incomplete.push(partition.to_string()),
        }
    }
    if asked.is_empty() && !pending.is_empty() {
        return Err(unreachable(&incomplete));
    }
    let states = wait(app, message, asked, one, states).await;
    let count = |wanted: fn(&State) -> bool| states.values().filter(|state| wanted(state)).count();
    Ok(Cancelled {
        message_id: message,
        cancelled: count(|state| *state == State::Cancelled),
        too_late: count(|state| state.is_final() && *state != State::Cancelled),
        pending: count(|state| !state.is_final()),
        deliveries: states.into_iter().map(|(id, state)| StandingShape { id, state }).collect(),
        incomplete,
    })
}

/// Asking twice changes nothing, so a part that ended unknown needs no special care: the states tell.
async fn request(app: &Shared, caller: &Caller, partition: PartitionId, ids: &[DeliveryId]) -> Result<(), Problem> {
    for some in ids.chunks(AT_ONCE) {
        let ask = |id: &DeliveryId| Command::RequestCancel { delivery: *id, by: caller.key_id.clone() };
        app.ledger.propose(partition, some.iter().map(ask).collect()).await?;
    }
    Ok(())
}

async fn look(
    app: &Shared,
    message: MessageId,
    partitions: Vec<PartitionId>,
    one: Option<DeliveryId>,
) -> (States, Vec<String>) {
    let ask = |partition| OfMessage { partition, message, after: None, limit: 0 };
    let (given, missing) = app.ask_all(partitions, ask).await;
    let states = given.into_iter().flat_map(|(_, siblings)| siblings.states);
    (states.filter(|(id, _)| one.is_none_or(|one| *id == one)).collect(), missing)
}

/// Looks until everything has ended, or patience has.
async fn wait(
    app: &Shared,
    message: MessageId,
    partitions: Vec<PartitionId>,
    one: Option<DeliveryId>,
    mut states: States,
) -> States {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let waits = |(id, state): (&DeliveryId, &State)| !state.is_final() && partitions.contains(&id.partition());
        if !states.iter().any(waits) || Instant::now() >= deadline {
            return states;
        }
        tokio::time::sleep(PAUSE).await;
        states.extend(look(app, message, partitions.clone(), one).await.0);
    }
}
