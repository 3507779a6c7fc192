//! What rendering promises, case by case.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Compiled;

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("a test gives objects") };
    map
}

fn compile(content: Value) -> Compiled {
    Compiled::from_value(content).expect("the content is right")
}

fn text(template: &str) -> Compiled {
    compile(json!({ "text": template }))
}

#[test]
fn placeholders_are_filled_in_any_string_at_any_depth() {
    let compiled = compile(json!({
        "text": "{{ name }}", "fixed": "no { braces }", "number": 5,
        "card": {"rows": ["{$name} owes {{ sum }}", {"deep": "{{ user.city }}"}, null, true]},
    }));
    let content = compiled.render(&map(json!({"name": "Ann", "sum": 12.5})), &map(json!({"user": {"city": "Ürümqi"}})));
    let wanted = json!({
        "text": "Ann", "fixed": "no { braces }", "number": 5,
        "card": {"rows": ["Ann owes 12.5", {"deep": "Ürümqi"}, null, true]},
    });
    assert_eq!(content, Ok(wanted));
}

#[test]
fn a_string_stays_a_string_whatever_fills_it() {
    for (value, wanted) in
        [(json!(5), "5"), (json!(true), "true"), (json!(u64::MAX), "18446744073709551615"), (json!(0.1), "0.1")]
    {
        let content = text("{{ x }}").render(&map(json!({"x": value})), &Map::new());
        assert_eq!(content, Ok(json!({"text": wanted})));
    }
}

#[test]
fn the_recipients_own_variables_win() {
    let content = text("{{ a }}{{ b }}").render(&map(json!({"a": 1, "b": 2})), &map(json!({"b": 3})));
    assert_eq!(content, Ok(json!({"text": "13"})));
}

#[test]
fn only_fields_named_html_are_escaped() {
    let compiled = compile(json!({"html": "<b>{{ x }}</b>", "text": "{{ x }}", "mail": {"html": ["{{ x }}"]}}));
    let content = compiled.render(&map(json!({"x": "<a&b>"})), &Map::new());
    let wanted = json!({"html": "<b>&lt;a&amp;b&gt;</b>", "text": "<a&b>", "mail": {"html": ["&lt;a&amp;b&gt;"]}});
    assert_eq!(content, Ok(wanted));
}

#[test]
fn line_ends_are_kept() {
    assert_eq!(text("{{ x }}\n").render(&map(json!({"x": 1})), &Map::new()), Ok(json!({"text": "1\n"})));
}

#[test]
fn required_variables_are_listed_and_optional_ones_are_not() {
    for (template, wanted) in [
        ("{{ a }} {{ b.c }} {$d}", vec!["a", "b", "d"]),
        ("{{ a | default('x') }}", vec![]),
        ("{% if a is defined %}{{ a }}{% endif %}{{ b }}", vec!["b"]),
        ("{% for x in list %}{{ x.name }}{% endfor %}", vec!["list"]),
        ("{{ price * 2 }}", vec!["price"]),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", vec![]),
    ] {
        let wanted: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
        assert_eq!(text(template).variables(), wanted, "{template}");
    }
}

#[test]
fn missing_variables_are_named_exactly_as_rendering_misses_them() {
    for (template, variables, wanted) in [
        ("{{ a }} {{ b }} {{ a }}", json!({}), vec!["a", "b"]),
        ("{{ a }} {{ b }}", json!({"a": 1, "b": null}), vec![]),
        ("{{ user.name }}", json!({"user": {}}), vec!["user.name"]),
        ("{{ user.name|upper }}", json!({}), vec!["user"]),
        ("{{ a | default('x') }}", json!({}), vec![]),
        ("{% if vip %}{{ level }}{% endif %}", json!({"vip": false}), vec![]),
        ("{% if vip %}{{ level }}{% endif %}", json!({"vip": true}), vec!["level"]),
        ("{{ a ~ b }}", json!({"a": "x"}), vec!["b"]),
    ] {
        assert_eq!(text(template).missing(&map(variables.clone()), &Map::new()), wanted, "{template} with {variables}");
        let rendered = text(template).render(&map(variables), &Map::new());
        assert_eq!(rendered.is_ok(), wanted.is_empty(), "{template}: {rendered:?}");
    }
}

#[test]
fn a_missing_variable_is_an_error_that_names_field_and_variable() {
    let compiled = compile(json!({"card": {"rows": ["x", "{{ code }}"]}}));
    let error = compiled.render(&Map::new(), &Map::new()).expect_err("code is missing");
    assert_eq!((error.field.as_str(), error.variable.as_deref()), ("content.card.rows[1]", Some("code")));
    assert_eq!(error.reason().code, "missing_variable");
}

#[test]
fn what_is_wrong_with_a_template_is_told_with_its_place() {
    for (template, line, column) in [
        ("{{ a", 1, 4),
        ("hello {$x} {{ | }}", 1, 15),
        ("line\n{$x} {{ a | nofilter }}", 2, 13),
        ("{{ a is notest }}", 1, 9),
        ("{{ nofunction(3) }}", 1, 4),
        ("{{ a.upper() }}", 1, 5),
        ("{% include 'x' %}", 1, 4),
    ] {
        let errors = Compiled::from_value(json!({"a": [template]})).expect_err("it is wrong");
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        assert_eq!(error.field, "content.a[0]");
        assert_eq!((error.line, error.column), (line, column), "{template}: {error}");
    }
}

#[test]
fn every_wrong_string_is_told_at_once() {
    let errors = Compiled::from_value(json!({"a": "{{", "b": "{{ x }}", "c": "{% if %}"})).expect_err("two are wrong");
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["content.a", "content.c"]);
}

#[test]
fn a_template_can_neither_run_for_ever_nor_fill_the_memory() {
    let doubling =
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    for template in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 99999999 }}",
        doubling,
        "{{ 'a' | center(999999999) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ] {
        let filled = Compiled::from_value(json!({ "text": template })).map(|c| c.render(&Map::new(), &Map::new()));
        assert!(!matches!(filled, Ok(Ok(_))), "{template} was filled");
    }
}

#[test]
fn a_content_that_is_too_long_is_refused() {
    assert!(Compiled::new(&json!({"text": "x".repeat(300_000)}).to_string()).is_err());
    assert!(Compiled::new("{not json").is_err());
}

#[test]
fn content_without_placeholders_needs_nothing() {
    let compiled = text("plain");
    assert!(compiled.is_fixed());
    assert_eq!(compiled.render(&Map::new(), &Map::new()), Ok(json!({"text": "plain"})));
}
