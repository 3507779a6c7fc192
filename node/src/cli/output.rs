//! What is printed: lines, tables, colours on a terminal, or the API's answer as it is.

use std::io::{ErrorKind, IsTerminal, Write};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::client::Reply;
use super::failure::Failure;

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    /// The API's answer is printed as it is.
    pub(super) json: bool,
    colour: bool,
    colour_errors: bool,
}

/// A column of a table: its title, and where the value stands in a row (a JSON pointer, RFC 6901).
pub(super) type Column = (&'static str, &'static str);

impl Out {
    /// Prints to this process's stdout; with colours when that is a terminal and `NO_COLOR` is not set.
    pub(super) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = wanted && std::io::stdout().is_terminal();
        Self { json, colour, colour_errors: wanted && std::io::stderr().is_terminal() }
    }

    /// Prints `text` and ends the line.
    pub(super) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(text.as_ref().as_bytes(), b"\n")
    }

    /// Prints the answer as it is where `--json` asks for that, else what `draw` makes of it.
    pub(super) fn answer(&self, reply: &Reply, draw: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        let end: &[u8] = if reply.raw.ends_with(b"\n") { b"" } else { b"\n" };
        if self.json { self.bytes(&reply.raw, end) } else { self.line(draw(&reply.value)) }
    }

    fn bytes(&self, bytes: &[u8], end: &[u8]) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.write_all(end)).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::Closed),
            Err(error) => Err(Failure::Failed(format!("cannot print: {error}"))),
        }
    }

    /// A table of `rows`, one line each; `empty` where there are none.
    pub(super) fn table(&self, rows: &[Value], columns: &[Column], empty: &str) -> String {
        if rows.is_empty() {
            return empty.to_owned();
        }
        let mut table = Table::new();
        // Lines are never folded: they are what grep and awk read, and a terminal folds by itself.
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(columns.iter().map(|(title, _)| Cell::new(title)));
        for row in rows {
            table.add_row(columns.iter().map(|(_, pointer)| {
                let text = row.pointer(pointer).map(flat).unwrap_or_default();
                match colour_of(&text) {
                    Some(colour) if pointer.ends_with("/state") => Cell::new(text).fg(colour.table),
                    _ => Cell::new(text),
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 3));
        }
        table.trim_fmt()
    }

    /// A state in its colour.
    pub(super) fn state(&self, state: &str) -> String {
        match colour_of(state) {
            Some(colour) => self.ansi(colour.ansi, state),
            None => clean(state),
        }
    }

    /// Text that stands back.
    pub(super) fn dim(&self, text: &str) -> String {
        self.ansi("2", text)
    }

    /// Text that stands out.
    pub(super) fn bold(&self, text: &str) -> String {
        self.ansi("1", text)
    }

    /// Text on stderr that warns.
    pub(super) fn error(&self, text: &str) -> String {
        if self.colour_errors { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn ansi(&self, code: &str, text: &str) -> String {
        let text = clean(text);
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// One colour, as tables and as lines want it.
struct Colour {
    table: Color,
    ansi: &'static str,
}

fn colour_of(state: &str) -> Option<Colour> {
    Some(match state {
        "delivered" => Colour { table: Color::Green, ansi: "32" },
        "failed" => Colour { table: Color::Red, ansi: "31" },
        "unknown" | "expired" => Colour { table: Color::Yellow, ansi: "33" },
        "pending" => Colour { table: Color::Blue, ansi: "34" },
        "suppressed" | "cancelled" | "recalled" => Colour { table: Color::Cyan, ansi: "36" },
        _ => return None,
    })
}

/// A value on one line: texts as they are, lists with commas, objects as `name=value`.
pub(super) fn flat(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        Value::Array(list) => list.iter().map(flat).collect::<Vec<_>>().join(","),
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{}={}", clean(name), flat(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// `text` without control characters: what a provider or a caller wrote must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The rows under `name` in an answer.
pub(super) fn rows<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Out = Out { json: false, colour: false, colour_errors: false };

    #[test]
    fn a_table_has_one_line_a_row_and_no_control_characters() {
        let rows = [
            json!({"id": "dlv_1", "state": "delivered", "labels": {"zone": "a"}, "n": [1, 2]}),
            json!({"id": "dlv_22", "state": "failed", "reason": {"words": "no\nway\x1b[2J"}}),
        ];
        let columns =
            [("ID", "/id"), ("STATE", "/state"), ("WHY", "/reason/words"), ("LABELS", "/labels"), ("N", "/n")];
        assert_eq!(
            PLAIN.table(&rows, &columns, ""),
            "ID       STATE       WHY          LABELS   N\n\
             dlv_1    delivered                zone=a   1,2\n\
             dlv_22   failed      no way [2J"
        );
        assert_eq!(PLAIN.table(&[], &columns, "none"), "none");
    }

    #[test]
    fn colours_stand_around_states_only_when_they_are_wanted() {
        let colourful = Out { colour: true, ..PLAIN };
        assert_eq!(
            (PLAIN.state("failed").as_str(), colourful.state("failed").as_str()),
            ("failed", "\x1b[31mfailed\x1b[0m")
        );
        let table =
            colourful.table(&[json!({"state": "failed", "to": "failed"})], &[("S", "/state"), ("T", "/to")], "");
        assert_eq!(table.matches("\x1b[38;5;9mfailed").count(), 1, "{table:?}");
    }
}
