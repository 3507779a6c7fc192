//! Files that a supplier must have before a message can refer to them: where contents name them, and what an upload gives.

use std::time::Duration;

use serde_json::Value;

/// What a content has, instead of a supplier's id of a file, before the id of a material.
const PREFIX: &str = "material:";

/// The id of the material that `text` names in the place of a supplier's id of a file, in lower case. `None` if it names
/// none; `Some(Err)` if what it names cannot be a material.
///
/// # Errors
/// What is wrong with it.
pub fn material_in(text: &str) -> Option<Result<String, &'static str>> {
    let id = text.strip_prefix(PREFIX)?;
    let fits = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(if fits { Ok(id.to_ascii_lowercase()) } else { Err("must be material: and the id of a material") })
}

/// A place in a content where the supplier wants its own id of a file, and a material is named instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPlace {
    /// Where it stands in the content (RFC 6901).
    pub pointer: String,
    /// The material's id.
    pub material: String,
    /// As what the supplier is to take the file: `image`, `voice`, `video` or `file`.
    pub kind: &'static str,
}

impl MediaPlace {
    /// Puts the supplier's id into its place.
    pub fn put(&self, content: &mut Value, id: &str) {
        if let Some(place) = content.pointer_mut(&self.pointer) {
            *place = id.into();
        }
    }
}

/// A file that a supplier took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// The supplier's id of it.
    pub id: String,
    /// How long the id is good for. Of suppliers that name no end, [`Uploaded::LONG`].
    pub good_for: Duration,
}

impl Uploaded {
    /// The reason code of an attempt whose supplier did not know the id of a file any more. The host says so; channels tell
    /// by [`Channel::media_gone`](crate::Channel::media_gone).
    pub const GONE: &'static str = "media_gone";
    /// How long an id is used whose supplier names no end: what is never looked at again would be kept for ever.
    pub const LONG: Duration = Duration::from_secs(30 * 86_400);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_material_is_named_by_its_prefix_and_an_id() {
        let id = "aB".repeat(32);
        assert_eq!(material_in(&format!("material:{id}")), Some(Ok("ab".repeat(32))));
        assert_eq!(material_in("@lADOADmaWMzazQKA"), None);
        assert!(material_in("material:terms.pdf").is_some_and(|named| named.is_err()));
    }

    #[test]
    fn an_id_takes_the_place_of_the_material_and_nothing_else() {
        let mut content = json!({"rows": [{"a/b": "material:x"}], "text": "t"});
        let place = MediaPlace { pointer: "/rows/0/a~1b".to_owned(), material: "x".to_owned(), kind: "image" };
        place.put(&mut content, "m1");
        assert_eq!(content, json!({"rows": [{"a/b": "m1"}], "text": "t"}));
        MediaPlace { pointer: "/rows/1".to_owned(), ..place }.put(&mut content, "m2");
        assert_eq!(content, json!({"rows": [{"a/b": "m1"}], "text": "t"}));
    }
}
