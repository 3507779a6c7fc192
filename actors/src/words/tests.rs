//! Words in texts and in content: what is found, what is masked, what is left alone.

use serde_json::{Value, json};

use super::{Dictionary, MOST_WORDS, WordError, check_word, find, mask};

fn dictionary(words: &[&str]) -> Dictionary {
    Dictionary::new(words.iter().copied()).expect("it can be compiled")
}

#[test]
fn words_are_masked_character_by_character_whatever_their_case_and_width() {
    for (words, text, masked, places) in [
        (&["bad"][..], "a bad word", "a *** word", 1),
        (&["bad"], "BAD, Bad and bAd", "***, *** and ***", 3),
        (&["bad"], "badly unbadged", "***ly un***ged", 2),
        (&["bad"], "b a d, b-ad", "b a d, b-ad", 0),
        (&["bad"], "", "", 0),
        (&["BAD"], "bad", "***", 1),
        (&["赌博"], "禁止赌博。赌 博", "禁止**。赌 博", 1),
        (&["赌博", "赌"], "赌赌博", "***", 2),
        (&["bad"], "ｂａｄ ＢＡＤ", "*** ***", 2),
        (&["ｂａｄ"], "bad", "***", 1),
        (&["两 个"], "两\u{3000}个", "***", 1),
        (&["a1!"], "Ａ１！", "***", 1),
        (&["ab", "abcd", "bc"], "abcde abc", "****e **c", 2),
        (&["abcx", "bc"], "abcd", "a**d", 1),
        (&["aa"], "aaa", "**a", 1),
        (&["é"], "É é", "É *", 1),
        (&["🙂"], "a🙂b", "a*b", 1),
        (&[" bad ", "", "  "], "bad bad", "*** ***", 2),
        (&[], "anything", "anything", 0),
        (&[".*", "a|b"], "a .* b a|b", "a ** b ***", 2),
    ] {
        let mut content = json!(text);
        let found = mask(&dictionary(words), &mut content);
        assert_eq!((content, found), (json!(masked), places), "{words:?} in {text:?}");
    }
}

#[test]
fn every_string_at_any_depth_is_looked_through_and_nothing_else() {
    let bad = dictionary(&["bad", "7", "true"]);
    let mut content = json!({
        "bad": "bad", "list": ["x", {"deep": ["so bad"]}], "n": 7, "yes": true, "none": null,
        "html": "<b>bad</b>",
    });
    assert_eq!(mask(&bad, &mut content), 3);
    let expected = json!({
        "bad": "***", "list": ["x", {"deep": ["so ***"]}], "n": 7, "yes": true, "none": null,
        "html": "<b>***</b>",
    });
    assert_eq!(content, expected);
}

#[test]
fn a_link_is_not_masked_but_a_text_with_one_is_and_both_are_found() {
    let bad = dictionary(&["bad"]);
    for (text, masked) in [
        ("https://bad.example.com/bad?x=bad", None),
        ("myapp://bad", None),
        ("see https://bad.example.com", Some("see https://***.example.com")),
        ("https://x.com/ bad", Some("https://x.com/ ***")),
        ("https://x.com/坏bad", Some("https://x.com/坏***")),
        ("://bad", Some("://***")),
        ("bad://", Some("***://")),
    ] {
        let mut content = json!({"url": text});
        let places = mask(&bad, &mut content);
        assert_eq!((content["url"].as_str(), places), (Some(masked.unwrap_or(text)), u32::from(masked.is_some())));
        assert!(find(&bad, &json!({"url": text})).is_some(), "{text}");
    }
}

#[test]
fn what_is_found_is_told_with_its_place_and_as_it_was_written() {
    let bad = dictionary(&["bad", "worse"]);
    for (content, expected) in [
        (json!({"text": "all is well"}), None),
        (json!({"text": "so ＢＡＤ"}), Some(("content.text", "ＢＡＤ"))),
        (json!({"a": 1, "card": {"rows": ["x", "Worse and bad"]}}), Some(("content.card.rows[1]", "Worse"))),
        (json!("bad"), Some(("content", "bad"))),
        (json!({"bad": null}), None),
        (Value::Null, None),
    ] {
        let found = find(&bad, &content);
        let found = found.as_ref().map(|found| (found.field.as_str(), found.word.as_str()));
        assert_eq!(found, expected, "{content}");
    }
}

#[test]
fn words_that_cannot_be_are_refused() {
    let long = "x".repeat(257);
    for (word, expected) in [
        ("bad", Ok(())),
        ("two words", Ok(())),
        ("", Err(WordError::Empty)),
        (" \u{3000}", Err(WordError::Empty)),
        ("a\nb", Err(WordError::Control)),
        (&long, Err(WordError::TooLong)),
        (&long[1..], Ok(())),
    ] {
        assert_eq!(check_word(word), expected, "{word:?}");
    }
    let many: Vec<String> = (0..=MOST_WORDS).map(|n| n.to_string()).collect();
    assert_eq!(Dictionary::new(many.iter().map(String::as_str)).err(), Some(WordError::TooMany));
    let twice = Dictionary::new(many[1..].iter().chain(&many[1..100]).map(String::as_str)).expect("it fits");
    assert_eq!(twice.words(), MOST_WORDS);
}
