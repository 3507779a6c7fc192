//! The HTTP API: one file per area, put together here.

mod accounts;
mod asked;
mod audit;
mod backup;
mod callbacks;
mod cancel;
mod cluster;
mod dead_letters;
mod declaring;
mod deliveries;
mod effective;
mod keys;
mod materials;
mod messages;
mod nodes;
mod pages;
mod paths;
mod policies;
mod preview;
mod process;
mod providers;
mod recall;
mod receipts;
mod redrive;
mod repairing;
mod sandbox;
pub(crate) mod shapes;
mod stats;
mod suppressions;
mod sure;
mod templates;
mod unchanged;
mod vendor_templates;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tidings_machine::control::Refusal;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::Shared;
use crate::auth::not_founded;
use crate::problem::{Code, Problem};
use crate::turning_away::turn_away;
pub(crate) use accounts::serves;

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidings", description = "One HTTP API for every message a company sends."),
    security(("key" = [])),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

/// Every documented route.
fn documented() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(messages::post_message))
        .routes(routes!(messages::post_batch))
        .routes(routes!(messages::get_message))
        .routes(routes!(messages::cancel_message))
        .routes(routes!(recall::recall_message))
        .routes(routes!(recall::recall_delivery))
        .routes(routes!(recall::recall_template))
        .routes(routes!(receipts::post_receipts))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::cancel_delivery))
        .routes(routes!(dead_letters::list_groups))
        .routes(routes!(dead_letters::list_letters))
        .routes(routes!(dead_letters::post_redrive))
        .routes(routes!(templates::list_templates))
        .routes(routes!(templates::put_template, templates::get_template, templates::delete_template))
        .routes(routes!(templates::list_versions))
        .routes(routes!(preview::preview_template))
        .routes(routes!(effective::get_effective))
        .routes(routes!(paths::list_routes))
        .routes(routes!(paths::put_route, paths::get_route, paths::delete_route))
        .routes(routes!(materials::post_material, materials::list_materials))
        .routes(routes!(materials::get_material, materials::delete_material))
        .routes(routes!(materials::get_material_content))
        .routes(routes!(accounts::list_accounts))
        .routes(routes!(accounts::check_account))
        .routes(routes!(vendor_templates::list_vendor_templates))
        .routes(routes!(accounts::put_account, accounts::get_account, accounts::delete_account))
        .routes(routes!(policies::list_policies))
        .routes(routes!(policies::put_policy, policies::get_policy, policies::delete_policy))
        .routes(routes!(policies::list_policy_versions))
        .routes(routes!(policies::list_policy_kinds))
        .routes(routes!(keys::post_key, keys::list_keys))
        .routes(routes!(keys::recover_key))
        .routes(routes!(keys::delete_key))
        .routes(routes!(
            suppressions::post_suppression,
            suppressions::list_suppressions,
            suppressions::delete_suppression
        ))
        .routes(routes!(callbacks::put_callback, callbacks::get_callback, callbacks::delete_callback))
        .routes(routes!(audit::list_audit))
        .routes(routes!(providers::list_providers))
        .routes(routes!(declaring::put_provider, providers::get_provider, declaring::delete_provider))
        .routes(routes!(sandbox::list_sandbox))
        .routes(routes!(stats::get_stats))
        .routes(routes!(stats::get_template_stats))
        .routes(routes!(cluster::get_cluster))
        .routes(routes!(cluster::post_init))
        .routes(routes!(nodes::post_node))
        .routes(routes!(nodes::delete_node))
        .routes(routes!(nodes::replace_node))
        .routes(routes!(nodes::post_transfer))
        .routes(routes!(repairing::post_repair_time))
        .routes(routes!(backup::get_backup))
        .routes(routes!(process::healthz))
        .routes(routes!(process::readyz))
        .routes(routes!(process::metrics))
}

/// The whole of the API, ready to be served.
pub(crate) fn router(app: Shared) -> Router {
    let (router, document) = documented().split_for_parts();
    router
        .route("/", get(pages::front))
        // Names of providers hold a slash, which people do not escape.
        .route(
            "/v1/providers/{name}/{own}",
            get(providers::get_provider).put(declaring::put_provider).delete(declaring::delete_provider),
        )
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&app), sure::sure))
        .route("/docs/problems", get(pages::problems))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(|request: Request| async move {
            Problem::new(Code::NotFound, format!("there is nothing at {}", request.uri().path()))
        })
        .method_not_allowed_fallback(|request: Request| async move {
            Problem::new(Code::MethodNotAllowed, format!("{} cannot be used here", request.method()))
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), crate::doors::guard))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), turn_away))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn(crate::meters::count))
        .with_state(app)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(words, "a handler panicked");
    Problem::new(Code::Internal, "the request met an error of ours").into_response()
}

/// The problem of a change that control refused.
pub(crate) fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Founded(id) => Problem::new(Code::Conflict, format!("the cluster {id} was founded before")),
        Refusal::NotFounded => not_founded(),
        Refusal::NotFound => Problem::new(Code::NotFound, "there is no such thing"),
        Refusal::InUse(template) => Problem::new(Code::Conflict, format!("the template {template} uses it")),
        Refusal::LastAdmin => Problem::new(Code::Conflict, "the last admin key cannot be revoked"),
        Refusal::TooMany(most) => Problem::new(Code::Conflict, format!("there may be at most {most}")),
        Refusal::LastNode => Problem::new(Code::Conflict, "the last node of a cluster cannot be removed"),
        Refusal::Removed(node) => {
            let detail = format!("node {node} was removed; a node that comes back needs a number never used before");
            Problem::new(Code::Conflict, detail)
        }
        Refusal::UsedBy(user) => Problem::new(Code::Conflict, format!("{user} uses it")),
        Refusal::Stale => Problem::new(Code::Conflict, "the breaker has moved on meanwhile"),
        Refusal::Field(field, why) => Problem::field(field, why),
        Refusal::Invalid(why) => Problem::new(Code::InvalidRequest, why),
        other => Problem::new(Code::Internal, format!("control refused: {other:?}")),
    }
}
