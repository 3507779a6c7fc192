//! How a preview looks on a terminal: the content, how long it is, and what the provider would send.

use serde_json::Value;

use super::kept::pretty;
use super::output::{flat, rows};

/// The answer to a preview; with `curl` only the commands.
pub(super) fn shown(value: &Value, curl: bool) -> String {
    let requests = rows(value, "requests");
    let mut blocks = Vec::new();
    if curl {
        blocks.extend(requests.iter().filter_map(|request| request["curl"].as_str()).map(clean));
        if blocks.is_empty() {
            blocks.push(
                "Nothing would be sent by HTTP or SMTP; give --to, and see the preview without --curl.".to_owned(),
            );
        }
        return blocks.join("\n\n");
    }
    blocks.push(pretty(&value["content"]));
    blocks.extend(rows(value, "further").iter().map(pretty));
    for length in rows(value, "lengths") {
        let text = |name: &str| flat(&length[name]);
        blocks.push(format!("{}: {} of {} {}", text("field"), text("length"), text("most"), text("unit")));
    }
    if value["segments"].is_object() {
        let text = |name: &str| flat(&value["segments"][name]);
        blocks.push(format!("messages: {} ({} units of {})", text("segments"), text("units"), text("encoding")));
    }
    if value["refused"].is_object() {
        let reason = &value["refused"];
        blocks.push(format!("The provider would send nothing: {}: {}", flat(&reason["code"]), flat(&reason["words"])));
    }
    blocks.extend(requests.iter().map(request));
    blocks.join("\n\n")
}

fn request(request: &Value) -> String {
    let mut lines = vec![format!("{} {}", flat(&request["method"]), flat(&request["url"]))];
    for header in request["headers"].as_array().into_iter().flatten() {
        lines.push(format!("{}: {}", flat(&header[0]), flat(&header[1])));
    }
    lines.push(String::new());
    lines.push(clean(request["body"].as_str().unwrap_or_default()));
    lines.join("\n")
}

/// The text over several lines without anything that moves a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
