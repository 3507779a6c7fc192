//! Files that operators keep: one JSON object or one TOML table each.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::failure::Failure;

/// Reads the object in `path`; `-` is standard input. JSON and TOML are told apart by the file's ending, without one by
/// the first character.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let shown = path.display();
    let wrong = |words: String| Failure::Usage(format!("{shown}: {words}"));
    let text = text(path)?;
    let json = match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        _ => text.trim_start().starts_with('{'),
    };
    if json {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    } else {
        // The reader's full words quote the line, which may hold an account's secret.
        toml::from_str(&text).map_err(|error| wrong(format!("not TOML{}: {}", line(&text, &error), error.message())))
    }
}

/// Reads the text in `path`; `-` is standard input.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    if path != Path::new("-") {
        return std::fs::read_to_string(path).map_err(wrong);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map(|_| text).map_err(wrong)
}

fn line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map(|before| format!(" at line {}", before.matches('\n').count() + 1)).unwrap_or_default()
}

/// Takes the name out of a document: what was typed, or else its `name`, which the API takes in the path.
pub(super) fn name(typed: Option<String>, document: &mut Map<String, Value>) -> Result<String, Failure> {
    match (typed, document.remove("name")) {
        (Some(name), _) => Ok(name),
        (None, Some(Value::String(name))) => Ok(name),
        (None, _) => Err(Failure::Usage("name what to write: as an argument, or as `name` in the file".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_toml_say_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let cases = [
            ("a.json", r#"{"name": "hello", "content": {"text": "hi"}}"#),
            ("a.toml", "name = \"hello\"\n[content]\ntext = \"hi\"\n"),
            ("json", r#" {"name": "hello", "content": {"text": "hi"}}"#),
        ];
        for (file, text) in cases {
            let path = dir.path().join(file);
            std::fs::write(&path, text).expect("a file");
            let mut document = read(&path).expect("an object");
            assert_eq!(name(None, &mut document).expect("a name"), "hello");
            assert_eq!(Value::from(document), json!({"content": {"text": "hi"}}), "{file}");
        }
    }

    #[test]
    fn a_broken_file_is_told_with_its_line_and_without_its_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "name = \"x\"\npassword = \"swordfish\n").expect("a file");
        let Err(Failure::Usage(words)) = read(&path) else { panic!("it was read") };
        assert!(words.contains("line 2") && !words.contains("swordfish"), "{words}");
    }
}
