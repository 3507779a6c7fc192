//! Shapes that several areas of the API share, for reading and for the OpenAPI document.

use serde::{Deserialize, Serialize};
use tidings_contract::{Charge, Outcome, Reason, Time};
use tidings_machine::partition::{Event, State, What};
use utoipa::ToSchema;

/// One field that is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the JSON of the contract's FieldError")]
pub(crate) struct FieldProblem {
    /// Where: `settings.port`, `content.text`, `to[3]`.
    field: String,
    /// What is wrong and what would be right.
    detail: String,
}

/// Why, in a stable short code and in the provider's own words.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the JSON of the contract's Reason")]
pub(crate) struct Why {
    /// Stable and groupable.
    code: String,
    /// What the provider said.
    words: String,
}

/// How an attempt came back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeShape {
    /// `delivered`, `later`, `never`, `unknown`.
    class: &'static str,
    /// The reason's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// The provider's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<String>,
    /// The provider's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    /// Not before so many milliseconds later, if the provider said.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
}

impl From<Outcome> for OutcomeShape {
    fn from(outcome: Outcome) -> Self {
        let class = outcome.class();
        let reason = outcome.reason().cloned();
        let (provider_id, after_ms) = match outcome {
            Outcome::Delivered { provider_id } => (provider_id, None),
            Outcome::Later { after_ms, .. } => (None, after_ms),
            _ => (None, None),
        };
        let (code, words) = reason.map(|r| (r.code, r.words)).unzip();
        Self { class, code, words, provider_id, after_ms }
    }
}

/// What a supplier counted and charged, as far as it says so.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChargeShape {
    /// How many messages it counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<u32>,
    /// The price, a decimal number.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    /// The currency of the price (ISO 4217).
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

impl From<Charge> for ChargeShape {
    fn from(charge: Charge) -> Self {
        Self { segments: charge.segments, price: charge.price(), currency: charge.currency }
    }
}

/// One thing that happened to a delivery. Which fields are there depends on `what`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct EventShape {
    /// When.
    #[schema(value_type = String)]
    at: Time,
    /// `accepted`, `scheduled`, `suppressed`, `begun`, `attempted`, `retry`, `cancel_requested`, `redrive_of`,
    /// `redriven_as`, `ended`, `omitted`, `deferred`, `masked`, `chosen`, `switched`, `fell_back`, `marked`,
    /// `recall_requested`, `recall_attempted`, `callback_for`, `waited`, `leg_barred`, `address_suppressed`,
    /// `owner_changed`, `withdrawn`, `rendering_died`.
    what: &'static str,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u16>,
    /// With which account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// By which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    /// When the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    began: Option<Time>,
    /// What the attempt came back with.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<OutcomeShape>,
    /// The next attempt is not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    due: Option<Time>,
    /// When the present owner took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    since: Option<Time>,
    /// The rule that decided against sending, or to wait, or that masked words.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// What the rule saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The API key that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The other delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    /// The final state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    state: Option<State>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Why>)]
    reason: Option<Reason>,
    /// The route, as `name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// Why this account was chosen, or why another one or another channel is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The template of the next leg, as `name@version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// The channel of the next leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The address on the next leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// How many events were left out, or in how many places words were masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// What a receipt reported: `received`, `bounced`, `read`, `clicked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'static str>,
    /// When it happened, by the supplier's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    told_at: Option<Time>,
    /// What a callback tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    happening: Option<&'static str>,
    /// What the supplier charged, in its own figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<ChargeShape>,
}

