//! The fields that serialized structs had in older disk versions: what the present ones have more is not in those bytes.
//!
//! # Adding a field to a serialized struct
//!
//! Append it as the last field, with `#[serde(default)]`; there is nothing to add here while its disk version was in no
//! release. `two.txt` is what the structs were when disk version 2 was left, `three.txt` the same of version 3, and neither
//! changes any more: a struct that is listed is read from those bytes as far as the list goes, serde's default fills the
//! rest. Structs that came later are not listed. Variants of enums are appended and need nothing.
//! `every_struct_still_begins_with_the_fields_it_had` in `cluster-tests/tests/tidy` says what is wrong where.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Which fields are in the bytes that an older program wrote.
pub(super) trait Shapes {
    /// How many of `fields`, of the struct `name` or the variant `Enum::variant`, there are; `None` if the struct does not
    /// begin with what it had.
    fn fields(name: &str, fields: &[&str]) -> Option<usize>;
}

/// Disk version 2, and 1, whose values had the same form.
#[derive(Debug)]
pub(super) struct Two;

impl Shapes for Two {
    fn fields(name: &str, fields: &[&str]) -> Option<usize> {
        static TABLE: LazyLock<Table> = LazyLock::new(|| read(include_str!("two.txt")));
        look_up(&TABLE, name, fields)
    }
}

/// Each name with the fields of every struct of that name.
pub(super) type Table = BTreeMap<&'static str, Vec<Vec<&'static str>>>;

/// Disk version 3.
#[derive(Debug)]
pub(super) struct Three;

impl Shapes for Three {
    fn fields(name: &str, fields: &[&str]) -> Option<usize> {
        static TABLE: LazyLock<Table> = LazyLock::new(|| read(include_str!("three.txt")));
        look_up(&TABLE, name, fields)
    }
}

/// Reads lines like `Struct: one two` and `Enum::variant: one`. Two structs of one name are two lines.
pub(super) fn read(text: &'static str) -> Table {
    let mut table = Table::new();
    for (name, fields) in text.lines().filter_map(|line| line.split_once(": ")) {
        table.entry(name).or_default().push(fields.split(' ').collect());
    }
    table
}

/// See [`Shapes::fields`]. A name that is not listed came later and is read as it is.
pub(super) fn look_up(table: &Table, name: &str, fields: &[&str]) -> Option<usize> {
    let Some(known) = table.get(name) else { return Some(fields.len()) };
    known.iter().filter(|had| fields.starts_with(had)).map(Vec::len).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_structs_with_one_name_the_fields_tell_which_it_is() {
        let table = read("Account: provider settings\nAccount: grants counted\nEvent: at\n");
        for (name, fields, expected) in [
            ("Account", &["provider", "settings", "new"][..], Some(2)),
            ("Account", &["grants", "counted"], Some(2)),
            ("Account", &["provider", "new", "settings"], None),
            ("Event", &["at", "new", "newer"], Some(1)),
            ("Unheard", &["a", "b"], Some(2)),
        ] {
            assert_eq!(look_up(&table, name, fields), expected, "{name} {fields:?}");
        }
    }
}
