//! Counts: how many deliveries were accepted and where they stand.

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidings_contract::Time;
use tidings_machine::partition::State as Standing;
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use crate::app::Shared;
use crate::auth::Viewer;
use crate::look::{Day, Tallied, Totals};
use crate::problem::Problem;

/// Which day.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// The UTC day of acceptance, `YYYY-MM-DD`; today by default.
    day: Option<String>,
}

/// Counts. `accepted` is the sum of all the others.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CountsShape {
    accepted: u64,
    pending: u64,
    /// By final state.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    ended: BTreeMap<Standing, u64>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

impl CountsShape {
    fn new(tallied: Tallied, incomplete: Vec<String>) -> Self {
        Self { accepted: tallied.accepted, pending: tallied.pending, ended: tallied.ended, incomplete }
    }
}

/// Counts of everything, and of each partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct All {
    #[serde(flatten)]
    totals: CountsShape,
    partitions: Vec<OnePartition>,
}

/// Counts of one partition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OnePartition {
    name: String,
    #[serde(flatten)]
    counts: CountsShape,
}

/// Counts since the cluster was founded.
#[utoipa::path(get, path = "/v1/stats", tag = "look",
    responses((status = 200, body = All), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_stats(State(app): State<Shared>, _: Viewer) -> Answer<All> {
    let (given, incomplete) = app.ask_all(app.partitions(), Totals).await;
    let mut sum = Tallied::default();
    let mut partitions = Vec::with_capacity(given.len());
    for (partition, tallied) in given {
        sum.add(&tallied);
        partitions.push(OnePartition { name: partition.to_string(), counts: CountsShape::new(tallied, Vec::new()) });
    }
    Answer(All { totals: CountsShape::new(sum, incomplete), partitions })
}

/// Counts of one template on one day.
#[utoipa::path(get, path = "/v1/stats/templates/{name}", tag = "look", params(("name" = String, Path), Wanted),
    responses((status = 200, body = CountsShape), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_template_stats(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<CountsShape>, Problem> {
    let day = match wanted.day {
        None => app.now().day(),
        Some(day) => {
            Time::parse(&format!("{day}T00:00:00Z")).map_err(|_| Problem::field("day", "must be YYYY-MM-DD"))?.day()
        }
    };
    let ask = |partition| Day { partition, template: name.clone(), day };
    let (given, incomplete) = app.ask_all(app.partitions(), ask).await;
    let mut sum = Tallied::default();
    given.iter().for_each(|(_, tallied)| sum.add(tallied));
    Ok(Answer(CountsShape::new(sum, incomplete)))
}
