//! `frequency`: how often a recipient gets anything of a channel and message type.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidings_contract::FieldError;
use tidings_machine::partition::Window;

use super::reading::{Wrong, read};
use super::{Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: "frequency",
    doc: "A recipient gets at most so many of a channel and message type in any window; all windows hold at once.",
    example: r#"{"windows": [{"window_ms": 3600000, "most": 3}, {"window_ms": 86400000, "most": 10}]}"#,
    in_templates: true,
    read: |spec| Frequency::read(spec).map(|rule| Rule::Frequency(Arc::new(rule))),
};

/// Most windows of a rule.
const MOST_WINDOWS: usize = 4;
/// Most deliveries in a window: each is looked at for each new one.
pub(super) const MOST_IN_WINDOW: u32 = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    windows: Vec<WrittenWindow>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    window_ms: u64,
    most: u32,
}

/// How often somebody gets anything.
#[derive(Clone, Debug)]
pub(crate) struct Frequency {
    /// The windows, the shortest first; each longer one allows more.
    pub windows: Vec<Window>,
}

impl Frequency {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { windows } = read(spec)?;
        let mut wrong = Wrong::default();
        if !(1..=MOST_WINDOWS).contains(&windows.len()) {
            wrong.add("spec.windows", format!("must hold 1 to {MOST_WINDOWS} windows"));
        }
        let mut lengths = BTreeSet::new();
        for (n, window) in windows.iter().enumerate() {
            wrong.window(format!("spec.windows[{n}].window_ms"), window.window_ms);
            if !(1..=MOST_IN_WINDOW).contains(&window.most) {
                wrong.add(format!("spec.windows[{n}].most"), format!("must be between 1 and {MOST_IN_WINDOW}"));
            }
            if !lengths.insert(window.window_ms) {
                wrong.add(format!("spec.windows[{n}].window_ms"), "is the length of an earlier window");
            }
            // A shorter window that allows as much as a longer one never decides anything: surely a slip.
            if windows.iter().any(|other| other.window_ms > window.window_ms && other.most <= window.most) {
                wrong.add(format!("spec.windows[{n}].most"), "must be less than what a longer window allows");
            }
        }
        let mut windows: Vec<Window> =
            windows.iter().map(|w| Window { window_ms: w.window_ms, most: w.most }).collect();
        windows.sort_by_key(|window| window.window_ms);
        wrong.or(Self { windows })
    }
}
