//! `words`: sensitive words, masked in what is sent or a reason not to send it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use tidings_actors::words::{MOST_BYTES, MOST_WORDS, check_word};
use tidings_contract::{FieldError, stable_hash};
use tidings_machine::control::{WordsChoice, WordsMode};
use tidings_machine::partition::WordRule;

use super::current::InForce;
use super::reading::{Wrong, read};
use super::{Active, Kind, Rule};

pub(super) const KIND: Kind = Kind {
    name: NAME,
    doc: "Looks for words in every text of the content; masks them with *, or does not send.",
    example: r#"{"mode": "mask", "words": ["a bad word", "another"]}"#,
    in_templates: false,
    read: |spec| Words::read(spec).map(Rule::Words),
};

/// The name of the kind.
pub(crate) const NAME: &str = "words";
/// About how many bytes of words a part holds; see [`pack`].
const PART_BYTES: usize = 32 * 1024;
/// Most bytes of a part: it must fit an entry of control's log.
const MOST_PART_BYTES: usize = 150_000;
/// Most words that are named as wrong.
const MOST_ERRORS: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: WordsMode,
    /// As it is put and shown.
    words: Option<Vec<String>>,
    /// As it is kept: the words are in parts beside it.
    count: Option<u64>,
}

/// What a word list is for. The words themselves stay in control.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// Whether a message with a word is not sent; else the words are masked.
    pub reject: bool,
}

impl Words {
    fn read(spec: &Value) -> Result<Self, Vec<FieldError>> {
        let Written { mode, words, count } = read(spec)?;
        let mut wrong = Wrong::default();
        if mode == WordsMode::Off {
            wrong.add("spec.mode", "must be `mask` or `reject`");
        }
        match (&words, count) {
            (Some(words), None) => check(words, &mut wrong),
            (None, Some(_)) => {}
            (None, None) => wrong.add("spec.words", "is required"),
            (Some(_), Some(_)) => wrong.add("spec.count", "is counted, not written"),
        }
        wrong.or(Self { reject: mode == WordsMode::Reject })
    }
}

fn check(words: &[String], wrong: &mut Wrong) {
    if words.is_empty() {
        wrong.add("spec.words", "must hold at least one word");
    }
    let bytes: usize = words.iter().map(String::len).sum();
    if words.len() > MOST_WORDS || bytes > MOST_BYTES {
        wrong.add("spec.words", format!("holds more than {MOST_WORDS} words or {MOST_BYTES} bytes"));
        return;
    }
    let bad = words.iter().enumerate().filter_map(|(n, word)| Some((n, check_word(word).err()?)));
    for (n, error) in bad.take(MOST_ERRORS) {
        wrong.add(format!("spec.words[{n}]"), error.to_string());
    }
}

/// What is kept of a spec that was checked: the spec without its words, and the words in parts, one a line. `None` if it
/// holds no words.
///
/// Which part a word is in follows from its hash, so that two versions of a long list share most of their parts.
pub(crate) fn pack(spec: &Value) -> Option<(Value, Vec<String>)> {
    let words = spec.get("words")?.as_array()?.iter().filter_map(Value::as_str);
    let words: BTreeSet<&str> = words.map(str::trim).collect();
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    let mut count = bytes.div_ceil(PART_BYTES).next_power_of_two();
    let parts = loop {
        let mut parts = vec![String::new(); count];
        for word in &words {
            let part = stable_hash(word.as_bytes()) % (count as u64);
            if let Some(part) = usize::try_from(part).ok().and_then(|part| parts.get_mut(part)) {
                part.push_str(word);
                part.push('\n');
            }
        }
        if parts.iter().all(|part| part.len() <= MOST_PART_BYTES) {
            break parts;
        }
        count *= 2;
    };
    let kept = json!({"mode": spec.get("mode")?, "count": words.len()});
    Some((kept, parts.into_iter().filter(|part| !part.is_empty()).collect()))
}

/// The spec as it was put, but for the order of its words.
pub(crate) fn unpack<'a>(kept: &Value, words: impl Iterator<Item = &'a str>) -> Value {
    let mut words: Vec<&str> = words.collect();
    words.sort_unstable();
    json!({"mode": kept.get("mode"), "words": words})
}

