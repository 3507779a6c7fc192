//! The templates that the supplier of an account has approved, for the pickers of consoles. Asked for when somebody asks.

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::Serialize;
use tidings_actors::TemplatesError;
use tidings_contract::VendorTemplate;
use utoipa::ToSchema;

use crate::app::Shared;
use crate::auth::Viewer;
use crate::problem::{Code, Problem};

/// A template of a supplier's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VendorTemplateShape {
    /// The supplier's id of it: what a content's `template_id` names.
    id: String,
    /// Its title.
    title: String,
    /// Its text, with placeholders in the supplier's form.
    content: String,
    /// What it may look like when it is filled; empty if the supplier does not say.
    example: String,
}

/// The templates of a supplier.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VendorTemplates {
    templates: Vec<VendorTemplateShape>,
}

/// Asks an account's supplier for the templates that it has approved. Any node does; at most 20 s.
#[utoipa::path(get, path = "/v1/accounts/{name}/templates", tag = "content", params(("name" = String, Path)),
    responses((status = 200, body = VendorTemplates), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn list_vendor_templates(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
) -> Result<Answer<VendorTemplates>, Problem> {
    let templates = app.motion.vendor_templates(&name).await.map_err(|error| problem(&name, &error))?;
    let shape = |VendorTemplate { id, title, content, example }| VendorTemplateShape { id, title, content, example };
    Ok(Answer(VendorTemplates { templates: templates.into_iter().map(shape).collect() }))
}

fn problem(name: &str, error: &TemplatesError) -> Problem {
    match error {
        TemplatesError::NoAccount => Problem::new(Code::UnknownAccount, format!("there is no account {name:?}")),
        TemplatesError::Unsupported(provider) => {
            Problem::new(Code::Unsupported, format!("{provider} lists no templates"))
        }
        TemplatesError::Refused(reason) => Problem::new(Code::SupplierRefused, reason.to_string()),
        other => Problem::new(Code::SupplierTimeout, other.to_string()),
    }
}
