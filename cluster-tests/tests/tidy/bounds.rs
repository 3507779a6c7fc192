//! Rules about `docs/bounds.md`: the knobs, the constants and the tests that its rows name must exist.

use std::collections::BTreeSet;
use std::fs;

use crate::report;
use crate::tree::{read, root};

/// Fewest rows the document has; it only grows.
const FEWEST_ROWS: usize = 25;
/// Who can spend something.
const SPENDERS: [&str; 6] = ["stranger", "caller", "template", "provider", "peer", "recipient"];

/// One row of the document.
#[derive(Debug)]
struct Row<'a> {
    resource: &'a str,
    by: &'a str,
    bound: &'a str,
    knob: &'a str,
    test: &'a str,
}

/// The rows, and what is wrong with lines that look like one.
fn rows(text: &str) -> (Vec<Row<'_>>, Vec<String>) {
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Resource |")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells[..] {
            [resource, by, bound, knob, test] if cells.iter().all(|cell| !cell.is_empty()) => {
                rows.push(Row { resource, by, bound, knob, test });
            }
            _ => faults.push(format!("docs/bounds.md: not five filled cells: {line}")),
        }
    }
    (rows, faults)
}

/// The names between backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Every `section.key` of the configuration.
fn keys(default: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in default.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            keys.insert(format!("{section}.{key}"));
        }
    }
    keys
}

/// Whether `source` has the constant `name`.
fn has_constant(source: &str, name: &str) -> bool {
    source.lines().any(|line| {
        let after = line.split("const ").nth(1).or_else(|| line.split("static ").nth(1));
        after.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with(':'))
    })
}

/// Whether `source` has the test `name`; a scenario is any function.
fn has_test(source: &str, name: &str, scenario: bool) -> bool {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(after) = line.split(&format!("fn {name}")).nth(1).filter(|rest| rest.starts_with(['(', '<']))
        {
            return marked || (scenario && !after.is_empty());
        } else if line.contains("fn ") {
            marked = false;
        }
    }
    // Property tests stand in a macro without a mark on the line before.
    source.contains("proptest!") && source.contains(&format!("fn {name}("))
}

/// What is wrong with the knob of a row.
fn knob_faults(row: &Row<'_>, keys: &BTreeSet<String>, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let names = names(row.knob);
    let mut faults = Vec::new();
    if names.is_empty() {
        faults.push(format!("{}: names neither a knob nor a constant", row.resource));
    }
    for name in names {
        let fault = match name.split_once(".rs::") {
            None if keys.contains(name) => None,
            None => Some(format!("config/default.toml has no {name}")),
            Some(_) if !row.knob.starts_with("fixed") => Some(format!("{name} is fixed, and the cell does not say so")),
            Some((file, constant)) => match read(&format!("{file}.rs")) {
                None => Some(format!("there is no {file}.rs")),
                Some(source) if has_constant(&source, constant) => None,
                Some(_) => Some(format!("{file}.rs has no constant {constant}")),
            },
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", row.resource)));
    }
    faults
}

/// What is wrong with the tests of a row.
fn test_faults(row: &Row<'_>, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let names = names(row.test);
    let mut faults = Vec::new();
    if names.is_empty() {
        faults.push(format!("{}: names no test", row.resource));
    }
    for name in names {
        let Some((file, function)) = name.split_once(".rs::") else {
            faults.push(format!("{}: {name} is no file.rs::function", row.resource));
            continue;
        };
        let scenario = file.starts_with("cluster-tests/src/");
        let fault = match read(&format!("{file}.rs")) {
            None => Some(format!("there is no {file}.rs")),
            Some(source) if has_test(&source, function, scenario) => None,
            Some(_) => Some(format!("{file}.rs has no test {function}")),
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", row.resource)));
    }
    faults
}

fn who_faults(row: &Row<'_>) -> Vec<String> {
    let unknown = row.by.split(',').map(str::trim).filter(|by| !SPENDERS.contains(by));
    unknown.map(|by| format!("{}: nobody is called {by:?}", row.resource)).collect()
}

fn in_the_tree(path: &str) -> Option<String> {
    fs::read_to_string(root().join(path)).ok()
}

#[test]
fn every_bound_has_its_knob_or_constant_and_a_test_that_tries_to_exceed_it() {
    let text = read("docs/bounds.md");
    let (rows, mut faults) = rows(&text);
    assert!(rows.len() >= FEWEST_ROWS, "only {} rows", rows.len());
    let keys = keys(&read("config/default.toml"));
    let mut seen = BTreeSet::new();
    for row in &rows {
        faults.extend(knob_faults(row, &keys, &in_the_tree));
        faults.extend(test_faults(row, &in_the_tree));
        faults.extend(who_faults(row));
        if !seen.insert(row.resource) {
            faults.push(format!("{}: has two rows", row.resource));
        }
    }
    report(&faults);
}

#[test]
fn planted_faults_in_bounds_are_found() {
    let source = |file: &str| {
        (file == "a/b.rs").then(|| "const MOST: usize = 1;\n#[test]\nfn too_many() {}\nfn no_test() {}\n".to_owned())
    };
    let keys = keys("[intake]\n# odd = 1\nmost = 1\n");
    let right = "| Resource | x |\n|---|\n| Memory | caller, peer | 1 | fixed `a/b.rs::MOST` | `a/b.rs::too_many` |\n";
    let (found, faults) = rows(right);
    assert!(faults.is_empty() && found.len() == 1 && found[0].bound == "1", "{faults:?} {found:?}");
    assert!(knob_faults(&found[0], &keys, &source).is_empty() && test_faults(&found[0], &source).is_empty());
    assert!(who_faults(&found[0]).is_empty());
    for (knob, test, by) in [
        ("", "`a/b.rs::too_many`", "caller"),
        ("`intake.least`", "`a/b.rs::too_many`", "caller"),
        ("`intake.odd`", "`a/b.rs::too_many`", "caller"),
        ("`a/b.rs::MOST`", "`a/b.rs::too_many`", "caller"),
        ("fixed `a/b.rs::LEAST`", "`a/b.rs::too_many`", "caller"),
        ("`intake.most`", "`a/b.rs::no_test`", "caller"),
        ("`intake.most`", "`a/c.rs::too_many`", "caller"),
        ("`intake.most`", "none", "caller"),
        ("`intake.most`", "`a/b.rs::too_many`", "anybody"),
    ] {
        let line = format!("| Memory | {by} | 1 | {knob} | {test} |");
        let (rows, mut faults) = rows(&line);
        for row in &rows {
            faults.extend(knob_faults(row, &keys, &source));
            faults.extend(test_faults(row, &source));
            faults.extend(who_faults(row));
        }
        assert!(!faults.is_empty(), "{line}");
    }
}
