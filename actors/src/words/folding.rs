//! Folding: texts that look the same are the same. ASCII letters lose their case, full-width forms become ASCII.

/// What is compared instead of a character: `Ａ`, `A` and `a` are `a`, the ideographic space is a space.
fn fold_char(c: char) -> char {
    let narrow = match c {
        // Unicode, Halfwidth and Fullwidth Forms: U+FF01 to U+FF5E are U+0021 to U+007E, 0xFEE0 higher.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    };
    narrow.to_ascii_lowercase()
}

/// A text as it is compared.
pub(super) fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

/// A folded text that knows where its bytes come from.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) text: String,
    /// Where each character begins: in the folded text, and in the original. Empty if they begin at the same places.
    starts: Vec<(usize, usize)>,
    /// The length of the original.
    whole: usize,
}

impl Folded {
    pub(super) fn of(original: &str) -> Self {
        if original.is_ascii() {
            return Self { text: original.to_ascii_lowercase(), starts: Vec::new(), whole: original.len() };
        }
        let mut text = String::with_capacity(original.len());
        let mut starts = Vec::with_capacity(original.len() / 2);
        for (at, c) in original.char_indices() {
            starts.push((text.len(), at));
            text.push(fold_char(c));
        }
        Self { text, starts, whole: original.len() }
    }

    /// Where in the original the character stands that begins at `at`, or where the original ends.
    pub(super) fn origin(&self, at: usize) -> usize {
        if self.starts.is_empty() {
            return at.min(self.whole);
        }
        self.starts.binary_search_by_key(&at, |start| start.0).map_or(self.whole, |found| self.starts[found].1)
    }
}
