//! The old system's placeholders, `{$name}`, turned into `{{ name }}`.

/// Turns every `{$name}` into `{{ name }}`. Dots are allowed in the name. Gives the text and where in it, in bytes, the
/// turned placeholders end.
pub(super) fn modernise(text: &str) -> (String, Vec<usize>) {
    let mut new = String::with_capacity(text.len());
    let mut ends = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{$") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        new.push_str(before);
        let name = after.find('}').map(|end| &after[..end]).filter(|name| is_path(name));
        if let Some(name) = name {
            new.push_str("{{ ");
            new.push_str(name);
            new.push_str(" }}");
            ends.push(new.len());
            rest = &after[name.len() + 1..];
        } else {
            new.push_str("{$");
            rest = after;
        }
    }
    new.push_str(rest);
    (new, ends)
}

/// How many characters longer a turned placeholder is than the old one.
pub(super) const GROWN: usize = "{{  }}".len() - "{$}".len();

/// Whether `name` is one or more identifiers joined by dots.
fn is_path(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_placeholders_are_turned_and_everything_else_is_left() {
        for (old, new) in [
            ("{$code}", "{{ code }}"),
            ("Hi {$user.name}, {$code}!", "Hi {{ user.name }}, {{ code }}!"),
            ("{$1} {$a b} {$} {$x", "{$1} {$a b} {$} {$x"),
            ("{{ new }} {$old}", "{{ new }} {{ old }}"),
            ("价格 {$price}元", "价格 {{ price }}元"),
        ] {
            assert_eq!(modernise(old).0, new);
        }
    }
}
