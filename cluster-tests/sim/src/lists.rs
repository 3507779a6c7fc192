//! The lists of the simulation, in their editions: who stands on which, for those who put them, send and judge.

use serde_json::{Value, json};

use crate::world::Letter;

/// The policy that discards.
pub(crate) const DISCARD: &str = "unwanted";
/// Who alone gets the template `vip`.
pub(crate) const GUESTS: &str = "+86134*";
/// What is sent with this tag is discarded.
pub(crate) const TAG: &str = "blocked";
/// Where mail does not go.
pub(crate) const BARRED_MAIL: &str = "@barred.example";

/// Numbers that begin so stand on the discard list: always, only at first, only later.
pub(crate) const STAYS: &str = "+86135001";
pub(crate) const GOES: &str = "+86135002";
pub(crate) const COMES: &str = "+86135003";
/// These never do.
pub(crate) const FREE: &str = "+86135004";

/// An edition of the discard list. The operator puts the second one while callers call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    First,
    Second,
}

/// The list as it is put.
pub(crate) fn spec(edition: Edition) -> Value {
    let own = if edition == Edition::First { GOES } else { COMES };
    json!({"recipients": [format!("{STAYS}*"), format!("{own}*"), format!("*{BARRED_MAIL}")], "tags": [TAG]})
}

/// The policy that says no to a recipient of a letter under an edition, if one does.
pub(crate) fn barred(letter: &Letter, to: &str, edition: Edition) -> Option<&'static str> {
    let own = if edition == Edition::First { GOES } else { COMES };
    let tagged = letter.body["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == TAG));
    if tagged || to.starts_with(STAYS) || to.starts_with(own) {
        return Some("discard/unwanted");
    }
    let guest = to.starts_with(GUESTS.trim_end_matches('*'));
    (letter.template == "vip" && !guest).then_some("allow/guests")
}
