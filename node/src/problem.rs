//! Problems: what the API answers when it cannot do what was asked (RFC 9457), each with a stable code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidings_contract::FieldError;
use utoipa::ToSchema;

/// Declares the codes once: name, status, title, what it means, what to do. The README's table is tested against it.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $title:literal, $todo:literal;)*) => {
        /// The code of a problem. Stable: callers may branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The text of the code.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// What it means, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What the caller should do.
            pub const fn what_to_do(self) -> &'static str {
                match self { $(Self::$variant => $todo,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    BadJson = "bad_json", 400, "The body is not valid JSON", "Mend the body at the line and column named in detail.";
    /// The body has a field that does not exist.
    UnknownField = "unknown_field", 400, "The body has a field that does not exist", "Remove or rename the field; detail names the ones there are.";
    /// A field is wrong.
    InvalidRequest = "invalid_request", 422, "A field is missing or wrong", "Mend the fields listed in errors.";
    /// Stored secrets would go to a new place.
    SecretsNeeded = "secrets_needed", 422, "Stored secrets would go to a new place", "Give the secrets listed in errors again, in clear instead of ***.";
    /// No recipient at all.
    NoRecipients = "no_recipients", 422, "There are no recipients", "Give at least one recipient.";
    /// More recipients than a message may have.
    TooManyRecipients = "too_many_recipients", 422, "There are too many recipients", "Send several messages.";
    /// Every recipient was rejected.
    NoValidRecipient = "no_valid_recipient", 422, "Every recipient was rejected; nothing was kept", "Mend the recipients as listed in rejected.";
    /// A template does not compile.
    TemplateSyntax = "template_syntax", 422, "The template has a syntax error", "Mend the field listed in errors at its line and column.";
    /// The key was used with another body.
    IdempotencyMismatch = "idempotency_mismatch", 422, "The Idempotency-Key was used with another body", "Use a new key for a new message, or repeat the very same body.";
    /// The body is too large.
    BodyTooLarge = "body_too_large", 413, "The body is too large", "Send less at once.";
    /// It can never be kept.
    TooLarge = "too_large", 413, "It is larger than what can be kept at once; it never fits", "Send less at once: shorter texts and variables, or fewer recipients.";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body is not declared as JSON", "Send Content-Type: application/json.";
    /// The body did not arrive.
    SlowBody = "slow_body", 408, "The body did not arrive in time; nothing was kept", "Send it again, faster.";
    /// No key, or a wrong one.
    Unauthorized = "unauthorized", 401, "The API key is missing, unknown or revoked", "Send Authorization: Bearer <key> with a valid key.";
    /// Too many wrong keys.
    TooManySignIns = "too_many_sign_ins", 429, "Too many sign-ins from this address have failed", "Give a valid key, which is never slowed; try the cluster's secret again after Retry-After.";
    /// The key may not do this.
    Forbidden = "forbidden", 403, "The API key may not do this", "Use a key with the role named in detail.";
    /// A supplier's callback that is not the supplier's.
    CallbackRefused = "callback_refused", 401, "The callback is not the supplier's, or cannot be read", "Check the secrets of the account's callbacks; detail names what does not fit.";
    /// No such thing.
    NotFound = "not_found", 404, "There is no such thing", "Check the path and the id.";
    /// No such template.
    UnknownTemplate = "unknown_template", 404, "There is no such template", "Write the template first, or check its name.";
    /// No such account.
    UnknownAccount = "unknown_account", 404, "There is no such account", "Write the account first, or check its name. In a body the status is 422.";
    /// The method does not fit the path.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not take this method", "See the Allow header and /openapi.json.";
    /// The state of things forbids it.
    Conflict = "conflict", 409, "The present state forbids it", "Detail says what stands in the way.";
    /// The node that is to join does not answer.
    NodeUnreachable = "node_unreachable", 409, "The node cannot be reached; nothing was changed", "Start it, and check peer_addr and the network between the nodes.";
    /// The node that is to join is another one, or a stranger.
    NodeMismatch = "node_mismatch", 409, "What answers at peer_addr is not that node; nothing was changed", "Check its number, its cluster's secret and its data directory; detail says what does not fit.";
    /// It would stop everything.
    NeedsConfirmation = "needs_confirmation", 409, "The policy would stop everything", "Look again; if it is meant, repeat it with ?confirm=true.";
    /// The account's supplier has no such thing.
    Unsupported = "unsupported", 409, "The account's supplier has no such thing", "Use an account of a provider that has it; see `tidings providers`.";
    /// The supplier said no.
    SupplierRefused = "supplier_refused", 502, "The account's supplier refused", "Detail has its code and words; mend the account, or ask again later.";
    /// The supplier said nothing.
    SupplierTimeout = "supplier_timeout", 504, "The account's supplier did not answer in time", "Ask again later.";
    /// Too much is waiting.
    Full = "full", 429, "Too much is waiting already; nothing was kept", "Send it again after Retry-After.";
    /// The key has too much waiting.
    KeyFull = "key_full", 429, "Too much of this API key is waiting already; nothing was kept", "Send it again after Retry-After.";
    /// The disk is nearly full.
    DiskFull = "disk_full", 503, "The disk of this node is nearly full; nothing was kept", "Send it to another node, or again after Retry-After.";
    /// The memory is nearly full.
    MemoryFull = "memory_full", 503, "The memory of this node is nearly full; nothing was kept", "Send it to another node, or again after Retry-After.";
    /// Too many connections or bodies.
    Busy = "busy", 503, "This node has as many connections, bodies or large answers as it may; nothing was kept", "Send it to another node, or again after Retry-After.";
    /// Nobody leads.
    NoLeader = "no_leader", 503, "No majority of replicas can be reached; nothing was kept", "Send it again after Retry-After.";
    /// Control has not been heard of for too long.
    CutOff = "cut_off", 503, "This node is cut off from the cluster's control; nothing was kept", "Send it to another node, or again after Retry-After.";
    /// The node is no member any more.
    NodeRemoved = "node_removed", 503, "This node was removed from the cluster; nothing was kept", "Send it to another node, and stop this one.";
    /// The cluster was not founded.
    NotFounded = "not_founded", 503, "The cluster was not founded yet", "Run `tidings cluster init` once, or join this node to a cluster.";
    /// Nobody can tell.
    Timeout = "timeout", 503, "The answer did not come in time; it may have been kept", "Repeat it with the same Idempotency-Key.";
    /// The node is ending.
    Stopping = "stopping", 503, "The node is stopping; nothing was kept", "Send it to another node.";
    /// Our fault.
    Internal = "internal", 500, "Something went wrong inside", "Report it with the time; the node's log has the details.";
}

/// One recipient that was not taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Rejected {
    /// The index in the request.
    pub index: u16,
    /// The recipient as given; what is longer than 2,100 characters is cut.
    pub to: String,
    /// `invalid_recipient`, `missing_variable`, `unknown_account`, `duplicate_recipient`,
    /// `unknown_time_zone`, `unknown_material`, `no_leader`, `full`, `key_full`, `disk_full`, `too_large`, `unknown`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
    /// Whether the same recipient may be taken when it is sent again.
    pub retryable: bool,
}

