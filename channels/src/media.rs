//! Finds the materials that a content names in the places of the supplier's ids of files, by the same table of fields that
//! makes the message.

use serde_json::Value;
use tidings_contract::{MediaPlace, material_in};

use crate::attachments::{From, wanted};
use crate::catalog::{Shape, shape};
use crate::message::{Field, Form, Kind};

/// The places of materials in a content. One that cannot be a material is left where it is, and refused when the message is
/// made.
pub(crate) fn places(kinds: &'static [Kind], content: &Value) -> Vec<MediaPlace> {
    let mut places = Vec::new();
    let name = content.get("type").and_then(Value::as_str);
    if let Some(kind) = kinds.iter().find(|kind| Some(kind.name) == name) {
        in_fields(kind.fields, content, "", &mut places);
    }
    places
}

/// Whether contents of a channel can name materials.
pub fn may_name_materials(channel: &str) -> bool {
    matches!(shape(channel), Shape::Kinds(_) | Shape::Mail)
}

/// The ids of all materials that a content of a channel names: in the places of the supplier's ids, in those whose files the
/// provider fetches itself, and among the files of a mail. A host asks whether there are such materials before it takes a
/// message.
pub fn materials_of(channel: &str, content: &Value) -> Vec<String> {
    let named = |value: &Value| value.as_str().and_then(material_in).and_then(Result::ok);
    match shape(channel) {
        Shape::Kinds(kinds) => {
            let found = places(kinds, content).into_iter().map(|place| place.material);
            // A WeCom robot's picture goes out in the message itself.
            let picture = (channel == "wecom_robot").then(|| content.get("base64").and_then(named)).flatten();
            found.chain(picture).collect()
        }
        Shape::Mail => {
            let files = wanted(content).into_iter().flatten();
            files.filter_map(|file| if let From::Material(id) = file.from { Some(id) } else { None }).collect()
        }
        _ => Vec::new(),
    }
}

fn in_fields(fields: &[Field], content: &Value, within: &str, places: &mut Vec<MediaPlace>) {
    for field in fields {
        let Some(given) = content.get(field.ours) else { continue };
        let pointer = format!("{within}/{}", field.ours);
        match field.form {
            Form::Media(kind) => add(given, pointer, kind, places),
            Form::JsonWith(names) => in_json(names, given, &pointer, places),
            Form::Rows(of) => {
                let rows = given.as_array().into_iter().flatten().enumerate();
                rows.for_each(|(at, row)| in_fields(of, row, &format!("{pointer}/{at}"), places));
            }
            _ => {}
        }
    }
}

fn in_json(names: &[(&str, &'static str)], given: &Value, within: &str, places: &mut Vec<MediaPlace>) {
    match given {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| in_json(names, item, &format!("{within}/{at}"), places));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let pointer = format!("{within}/{}", name.replace('~', "~0").replace('/', "~1"));
                match names.iter().find(|(known, _)| known == name) {
                    Some((_, kind)) if value.is_string() => add(value, pointer, kind, places),
                    _ => in_json(names, value, &pointer, places),
                }
            }
        }
        _ => {}
    }
}

fn add(given: &Value, pointer: String, kind: &'static str, places: &mut Vec<MediaPlace>) {
    if let Some(Ok(material)) = given.as_str().and_then(material_in) {
        places.push(MediaPlace { pointer, material, kind });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::{dingtalk, feishu, wecom};

    fn found(kinds: &'static [Kind], content: &Value) -> Vec<(String, &'static str)> {
        places(kinds, content).into_iter().map(|place| (place.pointer, place.kind)).collect()
    }

    #[test]
    fn materials_are_found_where_the_supplier_wants_ids_and_nowhere_else() {
        let id = &format!("material:{}", "0a".repeat(32));
        let at = |pointer: &str, kind| vec![(pointer.to_owned(), kind)];
        let app = wecom::APP_KINDS;
        assert_eq!(found(app, &json!({"type": "image", "media_id": id})), at("/media_id", "image"));
        assert_eq!(found(app, &json!({"type": "voice", "media_id": id})), at("/media_id", "voice"));
        let news = json!({"type": "mpnews", "articles": [{"title": id}, {"thumb_media_id": id, "content": id}]});
        assert_eq!(found(app, &news), at("/articles/1/thumb_media_id", "image"));
        for other in [json!({"type": "text", "text": id}), json!({"type": "file", "media_id": "m1"}), json!({})] {
            assert_eq!(found(app, &other), [], "{other}");
        }
        assert_eq!(found(app, &json!({"type": "file", "media_id": "material:terms.pdf"})), []);
        let work = dingtalk::WORK_KINDS;
        assert_eq!(found(work, &json!({"type": "link", "pic_url": id})), at("/pic_url", "image"));
        assert_eq!(found(work, &json!({"type": "oa", "body": {"image": id, "title": id}})), at("/body/image", "image"));
        let video = json!({"type": "media", "file_key": id, "image_key": id});
        let both = [at("/file_key", "file"), at("/image_key", "image")].concat();
        assert_eq!(found(feishu::APP_KINDS, &video), both);
        let post =
            json!({"type": "post", "paragraphs": [[{"tag": "text", "text": id}, {"tag": "img", "image_key": id}]]});
        assert_eq!(found(feishu::APP_KINDS, &post), at("/paragraphs/0/1/image_key", "image"));
        assert_eq!(found(feishu::ROBOT_KINDS, &json!({"type": "image", "image_key": id})), []);
    }

    #[test]
    fn every_material_that_a_content_names_is_told_whoever_fetches_it() {
        let (hash, other) = ("0a".repeat(32), "0b".repeat(32));
        let id = format!("material:{}", hash.to_ascii_uppercase());
        let cases = [
            ("wecom_app", json!({"type": "file", "media_id": id}), vec![&hash]),
            ("wecom_robot", json!({"type": "image", "base64": id}), vec![&hash]),
            ("wecom_robot", json!({"type": "voice", "media_id": id}), vec![&hash]),
            (
                "email",
                json!({"attachments": [{"material": hash}, {"url": "https://a.example/"}, {"material": other}]}),
                vec![&hash, &other],
            ),
            ("dingtalk_work", json!({"type": "text", "text": id}), vec![]),
            ("feishu_robot", json!({"type": "image", "image_key": id}), vec![]),
            ("sms", json!({"text": id}), vec![]),
            ("webhook", json!({"media_id": id}), vec![]),
        ];
        for (channel, content, expected) in cases {
            assert_eq!(materials_of(channel, &content).iter().collect::<Vec<_>>(), expected, "{channel} {content}");
        }
    }

    #[test]
    fn a_template_may_name_a_material_or_a_placeholder_and_no_nonsense() {
        let id = format!("material:{}", "0a".repeat(32));
        for (media_id, fits) in
            [(id.as_str(), true), ("material:{{ picture }}", true), ("m1", true), ("material:a.png", false)]
        {
            let content = json!({"type": "image", "media_id": media_id});
            let errors = crate::message::check(wecom::APP_KINDS, content.as_object().expect("an object"));
            assert_eq!(errors.is_empty(), fits, "{media_id}: {errors:?}");
            let built = crate::message::build(wecom::APP_KINDS, &content).err();
            // What the host has left there cannot go out.
            assert_eq!(built.is_some(), media_id.starts_with("material:"), "{media_id}: {built:?}");
        }
    }
}
