//! Escapes variables for the markup that is read in a text, so that none can add markup or mention anyone.

use minijinja::value::Value as Inner;
use minijinja::{AutoEscape, Output, State};
use tidings_contract::Markup;

/// An invisible break: what stands on its two sides is not read as one word.
const BREAK: char = '\u{200b}';

/// How the engine is told what to escape for, and back.
pub(super) fn mode(markup: Markup) -> AutoEscape {
    match markup {
        Markup::Plain => AutoEscape::None,
        Markup::Html => AutoEscape::Html,
        other => AutoEscape::Custom(other.name().into()),
    }
}

/// Prints a value where the engine escapes for one of the markups that it does not know itself; `false` elsewhere.
pub(super) fn print(
    out: &mut Output<'_>,
    state: &State<'_, '_>,
    value: &Inner,
) -> Option<Result<(), minijinja::Error>> {
    let AutoEscape::Custom(name) = state.auto_escape() else { return None };
    let markup = Markup::ALL.iter().copied().find(|markup| markup.name() == *name)?;
    let text = value.to_string();
    let text = if value.is_safe() { text } else { escape(markup, &text) };
    Some(out.write_str(&text).map_err(Into::into))
}

/// `text` as it must stand in that markup.
pub(super) fn escape(markup: Markup, text: &str) -> String {
    match markup {
        Markup::Plain => text.to_owned(),
        Markup::Html | Markup::SlackMrkdwn => entities(markup, text),
        Markup::Markdown => markdown(text),
        Markup::ChatMarkdown => lookalikes(text),
        Markup::TelegramMarkdownV2 => backslashes(text, r"_*[]()~`>#+-=|{}.!\"),
        Markup::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
        }
    }
}

/// Slack wants three signs escaped and shows the entities of others as they are.
fn entities(markup: Markup, text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' if markup == Markup::Html => escaped.push_str("&quot;"),
            '\'' if markup == Markup::Html => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn backslashes(text: &str, signs: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if signs.contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Backslashes before what can begin or end markup, and a break in what mentions everyone.
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\`*_[]()<>#|~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        if c == '@' {
            escaped.push(BREAK);
        }
    }
    escaped
}

/// Signs that look alike in the place of those that are markup. What URLs are made of stays as it is.
fn lookalikes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            escaped.push('\n');
        }
        // `# ` at the start of a line is a heading.
        let hashes = line.bytes().take_while(|b| *b == b'#').count();
        let heading = hashes > 0 && line[hashes..].starts_with([' ', '\t']);
        for (at, c) in line.char_indices() {
            escaped.push(match c {
                '#' if heading && at < hashes => '＃',
                '*' => '＊',
                '[' => '［',
                ']' => '］',
                '<' => '＜',
                '>' => '＞',
                '`' => '｀',
                '|' => '｜',
                c => c,
            });
        }
    }
    escaped
}