/// The dictionaries for a message that `selects` tells of, as its template chooses; those that reject come first.
pub(crate) fn choose(in_force: &InForce, choice: &WordsChoice, selects: impl Fn(&Active) -> bool) -> Vec<WordRule> {
    if choice.mode == Some(WordsMode::Off) {
        return Vec::new();
    }
    let rule = |active: &Active| {
        let Rule::Words(words) = &active.rule else { return None };
        let (policy, version) = active.edition()?;
        let wanted = if choice.policies.is_empty() {
            selects(active)
        } else {
            choice.policies.iter().any(|name| name == policy)
        };
        let reject = choice.mode.map_or(words.reject, |mode| mode == WordsMode::Reject);
        wanted.then(|| WordRule { policy: policy.to_owned(), version, reject })
    };
    let mut rules: Vec<WordRule> = in_force.all().filter_map(rule).collect();
    rules.sort_by_key(|rule| !rule.reject);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_put_whatever_its_length() {
        for count in [1_usize, 10, 5_000, 60_000] {
            let words: Vec<String> = (0..count).map(|n| format!("word number {n}")).collect();
            let spec = json!({"mode": "reject", "words": words});
            let (kept, parts) = pack(&spec).expect("it has words");
            assert!(Words::read(&kept).is_ok_and(|words| words.reject), "{kept}");
            assert_eq!(kept["count"], count);
            assert!(parts.iter().all(|part| part.len() <= MOST_PART_BYTES && !part.is_empty()));
            let mut sorted = words;
            sorted.sort_unstable();
            let shown = unpack(&kept, parts.iter().flat_map(|part| part.lines()));
            assert_eq!(shown, json!({"mode": "reject", "words": sorted}));
        }
    }

    #[test]
    fn another_word_changes_one_part_of_a_long_list() {
        let words: Vec<String> = (0..20_000).map(|n| format!("word number {n}")).collect();
        let (_, before) = pack(&json!({"mode": "mask", "words": words})).expect("it has words");
        let more: Vec<&str> = words.iter().map(String::as_str).chain(["another"]).collect();
        let (_, after) = pack(&json!({"mode": "mask", "words": more})).expect("it has words");
        assert!(before.len() >= 8);
        assert_eq!(after.iter().filter(|part| !before.contains(part)).count(), 1);
    }

    #[test]
    fn a_list_that_cannot_be_is_refused_with_the_path_of_the_word() {
        let long = "x".repeat(257);
        let many: Vec<String> = (0..=MOST_WORDS).map(|n| n.to_string()).collect();
        for (spec, field) in [
            (json!({"mode": "mask"}), "spec.words"),
            (json!({"mode": "mask", "words": []}), "spec.words"),
            (json!({"mode": "mask", "words": ["a", " "]}), "spec.words[1]"),
            (json!({"mode": "mask", "words": ["a", "b\nc"]}), "spec.words[1]"),
            (json!({"mode": "mask", "words": [long]}), "spec.words[0]"),
            (json!({"mode": "mask", "words": [7]}), "spec.words[0]"),
            (json!({"mode": "mask", "words": many}), "spec.words"),
            (json!({"mode": "mask", "words": ["a"], "count": 1}), "spec.count"),
            (json!({"mode": "off", "words": ["a"]}), "spec.mode"),
            (json!({"mode": "drop", "words": ["a"]}), "spec.mode"),
            (json!({"mode": "mask", "words": ["a"], "dict": 1}), "spec.dict"),
        ] {
            let errors = Words::read(&spec).expect_err(field);
            assert!(errors.iter().any(|error| error.field == field), "{field}: {errors:?}");
        }
    }

    #[test]
    fn a_template_chooses_which_words_and_what_becomes_of_them() {
        let active = |name: &str, reject: bool| Active {
            title: format!("words/{name}@3"),
            lasting: format!("words/{name}"),
            selector: Default::default(),
            rule: Rule::Words(Words { reject }),
        };
        let in_force = InForce::of(vec![active("mild", false), active("other", false), active("strict", true)]);
        let selects = |active: &Active| !active.title.contains("other");
        for (policies, mode, expected) in [
            (&[][..], None, &[("strict", true), ("mild", false)][..]),
            (&[], Some(WordsMode::Reject), &[("mild", true), ("strict", true)]),
            (&[], Some(WordsMode::Mask), &[("mild", false), ("strict", false)]),
            (&[], Some(WordsMode::Off), &[]),
            (&["other"], None, &[("other", false)]),
            (&["strict", "other"], Some(WordsMode::Mask), &[("other", false), ("strict", false)]),
            (&["other"], Some(WordsMode::Off), &[]),
            (&["gone"], None, &[]),
        ] {
            let choice = WordsChoice { policies: policies.iter().map(|name| (*name).to_owned()).collect(), mode };
            let rules = choose(&in_force, &choice, selects);
            let chosen: Vec<_> = rules.iter().map(|rule| (rule.policy.as_str(), rule.reject)).collect();
            assert_eq!(chosen, expected, "{choice:?}");
            assert!(rules.iter().all(|rule| rule.version == 3));
        }
    }
}