/// Most of a name or of what is said of a recipient, of a recipient, and of the detail of a problem that is repeated, in characters.
const SHOWN: usize = 256;
const SHOWN_TO: usize = 2_100;
const SHOWN_DETAIL: usize = 1_000;
/// Most errors of one problem that are told.
const SHOWN_ERRORS: usize = 100;

/// At most so many characters of a text; what is cut ends with an ellipsis. Whoever asks must not decide how long our answers
/// are.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A field's error as it is told.
fn shown(mut error: FieldError) -> FieldError {
    (error.field, error.detail) = (cut(&error.field, SHOWN), cut(&error.detail, SHOWN_DETAIL));
    error
}

impl Rejected {
    /// A recipient who cannot be taken, and never will be as things are.
    pub(crate) fn new(index: u16, to: &str, code: &'static str, detail: &str) -> Self {
        Self { index, to: cut(to, SHOWN_TO), code, detail: cut(detail, SHOWN), retryable: false }
    }

    /// The same, where trying again may help.
    #[must_use]
    pub(crate) fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

/// A problem, ready to be answered.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    status: u16,
    detail: String,
    errors: Vec<FieldError>,
    rejected: Vec<Rejected>,
    retry_after_ms: Option<u64>,
}

/// The JSON of a problem.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    /// Where the code is explained.
    r#type: String,
    /// What it means, in a few words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: &'static str,
    /// What exactly is wrong here.
    detail: &'a str,
    /// What is wrong field by field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<crate::api::shapes::FieldProblem>)]
    errors: &'a [FieldError],
    /// What is wrong recipient by recipient.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rejected: &'a [Rejected],
    /// When to try again, in milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    /// A problem of that code; `detail` says what exactly is wrong.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_ms = match code {
            Code::Full | Code::KeyFull | Code::DiskFull | Code::MemoryFull => Some(1_000),
            Code::Busy | Code::NoLeader | Code::CutOff | Code::NotFounded | Code::Timeout | Code::Stopping => {
                Some(1_000)
            }
            _ => None,
        };
        Self(Box::new(Inner {
            code,
            status: code.status(),
            detail: cut(&detail.into(), SHOWN_DETAIL),
            errors: Vec::new(),
            rejected: Vec::new(),
            retry_after_ms,
        }))
    }

    /// Fields that are wrong.
    pub(crate) fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map(|e| format!("{} {}", e.field, e.detail)).unwrap_or_default();
        let mut problem = Self::new(code, detail);
        problem.0.errors = errors.into_iter().take(SHOWN_ERRORS).map(shown).collect();
        problem
    }

    /// One field that is wrong.
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(Code::InvalidRequest, vec![FieldError::new(field, detail)])
    }

    /// The same with the recipients that were rejected.
    #[must_use]
    pub(crate) fn with_rejected(mut self, rejected: Vec<Rejected>) -> Self {
        self.0.rejected = rejected;
        self
    }

    /// The same with the advice to come back in so many milliseconds.
    #[must_use]
    pub(crate) fn come_back_in(mut self, ms: u64) -> Self {
        self.0.retry_after_ms = Some(ms);
        self
    }

    /// The same as an answer to a wrong body instead of a wrong path.
    #[must_use]
    pub(crate) fn in_body(mut self) -> Self {
        self.0.status = 422;
        self
    }

    /// The code.
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    /// What exactly is wrong.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The JSON of it.
    pub(crate) fn body(&self) -> Body<'_> {
        let inner = &*self.0;
        Body {
            r#type: format!("/docs/problems#{}", inner.code.name()),
            title: inner.code.title(),
            status: inner.status,
            code: inner.code.name(),
            detail: &inner.detail,
            errors: &inner.errors,
            rejected: &inner.rejected,
            retry_after_ms: inner.retry_after_ms,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(ms) = self.0.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if self.0.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_stands_in_the_readme_with_its_status_and_advice() {
        let readme = include_str!("../README.md");
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            let row = format!("| `{}` | {} | {} | {} |", code.name(), code.status(), code.title(), code.what_to_do());
            assert!(readme.contains(&row), "README.md has no row like this:\n{row}");
        }
        let rows = readme
            .lines()
            .filter(|line| line.starts_with("| `") && line.contains("` | ") && line.matches('|').count() == 5);
        let listed: BTreeSet<_> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(listed, names, "README.md lists codes that do not exist");
    }

    #[test]
    fn nobody_decides_how_long_our_answers_are() {
        let long = "é".repeat(10_000);
        let errors = (0..1_000).map(|_| FieldError::new(long.clone(), long.clone())).collect();
        let rejected = (0..10).map(|n| Rejected::new(n, &long, "invalid_recipient", &long)).collect();
        let problem = Problem::fields(Code::InvalidRequest, errors).with_rejected(rejected);
        let body = serde_json::to_vec(&problem.body()).expect("a problem is serializable");
        assert!(body.len() < 350_000, "{}", body.len());
        assert_eq!(cut("été", 3), "été");
        assert_eq!(cut("étés", 3), "été…");
    }

    #[test]
    fn what_never_fits_is_not_told_to_come_back() {
        let response = Problem::new(Code::TooLarge, "it holds at most 224 KiB").into_response();
        assert_eq!(
            (response.status(), response.headers().get(header::RETRY_AFTER)),
            (StatusCode::PAYLOAD_TOO_LARGE, None)
        );
    }

    #[test]
    fn a_problem_that_passes_says_when_to_come_back() {
        let response = Problem::new(Code::Full, "the queue is full").into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
