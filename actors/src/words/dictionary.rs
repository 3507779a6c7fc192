//! A dictionary: words, compiled into one automaton that finds all of them in one pass.

use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::folding::{Folded, fold};

/// Most words of a dictionary.
pub const MOST_WORDS: usize = 100_000;
/// Most bytes of all its words together.
pub const MOST_BYTES: usize = 2 << 20;
/// Most bytes of a word.
pub const MOST_WORD_BYTES: usize = 256;

/// What is wrong with words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Nothing but space.
    #[error("is empty")]
    Empty,
    /// Nobody looks for that.
    #[error("is longer than {MOST_WORD_BYTES} bytes")]
    TooLong,
    /// A line break or the like.
    #[error("holds a control character")]
    Control,
    /// More than a dictionary holds.
    #[error("holds more than {MOST_WORDS} words or {MOST_BYTES} bytes")]
    TooMany,
    /// The automaton cannot be made.
    #[error("cannot be compiled: {0}")]
    Automaton(String),
}

/// Checks one word, without the space around it.
///
/// # Errors
/// What is wrong with it.
pub fn check_word(word: &str) -> Result<(), WordError> {
    if word.trim().is_empty() {
        return Err(WordError::Empty);
    }
    if word.len() > MOST_WORD_BYTES {
        return Err(WordError::TooLong);
    }
    if word.chars().any(char::is_control) { Err(WordError::Control) } else { Ok(()) }
}

/// A compiled dictionary. Finds words wherever they stand, also inside of others, the leftmost first and of those that
/// begin at one place the longest; upper and lower case of ASCII letters, and their full-width forms, are the same.
pub struct Dictionary {
    automaton: AhoCorasick,
    words: usize,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("words", &self.words).finish_non_exhaustive()
    }
}

impl Dictionary {
    /// Compiles words. One that stands there twice, or twice when folded, does no harm; empty ones find nothing.
    ///
    /// # Errors
    /// `TooMany` or `Automaton`.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, WordError> {
        let mut folded: Vec<String> =
            words.into_iter().map(str::trim).filter(|word| !word.is_empty()).map(fold).collect();
        folded.sort_unstable();
        folded.dedup();
        if folded.len() > MOST_WORDS || folded.iter().map(String::len).sum::<usize>() > MOST_BYTES {
            return Err(WordError::TooMany);
        }
        // A DFA over so many words would take hundreds of megabytes.
        let built = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(&folded);
        let automaton = built.map_err(|error| WordError::Automaton(error.to_string()))?;
        Ok(Self { automaton, words: folded.len() })
    }

    /// How many different words it has.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes of the automaton in memory.
    pub fn bytes(&self) -> usize {
        self.automaton.memory_usage()
    }

    /// Where in `text` the first word stands.
    pub(super) fn first(&self, text: &str) -> Option<Range<usize>> {
        let folded = Folded::of(text);
        let found = self.automaton.find(&folded.text)?;
        Some(folded.origin(found.start())..folded.origin(found.end()))
    }

    /// Where in `text` words stand, from left to right and apart from each other.
    pub(super) fn all(&self, text: &str) -> Vec<Range<usize>> {
        let folded = Folded::of(text);
        let found = self.automaton.find_iter(&folded.text);
        found.map(|found| folded.origin(found.start())..folded.origin(found.end())).collect()
    }
}
