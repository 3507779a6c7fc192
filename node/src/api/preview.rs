//! A template's preview: the very requests that would go out for a recipient, with secrets masked.

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_actors::Accounts;
use tidings_actors::render::{Length, Variables};
use tidings_channels::{Segments, ShownRequest, check_recipient, preview_account, segments_of};
use tidings_contract::{Call, DeliveryId, LengthUnit, MessageId, PartitionId, Reason, RecipientKind, Secret, Target};
use utoipa::ToSchema;

use super::messages::FindingShape;
use crate::app::{App, Shared};
use crate::auth::Viewer;
use crate::intake::{Compiled, look_through, words_of_preview};
use crate::problem::{Code, Problem};
use crate::providers::named;
use crate::strict::Json;

/// Somebody to preview for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewShape {
    /// The recipient; without one only the content is shown.
    to: Option<String>,
    /// The variables.
    #[serde(default)]
    #[schema(value_type = Object)]
    variables: Map<String, Value>,
}

/// What a recipient would get.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Previewed {
    /// The content with every placeholder filled, as it is given to the provider.
    #[schema(value_type = Object)]
    content: Value,
    /// What follows in further messages, where a text is sent in parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    further: Vec<Value>,
    /// How long the texts are, where the supplier names a limit.
    lengths: Vec<LengthShape>,
    /// Into how many text messages it is split, each of which is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    segments: Option<Segments>,
    /// The account it would be sent with.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// What the provider would send, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<Vec<RequestShape>>,
    /// What the dictionaries of sensitive words say about it; what they mask is masked above. A preview has no tags, so
    /// policies that select by tags are not asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<FindingShape>,
    /// Why it would not be sent: a word that is not sent, or what the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    refused: Option<Reason>,
}

/// How long a text is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LengthShape {
    field: String,
    length: usize,
    /// The most that the supplier takes.
    most: usize,
    /// `chars`, `bytes`, `utf16`.
    #[schema(value_type = String)]
    unit: LengthUnit,
}

/// A request of a provider's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestShape {
    /// `POST`, `GET` …; `SMTP` for a mail, `KEEP` for the sandbox.
    method: String,
    url: String,
    /// Names and values, in the order in which they are sent.
    #[schema(value_type = Vec<Vec<String>>)]
    headers: Vec<(String, String)>,
    /// As text; at most 256 KiB.
    body: String,
    /// How long the whole body is, in bytes.
    bytes: usize,
    /// A command that sends it, secrets masked.
    #[serde(skip_serializing_if = "String::is_empty")]
    curl: String,
}

impl From<Length> for LengthShape {
    fn from(Length { field, length, limit }: Length) -> Self {
        Self { field, length, most: limit.most, unit: limit.unit }
    }
}

impl From<ShownRequest> for RequestShape {
    fn from(ShownRequest { method, url, headers, body, bytes, curl }: ShownRequest) -> Self {
        Self { method, url, headers, body, bytes, curl }
    }
}

/// Shows what a recipient would get, without sending anything: the content, and what the provider would send.
#[utoipa::path(post, path = "/v1/templates/{name}/preview", tag = "content", params(("name" = String, Path)),
    request_body = PreviewShape,
    responses((status = 200, body = Previewed), (status = "default", body = crate::problem::Body)))]
pub(crate) async fn preview_template(
    State(app): State<Shared>,
    _: Viewer,
    Path(name): Path<String>,
    Json(asked): Json<PreviewShape>,
) -> Result<Answer<Previewed>, Problem> {
    let compiled = app.current_template(&name).await?;
    let to = asked.to.as_deref().map(|to| check_recipient(compiled.channel.recipient, to));
    let to = to.transpose().map_err(|detail| Problem::field("to", detail))?;
    let (filled, parameters) = compiled.fill(&Variables::new(&asked.variables), &Variables::default())?;
    let readers = app.readers(&words_of_preview(&app, &compiled)?).await?;
    let looked = look_through(&readers, filled);
    let no = looked.findings.last().filter(|_| looked.barred);
    let refused = no.map(|no| Reason::new("words", format!("{}: {}", no.title, no.detail)));
    let mut contents = compiled.finish(looked.content, &parameters)?.into_iter();
    let content = contents.next().unwrap_or_default();
    let lengths = compiled.lengths(&content).into_iter().map(LengthShape::from).collect();
    let is_sms = compiled.channel.name == "sms";
    let mut previewed = Previewed {
        segments: segments_of(&content, to.as_deref()).filter(|_| is_sms),
        content,
        further: contents.collect(),
        lengths,
        account: account(&compiled, to.as_deref()),
        requests: None,
        words: looked.findings.into_iter().map(FindingShape::from).collect(),
        refused,
    };
    if previewed.refused.is_some() {
        return Ok(Answer(previewed));
    }
    if let Some((to, account)) = to.zip(previewed.account.clone()) {
        show(&app, &compiled, &to, &account, &mut previewed).await?;
    }
    Ok(Answer(previewed))
}

/// The template's account, or the recipient itself where that is the account.
fn account(compiled: &Compiled, to: Option<&str>) -> Option<String> {
    let own = || to.filter(|_| compiled.channel.recipient == RecipientKind::Account);
    compiled.version.spec.account.as_deref().or_else(own).map(str::to_owned)
}

fn unopened(name: &str) -> Problem {
    Problem::new(Code::Conflict, format!("the account {name:?} cannot be opened"))
}

async fn show(app: &App, compiled: &Compiled, to: &str, name: &str, into: &mut Previewed) -> Result<(), Problem> {
    let account = app.ledger.control(|c| c.accounts.get(name).cloned());
    let account = account.ok_or_else(|| Problem::new(Code::UnknownAccount, format!("there is no account {name:?}")))?;
    let accounts = app.accounts();
    let closed = |reason: Reason| Problem::new(Code::Conflict, reason.to_string());
    let settings = accounts.settings(name, &account).map_err(closed)?;
    let provider = match named(&app.ledger, &app.registry, &account.provider) {
        Some(Ok(found)) => found.provider,
        // The reason why there is none is the one for which it cannot be opened.
        _ => return Err(accounts.open(name, &account).map_or_else(closed, |_| unopened(name))),
    };
    accounts.open(name, &account).map_err(closed)?;
    let at = app.now();
    let mut requests = Vec::new();
    for (part, content) in (0..).zip(std::iter::once(&into.content).chain(&into.further)) {
        let target = Target {
            delivery: DeliveryId::new(MessageId::first_at(at), 0, PartitionId(0)),
            attempt: 1,
            to: to.to_owned(),
            content: std::sync::Arc::new(content.clone()),
            part,
        };
        let call = Call {
            channel: compiled.channel.name.to_owned(),
            message_type: compiled.version.spec.message_type,
            at,
            targets: vec![target],
            // No token is fetched for a preview; the stars stand where it would.
            token: Some(Secret::new("***")),
            materials: None,
        };
        let shown = preview_account(provider.as_ref(), name, &settings, &call).await;
        requests.extend(shown.requests.into_iter().map(RequestShape::from));
        into.refused = into.refused.take().or(shown.refused);
    }
    into.requests = Some(requests);
    Ok(())
}
