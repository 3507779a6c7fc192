//! Word lists: put in parts, referred to by versions, forgotten when no version does.

use tidings_contract::stable_hash;
use tidings_machine::control::{Action, Answer, Control, Policies, Policy, PolicySpec, Refusal, Selector};

use super::{ask, founded};

fn part(words: &str) -> u64 {
    stable_hash(words.as_bytes())
}

fn put_words(control: &mut Control, at: u64, words: &str) -> Answer {
    ask(control, at, Action::PutWords { words: words.to_owned() })
}

fn put_list(control: &mut Control, at: u64, parts: &[&str]) -> Answer {
    let spec = PolicySpec {
        kind: "words".to_owned(),
        selector: Selector::default(),
        spec: "{}".to_owned(),
        description: String::new(),
        parts: parts.iter().map(|words| part(words)).collect(),
    };
    ask(control, at, Action::PutPolicy { name: "bad".to_owned(), spec: Box::new(spec) })
}

fn words(control: &Control, version: u32) -> Option<(u32, Vec<&'static str>)> {
    let list = control.words_of("bad", version)?;
    let known = ["a", "b", "c", "d"];
    Some((list.version, list.words().filter_map(|word| known.into_iter().find(|known| *known == word)).collect()))
}

#[test]
fn a_version_has_the_words_of_its_parts_and_the_newest_stands_in_for_one_that_is_gone() {
    let mut control = founded();
    assert!(matches!(put_list(&mut control, 2_000, &["a\nb\n"]), Answer::Refused(Refusal::Invalid(_))));
    for words in ["a\nb\n", "c\n", "d\n"] {
        assert_eq!(put_words(&mut control, 2_000, words), Answer::Done);
        assert_eq!(put_words(&mut control, 2_000, words), Answer::Done, "the same again");
    }
    assert_eq!(put_list(&mut control, 2_001, &["a\nb\n", "c\n"]), Answer::Version(1));
    assert_eq!(put_list(&mut control, 2_001, &["a\nb\n", "c\n"]), Answer::Version(1), "nothing changed");
    assert_eq!(put_list(&mut control, 2_002, &["a\nb\n", "d\n"]), Answer::Version(2));
    assert_eq!(words(&control, 1), Some((1, vec!["a", "b", "c"])));
    assert_eq!(words(&control, 2), Some((2, vec!["a", "b", "d"])));
    assert_eq!(words(&control, 9), Some((2, vec!["a", "b", "d"])));
    assert_eq!(ask(&mut control, 2_003, Action::DeletePolicy { name: "bad".to_owned() }), Answer::Done);
    assert_eq!(words(&control, 1), Some((1, vec!["a", "b", "c"])), "messages under it are still on their way");
    assert_eq!(control.words_of("other", 1), None);
    let audited = control.audit.iter().filter(|entry| entry.action == "put_words").count();
    assert_eq!(audited, 0, "the policy is what is audited");
}

#[test]
fn parts_that_nobody_refers_to_are_forgotten_after_an_hour_and_all_together_are_bounded() {
    let mut control = founded();
    put_words(&mut control, 2_000, "a\n");
    for n in 0..=Policy::VERSIONS_KEPT {
        let words = format!("{n}\n");
        put_words(&mut control, 3_000, &words);
        put_list(&mut control, 3_000, &[&words]);
    }
    put_words(&mut control, 3_600_001, "b\n");
    assert!(control.words.contains_key(&part("a\n")) && control.words.contains_key(&part("0\n")));
    put_words(&mut control, 3_603_000, "b\n");
    let lost: Vec<bool> =
        ["a\n", "0\n", "1\n", "20\n", "b\n"].iter().map(|w| !control.words.contains_key(&part(w))).collect();
    assert_eq!(lost, [true, true, false, false, false]);
    let large = "x".repeat(Policies::MOST_BYTES);
    assert_eq!(
        put_words(&mut control, 3_700_000, &large),
        Answer::Refused(Refusal::TooMany(Policies::MOST_BYTES as u64))
    );
}
