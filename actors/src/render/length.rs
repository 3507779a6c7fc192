//! Texts that are longer than their supplier takes: refused, cut with a mark, or sent in parts, as the template wants it.

use tidings_contract::{LengthUnit, Markup, TextLimit};
use tidings_machine::control::TooLong;

/// What shows that a text was cut.
const MARK: char = '…';
/// Most messages that one text becomes.
const MOST_PARTS: usize = 10;

/// The text in the parts in which it can go out, usually one.
///
/// # Errors
/// Why it cannot go out.
pub(super) fn fit(text: &str, limit: TextLimit, markup: Markup, wish: TooLong) -> Result<Vec<String>, String> {
    let TextLimit { most, unit, split } = limit;
    let length = unit.length(text);
    if length <= most {
        return Ok(vec![text.to_owned()]);
    }
    let long = format!("is {length} {} long, {most} is the most that the supplier takes", words(unit));
    // A cut through a tag or behind a backslash would make the rest nonsense.
    let whole = matches!(markup, Markup::Html | Markup::TelegramMarkdownV2 | Markup::Json);
    match wish {
        TooLong::Refuse => Err(long),
        _ if whole => Err(format!("{long}, and {} cannot be cut", markup.name())),
        TooLong::Cut => {
            let (kept, _) = head(text, most.saturating_sub(unit.of(MARK)), unit);
            Ok(vec![format!("{}{MARK}", kept.trim_end())])
        }
        TooLong::Split if !split => Err(format!("{long}, and it cannot be sent in parts")),
        TooLong::Split => {
            let parts = parts(text, most, unit);
            if parts.len() > MOST_PARTS {
                return Err(format!("{long}, and it would need more than {MOST_PARTS} parts"));
            }
            Ok(parts)
        }
    }
}

const fn words(unit: LengthUnit) -> &'static str {
    match unit {
        LengthUnit::Chars => "characters",
        LengthUnit::Bytes => "bytes",
        LengthUnit::Utf16 => "UTF-16 units",
    }
}

/// As much of the beginning as `most` allows, and the rest.
fn head(text: &str, most: usize, unit: LengthUnit) -> (&str, &str) {
    let mut length = 0;
    let end = text.char_indices().find(|(_, c)| {
        length += unit.of(*c);
        length > most
    });
    text.split_at(end.map_or(text.len(), |(at, _)| at))
}

/// Parts that end at a line's end if there is one in their second half, or else behind a word.
fn parts(text: &str, most: usize, unit: LengthUnit) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while unit.length(rest) > most && parts.len() <= MOST_PARTS {
        let (fits, _) = head(rest, most, unit);
        let half = fits.len() / 2;
        let line = fits.rfind('\n').filter(|at| *at >= half);
        let end = line.or_else(|| fits.rfind([' ', '\t']).filter(|at| *at >= half)).unwrap_or(fits.len());
        // A limit is never smaller than one character.
        let end = if end == 0 { rest.chars().next().map_or(1, char::len_utf8) } else { end };
        parts.push(rest[..end].to_owned());
        rest = rest[end..].strip_prefix(['\n', ' ', '\t']).unwrap_or(&rest[end..]);
    }
    parts.push(rest.to_owned());
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: usize, unit: LengthUnit) -> TextLimit {
        TextLimit { most, unit, split: true }
    }

    #[test]
    fn a_text_that_is_too_long_goes_the_way_that_the_template_chose() {
        use LengthUnit::{Bytes, Chars, Utf16};
        use TooLong::{Cut, Refuse, Split};
        let cases = [
            ("hello", limit(5, Chars), Refuse, Ok(vec!["hello"])),
            ("hello!", limit(5, Chars), Refuse, Err("is 6 characters long, 5 is the most that the supplier takes")),
            ("hello!", limit(5, Chars), Cut, Ok(vec!["hell…"])),
            ("你好吗啊", limit(9, Bytes), Cut, Ok(vec!["你好…"])),
            ("你好吗啊", limit(10, Bytes), Cut, Ok(vec!["你好…"])),
            ("😀😀😀", limit(5, Utf16), Cut, Ok(vec!["😀😀…"])),
            ("😀😀😀", limit(4, Utf16), Split, Ok(vec!["😀😀", "😀"])),
            ("one two three", limit(8, Chars), Split, Ok(vec!["one two", "three"])),
            ("line one\nline two", limit(12, Chars), Split, Ok(vec!["line one", "line two"])),
            ("abcdefgh", limit(3, Chars), Split, Ok(vec!["abc", "def", "gh"])),
            (
                "abcdefghijklmnopqrstuvwxyzabcdefghijklm",
                limit(3, Chars),
                Split,
                Err(
                    "is 39 characters long, 3 is the most that the supplier takes, and it would need more than 10 parts",
                ),
            ),
            (
                "hello!",
                TextLimit { most: 5, unit: Chars, split: false },
                Split,
                Err("is 6 characters long, 5 is the most that the supplier takes, and it cannot be sent in parts"),
            ),
        ];
        for (text, limit, wish, expected) in cases {
            let expected = expected.map(|parts| parts.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            let fitted = fit(text, limit, Markup::Plain, wish);
            assert_eq!(fitted, expected, "{text} {wish:?}");
            for part in fitted.into_iter().flatten() {
                assert!(limit.unit.length(&part) <= limit.most, "{part}");
            }
        }
        let html = fit("<b>hello</b>", limit(5, Chars), Markup::Html, Cut);
        assert!(html.is_err_and(|detail| detail.ends_with("html cannot be cut")));
    }
}
