//! Sensitive words: dictionaries, and what they find in the content of one recipient. Pure; used by actors and by the edge.

mod content;
mod dictionary;
mod folding;
#[cfg(test)]
mod tests;

pub use crate::screen::{Barred as WordBarred, Reader, Screened, fields, screen};
pub(crate) use content::fields as fields_of;
pub use content::{Found, find, mask};
pub use dictionary::{Dictionary, MOST_BYTES, MOST_WORD_BYTES, MOST_WORDS, WordError, check_word};
