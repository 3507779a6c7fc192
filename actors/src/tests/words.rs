//! Sensitive words on the way to a provider: masked or rejected, by which version, and what the trace tells.

use std::time::Duration;

use serde_json::json;
use tidings_machine::partition::{Rules, State, What, WordRule};
use tokio::time::sleep;

use super::{LONG, after, busy, delivered, world};
use crate::testing::{Spec, Step, World};

fn rule(policy: &str, version: u32, reject: bool) -> WordRule {
    WordRule { policy: policy.to_owned(), version, reject }
}

fn spec(name: &str, words: Vec<WordRule>) -> Spec {
    let rules = Rules { words, ..Rules::default() };
    Spec { variables: json!({"name": name}).to_string(), rules, ..Spec::default() }
}

/// Sends to one recipient; gives what the provider was told, how it ended, and what rules did to it.
async fn sent(world: &World, spec: &Spec) -> (Option<String>, State, Vec<What>) {
    let before = world.ledger.ended_count();
    let delivery = world.send(spec, 1)[0];
    world.until_ended(before + 1, LONG).await;
    let seen = world.channel.seen();
    let told = seen.iter().find(|seen| seen.delivery == delivery);
    let told = told.and_then(|seen| seen.content["text"].as_str().map(str::to_owned));
    let ended = world.ended(&delivery).expect("it ended").delivery;
    let ruled = |what: &What| matches!(what, What::Masked { .. } | What::Suppressed { .. });
    (told, ended.state, ended.events.into_iter().map(|event| event.what).filter(ruled).collect())
}

fn masked(attempt: u16, rule: &str, places: u32) -> What {
    What::Masked { attempt, rule: rule.to_owned(), places }
}

#[tokio::test(start_paused = true)]
async fn words_are_masked_or_a_reason_not_to_send_and_the_trace_names_the_rule() {
    let world = world(|_, _| Step::deliver()).await;
    world.words("bad", 3, &["bad", "worse"], 20);
    world.words("more", 1, &["ann"], 20);
    let suppressed = |rule: &str, word: &str| What::Suppressed {
        rule: rule.to_owned(),
        detail: format!("content.text holds `{word}`"),
    };
    for (name, rules, text, state, events) in [
        ("bad Ann", vec![], Some("Hi bad Ann"), State::Delivered, vec![]),
        ("Ann", vec![rule("bad", 3, false)], Some("Hi Ann"), State::Delivered, vec![]),
        (
            "ＢＡＤ and worse",
            vec![rule("bad", 3, false)],
            Some("Hi *** and *****"),
            State::Delivered,
            vec![masked(1, "words/bad@3", 2)],
        ),
        (
            "bad Ann",
            vec![rule("bad", 3, false), rule("more", 1, false)],
            Some("Hi *** ***"),
            State::Delivered,
            vec![masked(1, "words/bad@3", 1), masked(1, "words/more@1", 1)],
        ),
        ("so Bad", vec![rule("bad", 3, true)], None, State::Suppressed, vec![suppressed("words/bad@3", "Bad")]),
        (
            "bad Ann",
            vec![rule("bad", 3, false), rule("more", 1, true)],
            None,
            State::Suppressed,
            vec![suppressed("words/more@1", "Ann")],
        ),
    ] {
        // What is the same for all recipients is looked through once, what is not for each.
        for own in [None, Some("{}".to_owned()), Some(r#"{"x": 1}"#.to_owned())] {
            let spec = Spec { own, ..spec(name, rules.clone()) };
            assert_eq!(sent(&world, &spec).await, (text.map(str::to_owned), state, events.clone()), "{spec:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_masked_and_says_so() {
    let world = world(|_, target| after(1, if target.attempt == 1 { busy() } else { delivered() })).await;
    world.words("bad", 1, &["bad"], 20);
    let (_, state, events) = sent(&world, &spec("bad", vec![rule("bad", 1, false)])).await;
    assert_eq!((state, events), (State::Delivered, vec![masked(1, "words/bad@1", 1), masked(2, "words/bad@1", 1)]));
    assert!(world.channel.seen().iter().all(|seen| seen.content["text"] == "Hi ***"));
}

#[tokio::test(start_paused = true)]
async fn the_version_that_was_in_force_decides_and_the_newest_where_that_one_is_gone() {
    let world = world(|_, _| Step::deliver()).await;
    world.words("bad", 1, &["one"], 20);
    world.words("bad", 2, &["two"], 20);
    let text = spec("one two", vec![rule("bad", 1, false)]);
    assert_eq!(sent(&world, &text).await.2, [masked(1, "words/bad@1", 1)]);
    world.words("bad", 3, &["one", "two"], 1);
    let (told, _, events) = sent(&world, &text).await;
    assert_eq!((told.as_deref(), events), (Some("Hi *** ***"), vec![masked(1, "words/bad@3", 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_this_node_has_not_heard_of_is_waited_for() {
    let world = world(|_, _| Step::deliver()).await;
    let delivery = world.send(&spec("bad", vec![rule("bad", 1, false)]), 1)[0];
    sleep(Duration::from_secs(5)).await;
    assert_eq!((world.state(&delivery), world.channel.seen().len()), (State::Pending, 0));
    world.words("bad", 1, &["bad"], 20);
    world.until_ended(1, LONG).await;
    assert_eq!(world.state(&delivery), State::Delivered);
    let never = world.send(&spec("bad", vec![rule("other", 1, false)]), 1)[0];
    world.until_ended(2, LONG).await;
    assert_eq!(world.state(&never), State::Failed, "and not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_compiled_beside_and_does_not_hold_up_others() {
    let world = world(|_, _| Step::deliver()).await;
    let words: Vec<String> = (0..20_000).map(|n| format!("word{n:05}")).collect();
    world.words("long", 1, &words.iter().map(String::as_str).collect::<Vec<_>>(), 20);
    let (told, _, events) = sent(&world, &spec("word19999 word2", vec![rule("long", 1, false)])).await;
    assert_eq!((told.as_deref(), events), (Some("Hi ********* word2"), vec![masked(1, "words/long@1", 1)]));
}