impl From<Event> for EventShape {
    fn from(Event { at, what }: Event) -> Self {
        let named = |what| Self { at, what, ..Self::default() };
        match what {
            What::Accepted => named("accepted"),
            What::Scheduled { due } => Self { due: Some(due), ..named("scheduled") },
            What::Suppressed { rule, detail } => Self { rule: Some(rule), detail: Some(detail), ..named("suppressed") },
            What::Begun { attempt, account } => {
                Self { attempt: Some(attempt), account: Some(account), ..named("begun") }
            }
            What::Attempted { attempt, account, node, began, outcome, charge } => Self {
                attempt: Some(attempt),
                account: Some(account),
                node: Some(node),
                began: Some(began),
                outcome: Some(outcome.into()),
                charge: charge.map(|charge| ChargeShape::from(*charge)),
                ..named("attempted")
            },
            What::Retry { due } => Self { due: Some(due), ..named("retry") },
            What::CancelRequested { by } => Self { by: Some(by), ..named("cancel_requested") },
            What::RedriveOf { delivery, by } => {
                Self { delivery: Some(delivery.to_string()), by: Some(by), ..named("redrive_of") }
            }
            What::RedrivenAs { delivery } => Self { delivery: Some(delivery.to_string()), ..named("redriven_as") },
            What::Ended { state, reason } => Self { state: Some(state), reason, ..named("ended") },
            What::Deferred { rule, until, detail } => {
                Self { rule: Some(rule), due: Some(until), detail: Some(detail), ..named("deferred") }
            }
            What::Omitted { count } => Self { count: Some(count), ..named("omitted") },
            What::Masked { attempt, rule, places } => {
                Self { attempt: Some(attempt), rule: Some(rule), count: Some(places), ..named("masked") }
            }
            What::Chosen { attempt, account, route, why } => Self {
                attempt: Some(attempt),
                account: Some(account),
                route: route.map(|route| route.to_string()),
                why: Some(why),
                ..named("chosen")
            },
            What::Switched { from, why } => Self { account: Some(from), why: Some(why), ..named("switched") },
            What::FellBack { template, version, channel, to, why } => Self {
                template: Some(format!("{template}@{version}")),
                channel: Some(channel),
                to: Some(to),
                why: Some(why),
                ..named("fell_back")
            },
            What::Marked { mark, reason, told_at, charge } => Self {
                mark: Some(mark.name()),
                reason,
                told_at,
                charge: charge.map(|charge| ChargeShape::from(*charge)),
                ..named("marked")
            },
            What::AddressSuppressed { channel, address, problem } => {
                Self { channel: Some(channel), to: Some(address), detail: problem, ..named("address_suppressed") }
            }
            What::RecallRequested { by } => Self { by: Some(by), ..named("recall_requested") },
            What::RecallAttempted { attempt, account, node, outcome } => Self {
                attempt: Some(attempt),
                account: Some(account),
                node: Some(node),
                outcome: Some(outcome.into()),
                ..named("recall_attempted")
            },
            What::CallbackFor { delivery, happening } => Self {
                delivery: Some(delivery.to_string()),
                happening: Some(happening.name()),
                ..named("callback_for")
            },
            other => Self::of_leg(at, other),
        }
    }
}

impl EventShape {
    /// What a rule makes of an attempt or a leg.
    fn of_leg(at: Time, what: What) -> Self {
        let named = |what| Self { at, what, ..Self::default() };
        match what {
            What::Waited { attempt, waited } => Self {
                attempt: Some(attempt),
                detail: Some(match waited.of_endpoint() {
                    true => format!("calls of {} failed: its breaker is open", waited.subject),
                    false => format!("{} has no room before", waited.subject),
                }),
                rule: Some(waited.rule),
                due: Some(waited.until),
                ..named("waited")
            },
            What::Withdrawn { attempt } => Self { attempt: Some(attempt), ..named("withdrawn") },
            What::RenderingDied { how, .. } => Self { detail: Some(how), ..named("rendering_died") },
            What::OwnerChanged { since } => Self { since: Some(since), ..named("owner_changed") },
            What::LegBarred(barred) => Self {
                channel: Some(barred.channel),
                to: Some(barred.to),
                rule: Some(barred.rule),
                detail: Some(barred.detail),
                ..named("leg_barred")
            },
            _ => named("other"),
        }
    }
}

/// `limit` and `cursor` of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// Most entries, 1–500; 50 by default.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// The limit of a list: 1–500, 50 by default.
pub(crate) fn limit(given: Option<usize>) -> Result<usize, crate::problem::Problem> {
    match given.unwrap_or(50) {
        limit @ 1..=500 => Ok(limit),
        _ => Err(crate::problem::Problem::field("limit", "must be between 1 and 500")),
    }
}
