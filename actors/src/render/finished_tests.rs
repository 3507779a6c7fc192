//! What becomes of variables, links and long texts on the way into a channel.

use serde_json::{Map, Value, json};
use tidings_contract::{LengthUnit, Markup, TextLimit, TextRule};
use tidings_machine::control::{Rendering, TooLong};

use super::escape::escape;
use super::{Finished, Unfit, Variables};

const fn rule(field: &'static str, types: &'static [&'static str], markup: Markup, limit: Option<usize>) -> TextRule {
    let limit = match limit {
        Some(most) => Some(TextLimit { most, unit: LengthUnit::Chars, split: true }),
        None => None,
    };
    TextRule { field, when: Some(("type", types)), markup, limit }
}

/// A channel whose `text` is plain or markdown by its type, and JSON in `card`.
static RULES: &[TextRule] = &[
    rule("text", &["text"], Markup::Plain, Some(20)),
    rule("text", &["markdown"], Markup::ChatMarkdown, Some(40)),
    TextRule { field: "card", when: None, markup: Markup::Json, limit: None },
    TextRule { field: "text", when: Some(("mode", &["v2"])), markup: Markup::TelegramMarkdownV2, limit: None },
];

fn finished(content: &Value, wishes: &Rendering) -> Finished {
    Finished::new(&content.to_string(), RULES, wishes).expect("it compiles")
}

fn render(content: &Value, wishes: &Rendering, variables: &Value) -> Result<Vec<Value>, Unfit> {
    let variables = variables.as_object().cloned().unwrap_or_default();
    finished(content, wishes).render_with(&Variables::new(&variables), &Variables::new(&Map::new()))
}

fn wishes(too_long: TooLong, track: &[(&str, &str)]) -> Rendering {
    let track = track.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Rendering { too_long, track: track.collect() }
}

#[test]
fn every_markup_is_closed_to_variables() {
    let cases = [
        (Markup::Plain, "<b>*x*</b>", "<b>*x*</b>"),
        (Markup::Html, "<a href='x'>\"&", "&lt;a href=&#x27;x&#x27;&gt;&quot;&amp;"),
        (Markup::SlackMrkdwn, "<!channel> <@U1> a&b 'x'", "&lt;!channel&gt; &lt;@U1&gt; a&amp;b 'x'"),
        (Markup::Markdown, "@everyone **x** [a](b)", "@\u{200b}everyone \\*\\*x\\*\\* \\[a\\]\\(b\\)"),
        (
            Markup::ChatMarkdown,
            "<@all> [a](https://b.example/x_y#z) **x** `c`\n## h\n#7",
            "＜@all＞ ［a］(https://b.example/x_y#z) ＊＊x＊＊ ｀c｀\n＃＃ h\n#7",
        ),
        (Markup::TelegramMarkdownV2, "a_b.c!\\-(1)", "a\\_b\\.c\\!\\\\\\-\\(1\\)"),
        (Markup::Json, "a\"b\\c\n\u{1}", "a\\\"b\\\\c\\n\\u0001"),
    ];
    assert_eq!(cases.map(|(markup, ..)| markup).as_slice().len(), Markup::ALL.len(), "one case each");
    for (markup, text, expected) in cases {
        assert_eq!(escape(markup, text), expected, "{markup:?}");
    }
}

#[test]
fn only_variables_are_escaped_and_only_where_the_markup_is_read() {
    let none = wishes(TooLong::Refuse, &[]);
    let evil = json!({"x": "**<@all>**", "kind": "markdown", "safe": "**ok**"});
    for (content, expected) in [
        (json!({"type": "text", "text": "**a** {{ x }}"}), json!({"type": "text", "text": "**a** **<@all>**"})),
        (
            json!({"type": "markdown", "text": "**a** {{ x }}"}),
            json!({"type": "markdown", "text": "**a** ＊＊＜@all＞＊＊"}),
        ),
        // Whether the markup is read is only known later: it is escaped.
        (json!({"type": "{{ kind }}", "text": "{{ x }}"}), json!({"type": "markdown", "text": "＊＊＜@all＞＊＊"})),
        // The template's author may trust a variable.
        (json!({"type": "markdown", "text": "{{ safe|safe }}"}), json!({"type": "markdown", "text": "**ok**"})),
        (json!({"type": "markdown", "text": "{$x}"}), json!({"type": "markdown", "text": "＊＊＜@all＞＊＊"})),
        (json!({"type": "text", "html": "{{ x }}"}), json!({"type": "text", "html": "**&lt;@all&gt;**"})),
        // Under a field with a markup everything is read as it, lists and objects too.
        (
            json!({"type": "text", "card": [{"a": "{\"k\": \"{{ q }}\"}", "b": true}]}),
            json!({"type": "text", "card": [{"a": "{\"k\": \"say \\\"hi\\\"\"}", "b": true}]}),
        ),
        (
            json!({"type": "text", "card": {"img_url": "https://a.example/{{ q }}"}}),
            json!({"type": "text", "card": {"img_url": "https://a.example/say \"hi\""}}),
        ),
        (
            json!({"type": "text", "mode": "v2", "text": "{{ n }}!"}),
            json!({"type": "text", "mode": "v2", "text": "1\\.5!"}),
        ),
    ] {
        let mut variables = evil.clone();
        (variables["q"], variables["n"]) = (json!("say \"hi\""), json!(1.5));
        assert_eq!(render(&content, &none, &variables), Ok(vec![expected]), "{content}");
    }
}

#[test]
fn a_long_text_is_refused_cut_or_sent_in_parts() {
    let content = json!({"type": "text", "text": "{{ x }}", "at_all": true, "title": "T"});
    let long = json!({"x": "one two three four five six"});
    let refused = render(&content, &wishes(TooLong::Refuse, &[]), &long).expect_err("it is too long");
    assert_eq!(refused.reason().code, "too_long");
    assert!(refused.to_string().starts_with("content.text is 27 characters long, 20 is the most"), "{refused}");
    assert_eq!(
        render(&content, &wishes(TooLong::Cut, &[]), &long),
        Ok(vec![json!({"type": "text", "text": "one two three four…", "at_all": true, "title": "T"})])
    );
    assert_eq!(
        render(&content, &wishes(TooLong::Split, &[]), &long),
        Ok(vec![
            json!({"type": "text", "text": "one two three four", "at_all": true, "title": "T"}),
            json!({"type": "text", "text": "five six", "title": "T"}),
        ])
    );
    // The limit is that of the type the content turns out to have.
    let markdown = json!({"type": "markdown", "text": "{{ x }}"});
    assert_eq!(render(&markdown, &wishes(TooLong::Refuse, &[]), &long).map(|parts| parts.len()), Ok(1));
    let lengths =
        finished(&markdown, &wishes(TooLong::Refuse, &[])).lengths(&json!({"type": "markdown", "text": "你好"}));
    assert_eq!((lengths[0].field.as_str(), lengths[0].length, lengths[0].limit.most), ("text", 2, 40));
}

#[test]
fn links_that_are_followed_get_the_parameters_and_those_count() {
    let track = wishes(TooLong::Refuse, &[("c", "{{ campaign }}")]);
    let content = json!({"type": "news", "text": "https://a.example", "url": "{{ link }}", "pic_url": "https://a.example/i.png",
        "links": [{"title": "T", "message_url": "https://a.example/m", "pic_url": "https://a.example/p"}],
        "attachments": [{"url": "https://a.example/f"}], "unsubscribe_url": "https://a.example/u", "n": 7});
    let variables = json!({"campaign": "spring sale", "link": "https://a.example/?a=1"});
    let add = "c=spring%20sale";
    assert_eq!(
        render(&content, &track, &variables),
        Ok(vec![
            json!({"type": "news", "text": format!("https://a.example?{add}"), "url": format!("https://a.example/?a=1&{add}"),
            "pic_url": "https://a.example/i.png",
            "links": [{"title": "T", "message_url": format!("https://a.example/m?{add}"), "pic_url": "https://a.example/p"}],
            "attachments": [{"url": "https://a.example/f"}], "unsubscribe_url": "https://a.example/u", "n": 7})
        ])
    );
    let compiled = finished(&content, &track);
    assert_eq!(compiled.variables().into_iter().collect::<Vec<_>>(), ["campaign", "link"]);
    let missing = compiled.missing_with(&Variables::default(), &Variables::default());
    assert_eq!(missing, ["link", "campaign"]);
    let short = json!({"type": "text", "text": "https://a.example/"});
    assert!(
        matches!(render(&short, &track, &variables), Err(Unfit::TooLong { .. })),
        "with the parameter it is too long"
    );
    let wrong = Finished::new("{}", RULES, &wishes(TooLong::Refuse, &[("c", "{{ x")])).expect_err("a syntax error");
    assert_eq!(wrong[0].field, "track.c");
}
