//! Serialized structs only grow at their end: what a disk version fixed stays in front, and what came later has a default.

use std::collections::BTreeMap;

use crate::report;
use crate::tree::{Text, read, sources};

/// Where the structs are that are written to disks.
const FOLDERS: [&str; 2] = ["raft/machine/src/", "channels/contract/src/"];
/// What they were when each older disk version was left; see `raft/src/older/shapes.rs`.
const TABLES: [&str; 2] = ["raft/src/older/two.txt", "raft/src/older/three.txt"];

/// A field, and whether serde fills it when it is not there.
type Field = (String, bool);

/// The structs, and the variants with named fields, that a formatted source reads from bytes.
fn shapes(text: &str) -> Vec<(String, Vec<Field>)> {
    let (mut found, mut derived, mut snake) = (Vec::new(), false, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start_matches("pub ").trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
        if line.starts_with("#[derive(") {
            (derived, snake) = (line.contains("Deserialize"), false);
        } else if line.starts_with("#[serde(") {
            snake |= line.contains("rename_all = \"snake_case\"");
        } else if let Some(name) = item.strip_prefix("struct ").and_then(opened)
            && std::mem::take(&mut derived)
        {
            found.push((name.to_owned(), fields(&mut lines, "}")));
        } else if let Some(name) = item.strip_prefix("enum ").and_then(opened)
            && std::mem::take(&mut derived)
        {
            found.extend(variants(&mut lines, name, snake));
        }
    }
    found
}

/// The name in `Name {` or `Name<T> {`.
fn opened(rest: &str) -> Option<&str> {
    rest.strip_suffix(" {").and_then(|name| name.split('<').next())
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str) -> Vec<Field> {
    let (mut fields, mut default) = (Vec::new(), false);
    for line in lines.take_while(|line| *line != end).map(str::trim) {
        if line.starts_with("#[serde(") {
            // What is skipped is never on the disk.
            default |= line.contains("default") || line.contains("serde(skip)");
        } else if !line.starts_with(['/', '#'])
            && let Some((name, _)) = line.split_once(": ")
        {
            let name = name.rsplit(' ').next().unwrap_or(name).to_owned();
            fields.push((name, std::mem::take(&mut default)));
        }
    }
    fields
}

fn variants<'a>(lines: &mut impl Iterator<Item = &'a str>, of: &str, snake: bool) -> Vec<(String, Vec<Field>)> {
    let mut found = Vec::new();
    while let Some(line) = lines.next().filter(|line| *line != "}") {
        let Some((name, rest)) = line.strip_prefix("    ").and_then(|line| line.split_once(" {")) else { continue };
        if !name.starts_with(char::is_uppercase) || !name.chars().all(char::is_alphanumeric) {
            continue;
        }
        let fields = match rest.strip_suffix("},") {
            Some(inside) => {
                inside.split(", ").filter_map(|f| f.split_once(": ")).map(|f| (f.0.trim().to_owned(), false)).collect()
            }
            None => fields(lines, "    },"),
        };
        found.push((format!("{of}::{}", if snake { in_snake_case(name) } else { name.to_owned() }), fields));
    }
    found
}

