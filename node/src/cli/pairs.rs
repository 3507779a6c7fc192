//! Arguments of the form `name=value`.

use serde_json::{Map, Value};

use super::failure::Failure;

/// Takes `name=value` apart, for clap. The value may hold further `=`.
///
/// # Errors
/// When there is no name or no `=`.
pub(super) fn argument(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value".to_owned()),
    }
}

/// The variables given by `--vars` (a JSON object) and by `--var` (texts), which win; none when neither was given.
pub(super) fn variables(json: Option<&str>, pairs: &[(String, String)]) -> Result<Option<Map<String, Value>>, Failure> {
    let mut all: Map<String, Value> = match json {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            Failure::Usage(format!("--vars must be a JSON object, like {{\"name\": \"Ada\"}}: {error}"))
        })?,
        None => Map::new(),
    };
    all.extend(pairs.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    Ok(if json.is_none() && all.is_empty() { None } else { Some(all) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_variables_win_over_the_object() {
        let pairs = [argument("name=Ada=").expect("a pair")];
        let all = variables(Some(r#"{"name": "Bob", "count": 3}"#), &pairs).expect("an object");
        assert_eq!(Value::from(all.expect("some")), serde_json::json!({"name": "Ada=", "count": 3}));
        assert!(variables(Some("[1]"), &[]).is_err());
        assert!(argument("=x").is_err() && argument("x").is_err());
    }
}
