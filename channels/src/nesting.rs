//! How deep the elements of an HTML text may be nested, counted without parsing it.

use std::collections::BTreeMap;

/// Most elements inside of each other in a mail of which a plain text is made. What makes it calls itself for each.
pub(crate) const DEEPEST: usize = 256;
/// Elements without content, and those that end where the next of their kind begins (HTML Living Standard, 13.1.2.4).
const FLAT: &[&str] = &[
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "param", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr",
];

/// Whether no element of the text is nested deeper than [`DEEPEST`]. An end without a beginning counts for nothing, as in a
/// browser, so what is too deep is never taken for flat; elements that nobody ends may be taken for nested.
pub(crate) fn is_flat(html: &str) -> bool {
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut depth = 0;
    for tag in html.split('<').skip(1) {
        let (ends, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || FLAT.contains(&name.as_str()) {
            continue;
        }
        let count = open.entry(name).or_default();
        if !ends {
            *count += 1;
            depth += 1;
        } else if *count > 0 {
            *count -= 1;
            depth -= 1;
        }
        if depth > DEEPEST {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_flat_and_a_tower_is_not() {
        let row = "<tr><td><p>one<br>two<li>three<img src='x'></td></tr>";
        assert!(is_flat(&format!("<html><body><table>{}</table></body></html>", row.repeat(5_000))));
        assert!(is_flat(&"<div><b>x</b></div>".repeat(5_000)));
        assert!(is_flat("1 < 2 << 3 <>"));
        for tower in ["<div>", "<b></i>", "<table><tr><td>", "<DIV>", "<x-y>", "<span><p></p>", "<svg></math>"] {
            assert!(!is_flat(&tower.repeat(5_000)), "{tower}");
        }
    }
}
