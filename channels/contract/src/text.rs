//! What a text of a content is to its supplier: the markup that is read in it, and how long it may be.

use serde::Serialize;

/// The markup that a supplier reads in a text. Variables are escaped for it, so that none can add markup or mention anyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Markup {
    /// None: a text is a text.
    #[default]
    Plain,
    /// HTML, also the part of it that a chat understands.
    Html,
    /// Markdown with backslash escapes (CommonMark 0.31 §2.4), where `@everyone` in the text mentions everyone.
    Markdown,
    /// A chat's small markdown, or a text with tags such as `<@id>` in it, that knows no escapes: signs are put in the
    /// place of others that look like them.
    ChatMarkdown,
    /// Slack's mrkdwn: `&`, `<` and `>` are escaped (Slack: Formatting text for app surfaces).
    SlackMrkdwn,
    /// Telegram's MarkdownV2 (Telegram Bot API: MarkdownV2 style).
    TelegramMarkdownV2,
    /// JSON in a string.
    Json,
}

impl Markup {
    /// Every markup.
    pub const ALL: &[Self] = &[
        Self::Plain,
        Self::Html,
        Self::Markdown,
        Self::ChatMarkdown,
        Self::SlackMrkdwn,
        Self::TelegramMarkdownV2,
        Self::Json,
    ];

    /// Its name, as it is serialized.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Html => "html",
            Self::Markdown => "markdown",
            Self::ChatMarkdown => "chat_markdown",
            Self::SlackMrkdwn => "slack_mrkdwn",
            Self::TelegramMarkdownV2 => "telegram_markdown_v2",
            Self::Json => "json",
        }
    }
}

/// In what a supplier counts a text's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    /// Unicode characters (scalar values).
    Chars,
    /// Bytes of UTF-8.
    Bytes,
    /// UTF-16 code units.
    Utf16,
}

impl LengthUnit {
    /// How long `text` is.
    pub fn length(self, text: &str) -> usize {
        match self {
            Self::Chars => text.chars().count(),
            Self::Bytes => text.len(),
            Self::Utf16 => text.encode_utf16().count(),
        }
    }

    /// How much of it `c` is.
    pub const fn of(self, c: char) -> usize {
        match self {
            Self::Chars => 1,
            Self::Bytes => c.len_utf8(),
            Self::Utf16 => c.len_utf16(),
        }
    }
}

/// Longest text that a supplier takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TextLimit {
    /// The length.
    pub most: usize,
    /// In what it is counted.
    pub unit: LengthUnit,
    /// Whether the supplier can get the rest in further messages.
    pub split: bool,
}

/// A rule for the texts of one field of a channel's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TextRule {
    /// The field. The markup holds for every text in it; the limit only where the field itself is a text.
    pub field: &'static str,
    /// For which contents: another field and the values it may have. `None`: for all.
    pub when: Option<(&'static str, &'static [&'static str])>,
    /// The markup.
    pub markup: Markup,
    /// The limit, if the supplier names one.
    pub limit: Option<TextLimit>,
}

impl TextRule {
    /// Whether it holds for a content in which the field that it asks for has the value `value`.
    pub fn holds(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        self.when.is_none_or(|(field, values)| value(field).is_some_and(|value| values.contains(&value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_the_way_the_supplier_does() {
        for (text, chars, bytes, utf16) in [("hi", 2, 2, 2), ("你好", 2, 6, 2), ("😀", 1, 4, 2), ("", 0, 0, 0)] {
            let lengths = [LengthUnit::Chars, LengthUnit::Bytes, LengthUnit::Utf16].map(|unit| unit.length(text));
            assert_eq!(lengths, [chars, bytes, utf16], "{text}");
            let sum = text.chars().map(|c| LengthUnit::Utf16.of(c)).sum::<usize>();
            assert_eq!(sum, utf16);
        }
    }

    #[test]
    fn a_markup_is_called_in_code_as_it_is_in_json() {
        for markup in Markup::ALL {
            assert_eq!(serde_json::json!(markup), markup.name());
        }
    }
}
