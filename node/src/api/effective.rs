//! How the messages of a template would be delivered now: every value with the layer it comes from.

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::Serialize;
use tidings_contract::RecipientKind;
use tidings_machine::partition::{WayAccount, Wishes};
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::auth::Viewer;
use crate::delivering::Held;
use crate::intake::Compiled;
use crate::problem::Problem;
use crate::providers::serves;

/// How the messages of a template would be delivered now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Effective {
    /// The legs, in the order in which they are taken: the template itself, then what it falls back to.
    legs: Vec<EffectiveLeg>,
}

/// One leg.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectiveLeg {
    template: String,
    version: u32,
    channel: String,
    /// The route, as `name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// What holds for the leg: each key, its value, and the layer it comes from.
    held: Vec<Held>,
    /// The accounts in the order of their tiers, each with what holds for its calls. Where the recipient is the account
    /// (robots): those that say something themselves, with what holds for their deliveries.
    accounts: Vec<EffectiveAccount>,
}

/// One account of a leg.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EffectiveAccount {
    account: String,
    weight: u32,
    tier: u8,
    /// What holds for its calls.
    held: Vec<Held>,
}

/// How the messages of a template would be delivered now.
#[utoipa::path(get, path = "/v1/templates/{name}/effective", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = Effective), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn get_effective(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<Effective>, Problem> {
    let compiled = app.current_template(&name).await?;
    let ways = app.ways(&compiled)?;
    let mut legs = vec![leg(&app, &compiled, &ways.way)];
    legs.extend(ways.further.iter().zip(&ways.legs).map(|(one, further)| leg(&app, one, &further.way)));
    Ok(Answer(Effective { legs }))
}

fn leg(app: &App, compiled: &Compiled, way: &tidings_machine::partition::Way) -> EffectiveLeg {
    let calls = |key: &str| key == "timeout_ms" || key.starts_with("breaker.");
    let account = |one: &WayAccount| EffectiveAccount {
        account: one.account.clone(),
        weight: one.weight,
        tier: one.tier,
        held: app.layers(compiled, Some(&one.account)).held().into_iter().filter(|held| calls(held.key)).collect(),
    };
    let mut accounts: Vec<EffectiveAccount> = way.accounts.iter().map(account).collect();
    accounts.sort_by_key(|one| one.tier);
    if compiled.channel.recipient == RecipientKind::Account {
        accounts.extend(robots(app, compiled));
    }
    EffectiveLeg {
        template: compiled.name.clone(),
        version: compiled.version.version,
        channel: compiled.version.spec.channel.clone(),
        route: way.route.as_ref().map(ToString::to_string),
        held: app.layers(compiled, None).held(),
        accounts,
    }
}

/// The accounts of a channel whose recipient is its account that say something about delivering themselves.
fn robots(app: &App, compiled: &Compiled) -> Vec<EffectiveAccount> {
    let names: Vec<String> = app.ledger.control(|control| {
        let of_channel = |provider: &str| serves(control, &app.registry, provider, compiled.channel.name);
        let says = control.accounts.iter().filter(|(_, one)| one.wishes != Wishes::default());
        says.filter(|(_, one)| of_channel(&one.provider)).map(|(name, _)| name.clone()).collect()
    });
    // One delivery has one robot and one end: nothing of these is the account's.
    let counts = |key: &str| !matches!(key, "attempts_per_account" | "expires_after_ms");
    let shown = |account: String| {
        let held = app.layers(compiled, Some(&account)).held();
        let held = held.into_iter().filter(|held| counts(held.key)).collect();
        EffectiveAccount { account, weight: 1, tier: 0, held }
    };
    names.into_iter().map(shown).collect()
}
