//! Dead letters: grouped by reason, listed, redriven.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_contract::DeliveryId;
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::redrive::{Edit, Order, redrive};
use super::shapes::limit;
use crate::app::Shared;
use crate::auth::{Sender, Viewer};
use crate::look::{DeadFilter, DeadGroup, DeadGroups, DeadPage, Summary};
use crate::problem::Problem;
use crate::strict::Json;
use tidings_machine::partition::State as Standing;

/// Most dead letters of one redrive, and how many are listed in its answer.
const MOST: usize = 10_000;
const LISTED: usize = 1_000;

/// Which dead letters are wanted, and for a list which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Of this template.
    template: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// With this reason code.
    code: Option<String>,
    /// `failed` or `unknown`.
    #[param(value_type = Option<String>)]
    state: Option<Standing>,
    /// Only in a list: most deliveries, 1–500; 50 by default.
    limit: Option<usize>,
    /// Only in a list: where the page before ended.
    cursor: Option<String>,
}

impl Wanted {
    fn filter(&self) -> DeadFilter {
        DeadFilter {
            template: self.template.clone(),
            channel: self.channel.clone(),
            code: self.code.clone(),
            state: self.state,
        }
    }
}

/// Dead letters, grouped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Groups {
    /// How many there are.
    total: u64,
    /// The largest first.
    groups: Vec<DeadGroup>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// Dead letters grouped by reason, the largest group first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(Wanted),
    responses((status = 200, body = Groups), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_groups(
    State(app): State<Shared>,
    _: Viewer,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Groups>, Problem> {
    if wanted.limit.is_some() || wanted.cursor.is_some() {
        return Err(Problem::field("limit", "goes with /v1/dead-letters/list only"));
    }
    let filter = wanted.filter();
    let ask = |partition| DeadGroups { partition, filter: filter.clone() };
    let (given, incomplete) = app.ask_all(app.partitions(), ask).await;
    let mut merged: BTreeMap<_, DeadGroup> = BTreeMap::new();
    for group in given.into_iter().flat_map(|(_, groups)| groups) {
        match merged.entry(group.key()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(group);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().add(group),
        }
    }
    let mut groups: Vec<_> = merged.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Answer(Groups { total: groups.iter().map(|group| group.count).sum(), groups, incomplete }))
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Letters {
    /// Newest first, by when they were accepted.
    deliveries: Vec<Summary>,
    /// Where the next page begins.
    next: Option<String>,
    /// Partitions that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// Dead letters one by one.
#[utoipa::path(get, path = "/v1/dead-letters/list", tag = "dead letters", params(Wanted),
    responses((status = 200, body = Letters), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_letters(
    State(app): State<Shared>,
    _: Viewer,
    Asked(wanted): Asked<Wanted>,
) -> Result<Answer<Letters>, Problem> {
    let limit = limit(wanted.limit)?;
    let before = wanted.cursor.as_ref().map(|text| text.parse::<DeliveryId>()).transpose();
    let before = before.map_err(|_| Problem::field("cursor", "is not a cursor of this list"))?;
    let filter = wanted.filter();
    let ask = |partition| DeadPage { partition, filter: filter.clone(), before, limit: limit + 1 };
    let (given, incomplete) = app.ask_all(app.partitions(), ask).await;
    let mut deliveries: Vec<Summary> = given.into_iter().flat_map(|(_, summaries)| summaries).collect();
    deliveries.sort_by_key(|summary| std::cmp::Reverse(summary.id));
    let more = deliveries.len() > limit;
    deliveries.truncate(limit);
    let next = deliveries.last().filter(|_| more).map(|summary| summary.id.to_string());
    Ok(Answer(Letters { deliveries, next, incomplete }))
}

/// What to redrive, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveShape {
    /// Which dead letters.
    filter: Chosen,
    /// What to change about them.
    #[serde(default)]
    edit: EditShape,
    /// Most of them; 10,000 by default and at most.
    limit: Option<usize>,
}

/// Which dead letters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// Of this template.
    template: Option<String>,
    /// Of this channel.
    channel: Option<String>,
    /// With this reason code.
    code: Option<String>,
    /// `failed` or `unknown`.
    #[schema(value_type = Option<String>)]
    state: Option<Standing>,
    /// Exactly these.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    ids: Vec<DeliveryId>,
}

/// What to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditShape {
    /// Variables that win over those of the dead letter.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    variables: Option<Map<String, Value>>,
    /// Send with this account.
    account: Option<String>,
    /// `latest`: use the template as it is now.
    template_version: Option<Latest>,
}

/// The only version that can be asked for.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Latest {
    /// As it is now.
    Latest,
}

/// What became of a redrive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// How many go out again.
    redriven: usize,
    /// How many do not: they were redriven by somebody else meanwhile, or there is no room.
    skipped: usize,
    /// The first 1,000 of them.
    deliveries: Vec<Again>,
    /// Partitions that could not be asked, or whose answer did not come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<String>,
}

/// A dead letter and the delivery made of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Again {
    #[schema(value_type = String)]
    from: DeliveryId,
    #[schema(value_type = String)]
    id: DeliveryId,
}

/// Sends dead letters again.
#[utoipa::path(post, path = "/v1/dead-letters/redrive", tag = "dead letters", request_body = RedriveShape,
    responses((status = 202, body = Redriven), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn post_redrive(
    State(app): State<Shared>,
    Sender(caller): Sender,
    Json(asked): Json<RedriveShape>,
) -> Result<(StatusCode, Answer<Redriven>), Problem> {
    let limit = asked.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) || asked.filter.ids.len() > MOST {
        return Err(Problem::field("limit", format!("must be between 1 and {MOST}")));
    }
    let Chosen { template, channel, code, state, ids } = asked.filter;
    let edit = Edit {
        variables: asked.edit.variables.unwrap_or_default(),
        account: asked.edit.account,
        latest: asked.edit.template_version.is_some(),
    };
    let order = Order { filter: DeadFilter { template, channel, code, state }, ids, edit, limit, by: caller.key_id };
    let done = redrive(&app, &order).await?;
    let deliveries = done.made.iter().take(LISTED).map(|(from, id)| Again { from: *from, id: *id }).collect();
    let redriven =
        Redriven { redriven: done.made.len(), skipped: done.skipped, deliveries, incomplete: done.incomplete };
    Ok((StatusCode::ACCEPTED, Answer(redriven)))
}
