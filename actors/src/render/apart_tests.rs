//! What is filled apart: the protocol, and the bounds that hold for a content as a whole.

use std::io::Cursor;
use std::sync::Arc;

use serde_json::{Value, json};

use super::apart::{Asked, Pair, Source, Told, Wish, read_frame, serve, write_frame};
use super::{Compiled, Fault, Finished, Variables};

fn asked(content: &Value, wish: Wish, with: &[Value]) -> Asked {
    let source = Source { key: 7, content: content.to_string().into(), markups: Arc::default() };
    let pair = |own: &Value| Pair { shared: "{\"greeting\":\"Hello\"}".into(), own: own.to_string().into() };
    Asked { source, wish, with: with.iter().map(pair).collect() }
}

/// What the process apart answers to these, one after the other.
fn answers(questions: &[Asked]) -> Vec<Told> {
    let mut input = Vec::new();
    for question in questions {
        write_frame(&mut input, &serde_json::to_vec(question).expect("it can be written")).expect("it fits");
    }
    let (mut output, mut armed) = (Vec::new(), 0);
    serve(&mut Cursor::new(input), &mut output, || {
        armed += 1;
        Ok(())
    })
    .expect("its input ends");
    let mut output = Cursor::new(output);
    let mut told = Vec::new();
    while let Some(frame) = read_frame(&mut output).expect("whole frames") {
        told.push(serde_json::from_slice(&frame).expect("an answer"));
    }
    assert_eq!(told.len(), armed, "each answer has time of its own");
    told
}

#[test]
fn each_question_is_answered_for_each_recipient_in_their_order() {
    let content = json!({"text": "{{ greeting }} {{ name|upper }}"});
    let (ann, bo) = (json!({"name": "Ann"}), json!({"name": "Bo"}));
    let told = answers(&[
        asked(&content, Wish::Compile, &[json!({})]),
        asked(&content, Wish::Fill, &[ann, json!({}), bo]),
        asked(&content, Wish::Missing, &[json!({})]),
    ]);
    let [Told::Compiled { roots, .. }, first, Told::Unfilled(error), last, Told::Missing(missing)] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!(roots, &["greeting", "name"]);
    assert_eq!(first, &Told::Filled(json!({"text": "Hello ANN"})));
    assert_eq!(last, &Told::Filled(json!({"text": "Hello BO"})));
    assert_eq!((error.variable.as_deref(), missing.as_slice()), (Some("name"), &["name".to_owned()][..]));
}

#[test]
fn a_content_is_filled_the_same_here_and_apart() {
    for text in [
        "{{ name }} {{ yes }} {{ nothing }} {{ list|join(', ') }} {{ number / 2 }}",
        "{% for one in list %}{{ one }}{% if not loop.last %};{% endif %}{% endfor %}",
        "{$name} {{ map.key|default('none') }} {{ big }} {{ small }}",
    ] {
        let content = json!({"text": text, "html": text});
        let variables = json!({"name": "<A&n>", "yes": true, "nothing": null, "list": [1, "b", 2.5], "number": 7,
            "map": {"key": "k"}, "big": u64::MAX, "small": i64::MIN});
        let compiled = Finished::new(&content.to_string(), &[], &Default::default()).expect("it compiles");
        let variables = Variables::parse(&variables.to_string()).expect("an object");
        let none = Variables::default();
        let here = compiled.fill_here(&variables, &none).expect("it is plain").expect("it can be filled");
        let apart = compiled.fill_apart(&variables, &[&none]).pop().expect("one answer").expect("it can be filled");
        assert_eq!(here, apart, "{text}");
    }
}

#[test]
fn all_strings_of_a_content_share_one_budget() {
    let many = json!({"params": vec!["{{ 'a' * 600000 }}"; 900]});
    let compiled = Compiled::from_value(many).expect("each of them is allowed");
    let error = compiled.render(&Default::default(), &Default::default()).expect_err("all together are not");
    assert_eq!((error.fault, error.reason().code.as_str()), (Fault::Budget, "template_render"));
    let looping = json!({"params": vec!["{% for i in range(6000) %}{% endfor %}{{ missing }}"; 900]});
    let compiled = Compiled::from_value(looping).expect("each of them is allowed");
    assert_eq!(
        compiled.missing(&Default::default(), &Default::default()),
        Vec::<String>::new(),
        "nobody looks that long"
    );
}

#[test]
fn what_costs_more_than_others_should_wait_for_is_filled_apart() {
    let text = "{% for a in list %}{% for b in list %}{{ b }}{% endfor %}{% endfor %}";
    let compiled = Finished::new(&json!({"text": text}).to_string(), &[], &Default::default()).expect("it compiles");
    let list = |count: usize| {
        let list: Vec<usize> = (0..count).collect();
        Variables::parse(&json!({"list": list}).to_string()).expect("an object")
    };
    let none = Variables::default();
    assert!(compiled.fill_here(&list(10), &none).is_some_and(|filled| filled.is_ok()));
    assert!(compiled.fill_here(&list(501), &none).is_none(), "there is too much to look at");
    assert!(compiled.is_plain());
    assert!(compiled.fill_here(&list(120), &none).is_none(), "it turned out to cost too much");
    assert!(!compiled.is_plain() && compiled.fill_here(&list(10), &none).is_none(), "and is not tried here again");
    assert!(compiled.fill_with(&list(60), &none).is_ok(), "it may cost more apart");
}
