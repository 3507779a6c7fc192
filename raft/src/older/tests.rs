//! Test structs as they were and as they have become, wherever a struct can stand.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adapter::Older;
use super::shapes::{Shapes, look_up, read};
use crate::codec;

/// The structs of this test as they were.
struct Then;

impl Shapes for Then {
    fn fields(name: &str, fields: &[&str]) -> Option<usize> {
        let table =
            read("Inner: id\nOuter: name inner last\nChoice::Named: inner size\nChoice::Other: size\nMoved: a b\n");
        look_up(&table, name, fields)
    }
}

mod then {
    use super::*;

    #[derive(Clone, Serialize)]
    pub(super) struct Inner {
        pub(super) id: u64,
    }

    #[derive(Clone, Serialize)]
    pub(super) struct Outer {
        pub(super) name: String,
        pub(super) inner: Inner,
        pub(super) last: Option<Inner>,
    }

    #[derive(Clone, Serialize)]
    pub(super) enum Choice {
        Plain,
        Alone(Inner),
        Pair(Inner, u8),
        Named { inner: Inner, size: u32 },
        Other { size: u32 },
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    id: u64,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default = "seven")]
    seven: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outer {
    name: String,
    inner: Inner,
    last: Option<Inner>,
    #[serde(default)]
    map: BTreeMap<String, Inner>,
    #[serde(default)]
    newest: Option<Fresh>,
}

/// Came later: it is in no older bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Fresh {
    a: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Plain,
    Alone(Inner),
    Pair(Inner, u8),
    Named {
        inner: Inner,
        size: u32,
        #[serde(default)]
        more: Option<u64>,
    },
    /// Has become what `Named` was, so that only its own name tells how much of it is there.
    Other {
        size: u32,
        #[serde(default)]
        inner: Vec<Inner>,
    },
    Later {
        a: u8,
    },
}

fn seven() -> u32 {
    7
}

fn inner(id: u64) -> Inner {
    Inner { id, words: Vec::new(), seven: 7 }
}

/// What `old` was is read as `expected`, with bytes behind it that must not be touched; and what today's program writes is
/// not read as older.
#[track_caller]
fn becomes<T: for<'de> Deserialize<'de> + PartialEq + Debug>(old: &impl Serialize, expected: &T) {
    let bytes = codec::encode(&(old, 4_711_u64)).expect("it has a binary form");
    let (value, mark): (T, u64) = codec::decode::<Older<Then, _>>(&bytes).expect("it is read").0;
    assert_eq!((&value, mark), (expected, 4_711));
    let read = codec::read_from::<Older<Then, (T, u64)>>(&mut bytes.as_slice()).expect("it is read in pieces");
    assert_eq!(read.0, (value, 4_711));
}

fn old(id: u64) -> then::Inner {
    then::Inner { id }
}

#[test]
fn a_struct_that_has_grown_is_read_and_the_new_fields_have_their_defaults() {
    becomes(&old(3), &inner(3));
    becomes(&Some(old(3)), &Some(inner(3)));
    becomes(&None::<then::Inner>, &None::<Inner>);
}

#[test]
fn it_is_read_wherever_it_stands() {
    becomes(&vec![old(1), old(2)], &vec![inner(1), inner(2)]);
    becomes(&Arc::new(old(1)), &Arc::new(inner(1)));
    becomes(&Box::new([old(1), old(2)]), &[inner(1), inner(2)]);
    becomes(&(old(1), "between", old(2)), &(inner(1), "between".to_owned(), inner(2)));
    let map = BTreeMap::from([(1_u8, vec![Some(old(1))]), (2, vec![None, Some(old(2))])]);
    becomes(&map, &BTreeMap::from([(1_u8, vec![Some(inner(1))]), (2, vec![None, Some(inner(2))])]));
    let outer = then::Outer { name: "o".into(), inner: old(1), last: Some(old(2)) };
    let expected =
        Outer { name: "o".into(), inner: inner(1), last: Some(inner(2)), map: BTreeMap::new(), newest: None };
    becomes(&vec![outer.clone(), outer], &vec![expected.clone(), expected]);
}

#[test]
fn variants_are_told_apart_by_their_names() {
    becomes(&then::Choice::Plain, &Choice::Plain);
    becomes(&then::Choice::Alone(old(1)), &Choice::Alone(inner(1)));
    becomes(&then::Choice::Pair(old(1), 2), &Choice::Pair(inner(1), 2));
    let named = then::Choice::Named { inner: old(1), size: 5 };
    becomes(&vec![named], &vec![Choice::Named { inner: inner(1), size: 5, more: None }]);
    becomes(&then::Choice::Other { size: 5 }, &Choice::Other { size: 5, inner: Vec::new() });
}

#[test]
fn a_field_that_was_moved_is_an_error_that_names_the_struct() {
    #[derive(Debug, Deserialize)]
    struct Moved {
        #[serde(default)]
        new: u8,
        a: u8,
        b: u8,
    }
    let bytes = codec::encode(&(1_u8, 2_u8)).expect("it has a binary form");
    let error = codec::decode::<Older<Then, Moved>>(&bytes)
        .map(|m| (m.0.new, m.0.a, m.0.b))
        .expect_err("it is not what it was");
    assert!(error.to_string().contains("Moved does not begin with the fields it had"), "{error}");
}

#[test]
fn a_field_without_a_default_is_an_error() {
    #[derive(Debug, Deserialize)]
    #[serde(rename = "Inner")]
    struct Undefaulted {
        id: u64,
        more: u8,
    }
    let bytes = codec::encode(&(1_u64, 2_u8)).expect("it has a binary form");
    assert!(codec::decode::<Older<Then, Undefaulted>>(&bytes).map(|m| (m.0.id, m.0.more)).is_err());
}
