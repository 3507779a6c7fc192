//! Which rule holds for a field, and which fields hold links that a recipient follows.

use serde_json::{Map, Value};
use tidings_contract::{Markup, TextRule};

/// Names of fields whose links nobody follows: they are shown, played or fetched, or mean something to a machine.
const NOT_FOLLOWED: &[&str] = &[
    "pic",
    "image",
    "img",
    "avatar",
    "icon",
    "media",
    "file",
    "attachments",
    "base64",
    "unsubscribe",
    "src",
    "thumb",
    "data",
    "params",
    "card",
    "blocks",
    "embeds",
    "components",
    "vendor",
    "reply_to",
];

/// The markup that is read in a field. Where a placeholder decides whether a rule holds, it holds: one escape too many
/// shows, one too few lets markup in.
pub(super) fn markup_of(field: &str, content: &Map<String, Value>, rules: &[TextRule]) -> Markup {
    let open = |name: &str| {
        content.get(name).is_some_and(|value| value.to_string().contains("{{") || value.to_string().contains("{$"))
    };
    let holds =
        |rule: &&TextRule| rule.holds(|name| text(content, name)) || rule.when.is_some_and(|(name, _)| open(name));
    let rule = rules.iter().filter(|rule| rule.field == field && rule.markup != Markup::Plain).find(holds);
    rule.map_or(if field == "html" { Markup::Html } else { Markup::Plain }, |rule| rule.markup)
}

/// The rule with the limit of a field in a filled content.
pub(super) fn limited<'a>(field: &str, content: &Map<String, Value>, rules: &'a [TextRule]) -> Option<&'a TextRule> {
    let of_field = rules.iter().filter(|rule| rule.field == field && rule.limit.is_some());
    of_field.filter(|rule| rule.holds(|name| text(content, name))).find(|rule| rule.limit.is_some())
}

/// Whether a field is the address of something.
pub(super) fn is_address(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    ["url", "href", "src", "link"].iter().any(|end| field.ends_with(end))
}

/// Whether links in a field lead the recipient somewhere.
pub(super) fn is_followed(field: &str) -> bool {
    !NOT_FOLLOWED.iter().any(|part| field.contains(part))
}

fn text(content: &Map<String, Value>, name: &str) -> Option<String> {
    content.get(name).and_then(Value::as_str).map(str::to_owned)
}
