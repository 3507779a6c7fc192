//! Why a command ended badly: what is printed about it, and the exit code.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::output::{Out, clean};

/// Why a command ended badly.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API refused; its answer tells why.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body as it came.
        body: Vec<u8>,
    },
    /// It was done, or tried, and did not come out as asked.
    Failed(String),
    /// What was typed, or a file it names, is wrong.
    Usage(String),
    /// No answer from the node.
    Unreachable(String),
    /// Whoever read the output has gone, as `head` does. Nothing is wrong.
    Closed,
}

impl Failure {
    /// Prints what is wrong to stderr and gives the exit code.
    pub(super) fn report(&self, out: &Out) -> ExitCode {
        let (code, text) = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::Refused { body, .. } if out.json => (1, String::from_utf8_lossy(body).trim_end().to_owned()),
            Self::Refused { status, body } => (1, out.error("error: ") + &refusal(*status, body)),
            Self::Failed(words) => (1, out.error("error: ") + words),
            Self::Usage(words) => (2, out.error("error: ") + words),
            Self::Unreachable(words) => (3, out.error("error: ") + words),
        };
        // When stderr is gone too there is nobody left to tell.
        drop(writeln!(std::io::stderr(), "{text}"));
        ExitCode::from(code)
    }
}

/// A problem (RFC 9457) for people: title, code, detail, every field and recipient, what to do.
fn refusal(status: u16, body: &[u8]) -> String {
    let Ok(problem) = serde_json::from_slice::<Value>(body) else {
        let words: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return format!("the answer is {status}, and is not one of Tidings: {}", clean(&words));
    };
    let text = |name: &str| clean(problem[name].as_str().unwrap_or_default());
    let code = text("code");
    let mut lines = vec![format!("{} ({code}, {status})", text("title"))];
    lines.extend(Some(format!("  {}", text("detail"))).filter(|line| !line.trim().is_empty()));
    let entries = |name: &str| problem[name].as_array().cloned().unwrap_or_default();
    let field = |entry: &Value, name: &str| clean(entry[name].as_str().unwrap_or_default());
    // The detail repeats the first of them, which then need not be told twice.
    let errors = entries("errors").into_iter().map(|e| format!("{} {}", field(&e, "field"), field(&e, "detail")));
    lines.extend(errors.filter(|error| *error != text("detail")).map(|error| format!("  {error}")));
    lines.extend(
        entries("rejected")
            .iter()
            .map(|r| format!("  to[{}] {}: {} ({})", r["index"], field(r, "to"), field(r, "detail"), field(r, "code"))),
    );
    if let Some(wait) = problem["retry_after_ms"].as_u64() {
        lines.push(format!("  Try again in {} s.", wait.div_ceil(1_000)));
    }
    lines.extend(advice(&code).map(|advice| format!("What to do: {advice}")));
    lines.join("\n")
}

/// What to do about a code, at a command line.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "unauthorized" => "give a key with --key or TIDINGS_KEY; `tidings dev` keeps its own in ./data/admin.key.",
        "forbidden" => "use a key of the role that is named; an admin makes one with `tidings key create`.",
        "unknown_template" => "see `tidings template list`, or write it with `tidings template put -f FILE`.",
        "unknown_account" => "see `tidings account list`, or write it with `tidings account put -f FILE`.",
        "not_found" => "check the id; `tidings trace --recipient ADDRESS` finds deliveries, ended ones for 30 days.",
        "invalid_request" | "unknown_field" | "bad_json" => "mend what is named and run the command again.",
        "secrets_needed" => "write the secrets that are named in clear: what decides where they go was changed.",
        "no_valid_recipient" | "no_recipients" => "mend the recipients; nothing was kept.",
        "template_syntax" => "mend the field at the line and column named.",
        "too_many_recipients" | "body_too_large" => "send several messages.",
        "idempotency_mismatch" => "use a new --idempotency-key for a new message.",
        "not_founded" => "found the cluster once with `tidings cluster init --config FILE`.",
        "too_many_sign_ins" => "give a valid key, or wait as long as it says.",
        "cut_off" => "ask another node with --url; `tidings health` says how this one stands.",
        "node_removed" => "ask another node with --url, and stop this one.",
        "node_unreachable" => {
            "start the node that is to join, and check --peer-addr and the network between the nodes."
        }
        "node_mismatch" => "check its number, its secret and its data directory, and which cluster --url names.",
        "no_leader" | "full" | "stopping" => "nothing was kept: run the command again, or ask another node with --url.",
        "timeout" => "it may have been kept: repeat it with the same --idempotency-key.",
        "conflict" => "the detail says what stands in the way.",
        "internal" => "see the node's log at this time.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_title_code_detail_and_what_to_do() {
        let body = br#"{"type":"/docs/problems#invalid_request","title":"A field is missing or wrong","status":422,
            "code":"invalid_request","detail":"to[1] is empty","errors":[{"field":"to[1]","detail":"is empty"},
            {"field":"send_at","detail":"is past"}],
            "retry_after_ms":1500}"#;
        assert_eq!(
            refusal(422, body),
            "A field is missing or wrong (invalid_request, 422)\n  to[1] is empty\n  send_at is past\n  \
             Try again in 2 s.\nWhat to do: mend what is named and run the command again."
        );
    }

    #[test]
    fn an_answer_of_somebody_else_is_told_as_such() {
        assert!(refusal(502, b"<html>\x1b[31mBad gateway").starts_with("the answer is 502, and is not one of Tidings"));
        assert!(!refusal(502, b"<html>\x1b[31mBad gateway").contains('\x1b'));
    }
}
