//! The rules that a message was accepted under, as the edge selected them from the policies and the template.
//!
//! They are carried by the sheet, so that what decides about a message is what was in force when it was accepted, and every
//! replica decides the same. Rules have titles (`<kind>/<policy>@<version>`), which events name.

use serde::{Deserialize, Serialize};
use tidings_contract::Time;

use super::{LegRules, WordRule};

/// At most so many in any window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Length of the window, in milliseconds.
    pub window_ms: u64,
    /// How many it holds; at least 1.
    pub most: u32,
}

/// The rules of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The titles of the lists (`discard`, `allow`) that were looked up at the edge, in the order in which they decide.
    pub lists: Vec<String>,
    /// The quiet hours.
    pub quiet: Vec<Quiet>,
    /// When each zone of the message's recipients is quiet; a recipient carries the index of its zone.
    pub zones: Vec<Vec<Span>>,
    /// The caps: content dedup first, then frequency.
    pub caps: Vec<Cap>,
    /// The dictionaries that look through what is filled in.
    #[serde(default)]
    pub words: Vec<WordRule>,
    /// The rules of the further legs, in the order of the sheet's legs; none where no policy is for any of them.
    #[serde(default)]
    pub legs: Vec<LegRules>,
}

impl Rules {
    /// The rules of a further leg, from 1.
    pub fn of_leg(&self, leg: u8) -> Option<&LegRules> {
        self.legs.get(usize::from(leg).checked_sub(1)?)
    }

    /// The dictionaries that look through the content of a leg, from 0.
    pub fn words_of(&self, leg: u8) -> &[WordRule] {
        self.of_leg(leg).map_or(&self.words, |leg| &leg.words)
    }
}

/// The quiet hours of a further leg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegHours {
    /// The quiet hours.
    pub quiet: Vec<Quiet>,
    /// When each zone of the message's recipients is quiet, in the order of [`Rules::zones`].
    pub zones: Vec<Vec<Span>>,
}

/// Quiet hours, without the hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// The title.
    pub title: String,
    /// Whether what would leave then is not sent; else it waits.
    pub drop: bool,
}

/// A span in which a zone is quiet, in minutes since the Unix epoch: short, because a sheet may hold thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its first minute.
    pub from: u32,
    /// The first minute that is not quiet any more.
    pub until: u32,
    /// Because of which of the quiet hours.
    pub quiet: u8,
}

/// At most so many of one key in any window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// The title.
    pub title: String,
    /// What it caps.
    pub kind: CapKind,
    /// The windows; all hold at once. Never empty.
    pub windows: Vec<Window>,
}

/// What a cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CapKind {
    /// The same content to the same recipient.
    Dedup,
    /// Anything of a channel and message type to the same recipient.
    Frequency,
}

/// A list at the edge says no to a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barred {
    /// Which of [`Rules::lists`].
    pub list: u8,
    /// What it saw.
    pub detail: String,
}

impl Span {
    /// When it begins.
    pub fn from(&self) -> Time {
        Time(u64::from(self.from) * 60_000)
    }

    /// When it ends.
    pub fn until(&self) -> Time {
        Time(u64::from(self.until) * 60_000)
    }

    /// Whether a time lies in it.
    pub fn holds(&self, at: Time) -> bool {
        (self.from()..self.until()).contains(&at)
    }
}

impl Cap {
    /// The longest of its windows, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        self.windows.iter().map(|window| window.window_ms).max().unwrap_or(0)
    }
}