fn in_snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// What is wrong with structs, given what they had.
fn faults(table: &str, files: &[Text]) -> Vec<String> {
    let mut had: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for (name, fields) in table.lines().filter_map(|line| line.split_once(": ")) {
        had.entry(name).or_default().push(fields.split(' ').collect());
    }
    let (mut faults, mut strangers) = (Vec::new(), Vec::new());
    for file in files {
        for (name, fields) in shapes(&file.text) {
            let Some(had) = had.get_mut(name.as_str()) else { continue };
            let begins =
                |had: &&Vec<&str>| fields.len() >= had.len() && had.iter().zip(&fields).all(|(had, (is, _))| had == is);
            let Some(count) = had.iter().filter(begins).map(Vec::len).max() else {
                strangers.push((name, file.path.as_str()));
                continue;
            };
            had.retain(|had| had.len() != count || !begins(&had));
            let bare = fields[count..].iter().filter(|(_, default)| !default);
            faults.extend(bare.map(|(field, _)| {
                format!("{}: {name}.{field} came after the disk version: it needs #[serde(default)]", file.path)
            }));
        }
    }
    // Another struct of a name that is taken is none of our business, as long as the old one is there as well.
    for (name, left) in had.iter().filter(|(_, left)| !left.is_empty()) {
        let places: Vec<&str> =
            strangers.iter().filter(|(stranger, _)| stranger == name).map(|(_, path)| *path).collect();
        faults.push(if places.is_empty() {
            format!("{name} is on older disks and in no source any more")
        } else {
            format!(
                "{}: {name} no longer begins with the fields it had in an older disk version, {left:?}: append new fields \
                 at its end, and leave the others where they are",
                places.join(", ")
            )
        });
    }
    faults
}

#[test]
fn every_struct_still_begins_with_the_fields_it_had() {
    let files: Vec<Text> =
        sources().into_iter().filter(|file| FOLDERS.iter().any(|folder| file.path.starts_with(folder))).collect();
    TABLES.iter().for_each(|table| report(&faults(&read(table), &files)));
}

#[test]
fn planted_faults_in_structs_are_found() {
    let table = "Sheet: a b\nWhat::it_ended: state\nRecord::Amend: event\nKept: x\nKept: y\n";
    let check = |text: &str| faults(table, &[Text { path: "a.rs".into(), text: text.to_owned() }]).join("\n");
    let derive = "#[derive(Clone, Serialize, Deserialize)]\n";
    let rest = format!(
        "{derive}#[serde(rename_all = \"snake_case\")]\npub enum What {{\n    /// Words.\n    ItEnded {{\n        /// Words: more.\n        \
         state: State,\n        #[serde(default)]\n        more: u8,\n    }},\n}}\n{derive}pub enum Record {{\n    Plain(u8),\n    \
         Amend {{ event: Event }},\n    Later {{\n        a: u8,\n    }},\n}}\n{derive}struct Kept {{\n    x: u8,\n}}\n{derive}\
         pub(super) struct Kept {{\n    pub(super) y: u8,\n}}\n"
    );
    let sheet = |fields: &str| format!("{derive}pub struct Sheet {{\n{fields}}}\n{rest}");
    assert_eq!(check(&sheet("    pub a: u8,\n    pub b: u8,\n")), "");
    assert_eq!(check(&sheet("    pub a: u8,\n    pub b: u8,\n    #[serde(default)]\n    pub c: u8,\n")), "");
    for (fields, words) in [
        ("    pub a: u8,\n    pub b: u8,\n    pub c: u8,\n", "Sheet.c came after"),
        ("    pub a: u8,\n    #[serde(default)]\n    pub c: u8,\n    pub b: u8,\n", "Sheet no longer begins"),
        ("    pub a: u8,\n", "Sheet no longer begins"),
    ] {
        let found = check(&sheet(fields));
        assert!(found.contains(words), "{fields}: {found}");
    }
    let whole = sheet("    pub a: u8,\n    pub b: u8,\n");
    for (from, to, words) in [
        ("        #[serde(default)]\n        more", "        more", "What::it_ended.more came after"),
        ("Amend { event", "Amend { id: u8, event", "Record::Amend no longer begins"),
        ("    pub(super) y: u8,\n", "    pub(super) z: u8,\n", "Kept no longer begins"),
    ] {
        let found = check(&whole.replace(from, to));
        assert!(found.contains(words), "{to}: {found}");
    }
    let namesake = format!("{derive}pub struct Sheet {{\n    pub other: u8,\n}}\n{whole}");
    assert_eq!(check(&namesake), "", "a new struct may have the name of an old one");
    assert!(check(&whole.replace("struct Sheet", "struct Page")).contains("Sheet is on older disks and in no source"));
}
