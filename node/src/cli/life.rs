//! The life of one delivery, drawn: what it is, then everything that happened to it, an event a line.

use serde_json::Value;

use super::output::{Out, clean, flat};
use super::times::{absolute, between, span};

/// Draws a delivery as `GET /v1/deliveries/{id}` answers it. All times are UTC; the second column counts from the first event.
pub(super) fn draw(out: &Out, delivery: &Value) -> String {
    let mut lines = vec![heading(out, delivery)];
    lines.extend(facts(delivery).map(|(name, value)| format!("  {}  {value}", out.dim(&format!("{name:<11}")))));
    lines.push(String::new());
    lines.extend(events(out, delivery));
    lines.join("\n")
}

fn heading(out: &Out, delivery: &Value) -> String {
    let state = text(delivery, "/state");
    let took = between(&text(delivery, "/accepted_at"), &text(delivery, "/ended_at"));
    let after = took.map(|ms| format!(" after {}", span(ms))).unwrap_or_default();
    format!("{}  {}{after}", out.bold(&text(delivery, "/id")), out.state(&state))
}

fn facts(delivery: &Value) -> impl Iterator<Item = (&'static str, String)> {
    let get = |pointer| text(delivery, pointer);
    let template = format!("{} v{} ({}, {})", get("/template"), get("/version"), get("/channel"), get("/message_type"));
    let reason = [get("/reason/code"), get("/reason/words")].into_iter().filter(|part| !part.is_empty());
    [
        ("to", get("/to")),
        ("template", template),
        ("message", get("/message_id")),
        ("account", get("/account")),
        ("biz id", get("/biz_id")),
        ("provider id", get("/provider_id")),
        ("reason", reason.collect::<Vec<_>>().join(": ")),
        ("due", absolute(&get("/due"))),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
}

fn events(out: &Out, delivery: &Value) -> Vec<String> {
    let events = delivery["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = events.first().map(|event| text(event, "/at")).unwrap_or_default();
    let offset = |event| between(&first, &text(event, "/at")).map(|ms| format!("+{}", span(ms))).unwrap_or_default();
    let width = events.iter().map(|event| offset(event).len()).max().unwrap_or_default();
    let line = |event| {
        let at = out.dim(&absolute(&text(event, "/at")));
        format!("  {at}  {:>width$}  {}", offset(event), words(out, event))
    };
    events.iter().map(line).collect()
}

/// What one event says.
fn words(out: &Out, event: &Value) -> String {
    let get = |pointer| text(event, pointer);
    match get("/what").as_str() {
        "accepted" => "accepted: kept on the disks of a majority".to_owned(),
        "scheduled" => format!("waits for its time, {}", absolute(&get("/due"))),
        "suppressed" => format!("{} by the rule {}: {}", out.state("suppressed"), get("/rule"), get("/detail")),
        "deferred" => {
            format!("waits until {} by the rule {}: {}", absolute(&get("/due")), get("/rule"), get("/detail"))
        }
        "waited" => {
            format!(
                "attempt {} waits by the rule {}: {} {}",
                get("/attempt"),
                get("/rule"),
                get("/detail"),
                absolute(&get("/due"))
            )
        }
        "leg_barred" => {
            format!(
                "{} to {} is left out by the rule {}: {}",
                get("/channel"),
                get("/to"),
                get("/rule"),
                get("/detail")
            )
        }
        "begun" => format!("attempt {} claimed, with account {}", get("/attempt"), get("/account")),
        "attempted" => attempted(out, event),
        "retry" => match between(&get("/at"), &get("/due")) {
            Some(wait) => format!("tries again in {}, at {}", span(wait), absolute(&get("/due"))),
            None => format!("tries again at {}", absolute(&get("/due"))),
        },
        "cancel_requested" => format!("cancel asked for by {}", get("/by")),
        "redrive_of" => format!("made by redriving {}, asked by {}", get("/delivery"), get("/by")),
        "redriven_as" => format!("redriven as {}", get("/delivery")),
        "ended" => {
            let reason = event.get("reason").map(why).filter(|why| !why.is_empty());
            format!("{}{}", out.state(&get("/state")), reason.map(|why| format!(": {why}")).unwrap_or_default())
        }
        "masked" => format!("words masked in {} places by the rule {}", get("/count"), get("/rule")),
        "marked" => marked(out, event),
        "recall_requested" => format!("recall asked for by {}", get("/by")),
        "recall_attempted" => match get("/outcome/class").as_str() {
            "delivered" => format!("recall {} with {}: taken back", get("/attempt"), get("/account")),
            class => {
                format!("recall {} with {}: {class}: {}", get("/attempt"), get("/account"), why(&event["outcome"]))
            }
        },
        "callback_for" => format!("tells that {} was {}", get("/delivery"), get("/happening")),
        "address_suppressed" => {
            let problem = Some(get("/detail")).filter(|problem| !problem.is_empty());
            let problem = problem.map(|problem| format!("; it is not: {problem}")).unwrap_or_default();
            format!("{} is nobody's address: on the suppression list of {}{problem}", get("/to"), get("/channel"))
        }
        "owner_changed" => format!(
            "was due when its owner changed at {}; an attempt before that may have been made without a record",
            absolute(&get("/since"))
        ),
        "withdrawn" => {
            format!(
                "attempt {} was not made: its node was not allowed to any more when it was to begin",
                get("/attempt")
            )
        }
        "rendering_died" => format!("the process that filled its content died: {}", get("/detail")),
        "omitted" => format!("({} events left out here)", get("/count")),
        // A newer node may know events that this program does not: they are shown with all their fields.
        other => format!("{other} {}", rest(event)),
    }
}

/// What a receipt said.
fn marked(out: &Out, event: &Value) -> String {
    let told = text(event, "/told_at");
    let told = if told.is_empty() { told } else { format!(", at {} by its clock", absolute(&told)) };
    let words = event.get("reason").map(why).filter(|why| !why.is_empty()).map(|why| format!(": {why}"));
    let mark = out.bold(&text(event, "/mark"));
    format!("the supplier reports: {mark}{told}{}{}", words.unwrap_or_default(), charged(event))
}

fn attempted(out: &Out, event: &Value) -> String {
    let get = |pointer| text(event, pointer);
    // The attempt's start is of the sending node's clock, its record of the leader's; usually they are one.
    let took = between(&get("/began"), &get("/at")).map(|ms| format!(", {}", span(ms))).unwrap_or_default();
    let class = get("/outcome/class");
    let outcome = match class.as_str() {
        "delivered" => match get("/outcome/provider_id") {
            id if id.is_empty() => "the provider took it".to_owned(),
            id => format!("the provider took it as {id}"),
        },
        "later" => format!("not now: {}", why(&event["outcome"])),
        "never" => format!("refused for good: {}", why(&event["outcome"])),
        "unknown" => format!("nobody can tell: {}", why(&event["outcome"])),
        other => format!("{other} {}", why(&event["outcome"])),
    };
    let wait = event.pointer("/outcome/after_ms").and_then(Value::as_u64);
    let wait = wait.map(|ms| format!(" (not before {} have passed)", span(ms))).unwrap_or_default();
    format!(
        "attempt {} by node {} with {}{took}: {}{wait}{}",
        get("/attempt"),
        get("/node"),
        get("/account"),
        out.bold(&outcome),
        charged(event)
    )
}

/// What the supplier charged, if it said so.
fn charged(event: &Value) -> String {
    let (segments, price) = (text(event, "/charge/segments"), text(event, "/charge/price"));
    let counted = (!segments.is_empty()).then(|| format!("counted as {segments}"));
    let price = (!price.is_empty()).then(|| format!("{price} {}", text(event, "/charge/currency")));
    let said: Vec<_> = counted.into_iter().chain(price).collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ").trim_end()) }
}

/// `code: words` of a reason or an outcome.
fn why(value: &Value) -> String {
    let parts = [text(value, "/code"), text(value, "/words")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

fn rest(event: &Value) -> String {
    let fields = event.as_object().into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "at" | "what"));
    fields.map(|(name, value)| format!("{}={}", clean(name), flat(value))).collect::<Vec<_>>().join(" ")
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).map(flat).unwrap_or_default()
}
