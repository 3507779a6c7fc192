//! The page of promises: each says what it is, where it ends and what would fail, and everything that it names exists.

use std::fs;

use crate::docs::{hop_fault, hops, quoted};
use crate::report;
use crate::tree::{read, root};

/// What every promise says, in this order.
const PARTS: [&str; 5] = ["Says", "Ends where", "Tests", "Planted bugs", "Judged by"];

/// What the part `name` of a promise says: from its mark to the next one.
fn part<'a>(promise: &'a str, name: &str) -> Option<&'a str> {
    let rest = promise.split(&format!("- **{name}:**")).nth(1)?;
    rest.split("\n- **").next().filter(|text| !text.trim().is_empty())
}

/// The names of the planted bugs, as the simulation lists them.
fn bugs(source: &str) -> Vec<&str> {
    source.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// What is wrong with one promise; `read` gives a file's text, `bugs` are those that exist.
fn faults(promise: &str, read: impl Fn(&str) -> Option<String>, bugs: &[&str]) -> Vec<String> {
    let title = promise.lines().next().unwrap_or_default();
    let missing = PARTS.iter().filter(|name| part(promise, name).is_none());
    let mut faults: Vec<_> = missing.map(|name| format!("{title}: it has no part {name}")).collect();
    let tests = hops(part(promise, "Tests").unwrap_or_default());
    if tests.is_empty() {
        faults.push(format!("{title}: it names no test"));
    }
    faults.extend(tests.into_iter().filter_map(|hop| hop_fault(hop, &read)).map(|fault| format!("{title}: {fault}")));
    for name in quoted(part(promise, "Planted bugs").unwrap_or_default()).filter(|name| !bugs.contains(name)) {
        faults.push(format!("{title}: there is no planted bug {name}"));
    }
    for file in quoted(part(promise, "Judged by").unwrap_or_default()).filter(|file| read(file).is_none()) {
        faults.push(format!("{title}: there is no judge {file}"));
    }
    faults
}

#[test]
fn every_promise_names_its_tests_its_planted_bugs_and_its_judge() {
    let (page, planted) = (read("docs/promises.md"), read("cluster-tests/sim/src/planted.rs"));
    let list = planted.split("mod tests").next().unwrap_or_default();
    let (promises, bugs): (Vec<_>, _) = (page.split("\n## ").skip(1).collect(), bugs(list));
    assert!(promises.len() >= 10 && bugs.len() >= 24, "{} promises, {} bugs", promises.len(), bugs.len());
    let open = |file: &str| fs::read_to_string(root().join(file)).ok();
    let mut wrong: Vec<_> = promises.iter().flat_map(|promise| faults(promise, open, &bugs)).collect();
    let named: Vec<_> = promises.iter().filter_map(|promise| part(promise, "Planted bugs")).flat_map(quoted).collect();
    wrong.extend(bugs.iter().filter(|bug| !named.contains(bug)).map(|bug| format!("no promise names the bug {bug}")));
    report(&wrong);
}

#[test]
fn planted_faults_in_promises_are_found() {
    let read = |file: &str| (file == "a/b.rs" || file == "j.py").then(|| "fn holds() {}".to_owned());
    let good = "1. It holds\n\n- **Says:** it\n- **Ends where:** there\n- **Tests:** `a/b.rs::holds`\n- **Planted bugs:** `x`\n- **Judged by:** `j.py`\n";
    assert_eq!(faults(good, read, &["x"]), Vec::<String>::new());
    for (right, wrong) in [
        ("**Says:** it", "**Says:** "),
        ("- **Ends where:** there\n", ""),
        ("`a/b.rs::holds`", "`a/b.rs::breaks`"),
        ("`a/b.rs::holds`", "none"),
        ("`x`", "`y`"),
        ("`j.py`", "`k.py`"),
    ] {
        assert!(!faults(&good.replace(right, wrong), read, &["x"]).is_empty(), "{wrong}");
    }
}
