//! Materials: known by their bytes, held by the templates that name them.

use tidings_contract::Time;
use tidings_machine::control::{Action, Answer, Material, Refusal};

use super::{ask, founded, put_template};

fn put(id: &str, name: &str) -> Action {
    put_as(id, name, 1)
}

/// The bytes stand under that number.
fn put_as(id: &str, name: &str, kept_as: u64) -> Action {
    let material = Material {
        name: name.to_owned(),
        media_type: "application/pdf".to_owned(),
        bytes: 7,
        chunks: 1,
        created_at: Time(0),
        created_by: String::new(),
        kept_as,
    };
    Action::PutMaterial { id: id.to_owned(), material: Box::new(material) }
}

#[test]
fn a_material_is_held_while_the_newest_version_of_a_template_names_it() {
    let id = "ab".repeat(32);
    let delete = || Action::DeleteMaterial { id: id.clone() };
    let mut control = founded();
    assert_eq!(ask(&mut control, 1_002, delete()), Answer::Refused(Refusal::NotFound));
    assert_eq!(ask(&mut control, 1_003, put(&id, "terms.pdf")), Answer::Done);
    assert_eq!(ask(&mut control, 1_004, put(&id, "terms.pdf")), Answer::Done);
    assert_eq!(control.audit_seq, 2, "the same again is no change");
    assert_eq!(ask(&mut control, 1_005, put(&id, "AGB.pdf")), Answer::Done);
    let known = &control.materials[&id];
    let seen = (known.name.as_str(), known.created_at, known.created_by.as_str());
    assert_eq!(seen, ("AGB.pdf", Time(1_003), "key_0"), "another name is the same material");

    let content = format!(r#"{{"attachments": [{{"material": "{}"}}]}}"#, id.to_uppercase());
    ask(&mut control, 1_006, put_template("terms", &content, None));
    assert_eq!(ask(&mut control, 1_007, delete()), Answer::Refused(Refusal::InUse("terms".to_owned())));
    ask(&mut control, 1_008, put_template("terms", "{}", None));
    assert_eq!(ask(&mut control, 1_009, delete()), Answer::Done);
    assert!(control.materials.is_empty());
}

#[test]
fn bytes_that_a_deletion_may_have_dropped_make_no_material() {
    let id = "ab".repeat(32);
    let mut control = founded();
    assert_eq!(control.material_place(&id), 1);
    ask(&mut control, 1_001, put_as(&id, "terms.pdf", 1));
    assert_eq!(control.material_place(&id), 1, "the same again lies where it lies");
    ask(&mut control, 1_002, Action::DeleteMaterial { id: id.clone() });
    // Whoever looked before the deletion kept the bytes under the number that is being dropped.
    assert_eq!(ask(&mut control, 1_003, put_as(&id, "terms.pdf", 1)), Answer::Refused(Refusal::Stale));
    assert!(control.materials.is_empty());
    assert_eq!(control.material_place(&id), 2);
    assert_eq!(ask(&mut control, 1_004, put_as(&id, "terms.pdf", 2)), Answer::Done);
    assert_ne!(Material::place(&id, 1), Material::place(&id, 2));
    // Somebody who still brings the old number changes nothing.
    assert_eq!(ask(&mut control, 1_005, put_as(&id, "AGB.pdf", 1)), Answer::Refused(Refusal::Stale));
    assert_eq!(control.materials[&id].name, "terms.pdf");
}

#[test]
fn a_material_of_before_numbers_gets_one_when_it_is_put_again() {
    let id = "ab".repeat(32);
    let mut control = founded();
    assert_eq!(ask(&mut control, 1_001, put_as(&id, "terms.pdf", 0)), Answer::Done);
    assert_eq!((control.materials[&id].kept_as, Material::place(&id, 0)), (0, id.clone()));
    let place = control.material_place(&id);
    assert_eq!(ask(&mut control, 1_002, put_as(&id, "terms.pdf", place)), Answer::Done);
    assert_eq!(control.materials[&id].kept_as, 1);
    assert_eq!(ask(&mut control, 1_003, put_as(&id, "AGB.pdf", 0)), Answer::Done);
    assert_eq!(control.materials[&id].kept_as, 1, "its bytes have moved");
}
