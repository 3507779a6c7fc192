//! Looks at a string with placeholders before anything parses it: refuses what is too deep or too long to be parsed, and
//! says whether filling it is cheap whatever it is filled with.
//!
//! It reads signs one after the other and never recurses. *Plain* is a closed list: what is not on it is filled apart,
//! so a construct that the engine learns tomorrow is never taken for a cheap one.

/// Most signs (words, numbers, strings, operators) of one placeholder or tag. A parser goes one level deeper for a sign
/// at most, so this bounds its depth too.
const SIGNS: usize = 1_000;
/// Most `elif` of one string: the engine nests each into the one before.
const ELIFS: usize = 200;
/// Most signs of a placeholder or tag that counts as plain, and how deep its brackets, signs before a value and inline
/// `if` may nest.
const PLAIN_SIGNS: usize = 64;
const PLAIN_DEPTH: usize = 4;
/// Most open tags of a plain string, and most loops among them.
const PLAIN_TAGS: usize = 8;
/// Most `elif` of a plain string.
const PLAIN_ELIFS: usize = 16;

/// Filters whose cost and result grow no faster than what they are given, and that take no size.
const FILTERS: &[&str] = &[
    "abs",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lower",
    "round",
    "safe",
    "string",
    "title",
    "trim",
    "upper",
];
/// Tests that look at one value and go no deeper.
const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "even",
    "false",
    "float",
    "int",
    "integer",
    "iterable",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "undefined",
];
/// Words that are operators: what stands in a bracket behind one is no argument.
const OPERATORS: &[&str] = &["and", "else", "elif", "for", "if", "in", "is", "not", "or"];

/// What filling a string may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// At most so many instructions, unless it has loops; and no more bytes than its own and a few times those of its
    /// variables.
    Plain {
        /// About how many.
        steps: u64,
        /// Whether parts of it are filled more than once.
        loops: bool,
    },
    /// Nobody can tell.
    Unknown,
}

/// Why a string is not even parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooMuch {
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// What is too much.
    pub(super) detail: String,
}

/// What a string is.
///
/// # Errors
/// What of it is too much to be parsed.
pub(super) fn scan(source: &str) -> Result<Shape, TooMuch> {
    let mut scanner = Scanner { source, at: 0, plain: true, steps: 0, loops: false, elifs: 0, open: 0 };
    while scanner.next_tag()? {}
    let Scanner { plain, steps, loops, .. } = scanner;
    Ok(if plain { Shape::Plain { steps, loops } } else { Shape::Unknown })
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    plain: bool,
    steps: u64,
    loops: bool,
    elifs: usize,
    open: usize,
}

impl<'a> Scanner<'a> {
    /// Goes over the next placeholder, tag or comment; `false` when there is none.
    fn next_tag(&mut self) -> Result<bool, TooMuch> {
        let rest = &self.source[self.at..];
        let opens = |(at, _): &(usize, &str)| matches!(rest.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
        let Some((found, _)) = rest.match_indices('{').find(opens) else { return Ok(false) };
        let start = self.at + found;
        let kind = self.source.as_bytes()[start + 1];
        self.at = start + 2;
        if kind == b'#' {
            let end = self.source[self.at..].find("#}");
            self.at = end.map_or(self.source.len(), |end| self.at + end + 2);
            return Ok(true);
        }
        let close = if kind == b'{' { "}}" } else { "%}" };
        let signs = self.signs(start, close)?;
        self.steps += signs.len() as u64 + 2;
        if kind == b'{' {
            self.expression(&signs);
        } else {
            self.tag(start, &signs)?;
        }
        Ok(true)
    }

    /// The signs up to `close`.
    fn signs(&mut self, start: usize, close: &str) -> Result<Vec<Sign<'a>>, TooMuch> {
        let source = self.source;
        let mut signs = Vec::new();
        let mut closed = false;
        // A sign that trims blanks belongs to the bracket.
        if source[self.at..].starts_with(['-', '+']) {
            self.at += 1;
        }
        while self.at < source.len() {
            let rest = &source[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let Some(first) = trimmed.chars().next() else { break };
            if trimmed.starts_with(close) || first == '-' && trimmed[1..].starts_with(close) {
                self.at += close.len() + usize::from(first == '-');
                closed = true;
                break;
            }
            let (sign, length) = sign(trimmed, first);
            self.at += length;
            signs.push(sign);
            if signs.len() > SIGNS {
                let detail = format!("a placeholder or tag has more than {SIGNS} signs");
                return Err(TooMuch { at: start, detail });
            }
        }
        self.plain &= closed;
        Ok(signs)
    }

    fn tag(&mut self, start: usize, signs: &[Sign<'_>]) -> Result<(), TooMuch> {
        let word = match signs.first() {
            Some(Sign::Word(word)) => *word,
            _ => "",
        };
        match word {
            "if" => self.open += 1,
            "for" => {
                self.open += 1;
                self.loops = true;
                // `for … recursive` calls itself, and a filter on it is a comparison for each item.
                self.plain &= !signs[1..].iter().any(|sign| matches!(sign, Sign::Word("recursive" | "if")));
            }
            "elif" => self.elifs += 1,
            "endif" | "endfor" => self.open = self.open.saturating_sub(1),
            "else" => {}
            _ => self.plain = false,
        }
        if word == "raw" {
            self.skip_raw();
        }
        if self.elifs > ELIFS {
            return Err(TooMuch { at: start, detail: format!("there are more than {ELIFS} `elif`") });
        }
        self.plain &= self.open <= PLAIN_TAGS && self.elifs <= PLAIN_ELIFS;
        self.expression(signs.get(1..).unwrap_or_default());
        Ok(())
    }

    /// What stands between `raw` and `endraw` is text.
    fn skip_raw(&mut self) {
        let rest = &self.source[self.at..];
        let ends = |at: usize| rest[at + 2..].trim_start_matches(['-', '+']).trim_start().starts_with("endraw");
        let end = rest.match_indices("{%").map(|(at, _)| at).find(|at| ends(*at));
        self.at = end.map_or(self.source.len(), |end| self.at + end);
    }

    /// Judges whether an expression is plain.
    fn expression(&mut self, signs: &[Sign<'_>]) {
        let mut plain = signs.len() <= PLAIN_SIGNS;
        let (mut depth, mut chain, mut ternaries) = (0_usize, 0_usize, 0_usize);
        for (at, sign) in signs.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| signs.get(before));
            let next = signs.get(at + 1);
            plain &= match sign {
                Sign::Word(word) => {
                    ternaries += usize::from(*word == "if");
                    let called = matches!(next, Some(Sign::Other("(")));
                    match before {
                        Some(Sign::Other("|")) => FILTERS.contains(word),
                        Some(Sign::Word("is")) if *word != "not" => TESTS.contains(word),
                        Some(Sign::Word("not")) if at > 1 && matches!(signs[at - 2], Sign::Word("is")) => {
                            TESTS.contains(word)
                        }
                        _ => !called || OPERATORS.contains(word),
                    }
                }
                Sign::Literal => true,
                Sign::Other(other) => match *other {
                    "(" | "[" => {
                        depth += 1;
                        true
                    }
                    ")" | "]" => {
                        depth = depth.saturating_sub(1);
                        true
                    }
                    "." | "|" | "," | "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "+" | "-" | "/" | "//"
                    | "%" => true,
                    _ => false,
                },
            };
            // A call of anything but a filter: `x[0](…)`, `f(…)(…)`.
            let closed = matches!(before, Some(Sign::Other(")" | "]") | Sign::Literal));
            plain &= !(matches!(sign, Sign::Other("(")) && closed);
            chain = if matches!(sign, Sign::Other("-") | Sign::Word("not")) { chain + 1 } else { 0 };
            plain &= depth <= PLAIN_DEPTH && chain <= PLAIN_DEPTH && ternaries <= PLAIN_DEPTH;
        }
        self.plain &= plain;
    }
}

#[derive(Clone, Copy, Debug)]
enum Sign<'a> {
    Word(&'a str),
    /// A number, or a string without escapes.
    Literal,
    Other(&'a str),
}

/// The sign that `rest` begins with, and how long it is.
fn sign(rest: &str, first: char) -> (Sign<'_>, usize) {
    let while_in = |is: fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
    if first.is_ascii_alphabetic() || first == '_' {
        let end = while_in(|c| c.is_ascii_alphanumeric() || c == '_');
        return (Sign::Word(&rest[..end]), end);
    }
    if first.is_ascii_digit() {
        let end = while_in(|c| c.is_ascii_digit());
        let plain = end <= 18 && !rest[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        return (if plain { Sign::Literal } else { Sign::Other("number") }, end);
    }
    if first == '"' || first == '\'' {
        return text(rest, first);
    }
    let two = rest.get(..2).filter(|two| ["==", "!=", "<=", ">=", "//", "**"].contains(two));
    let end = two.map_or(first.len_utf8(), str::len);
    (Sign::Other(&rest[..end]), end)
}

fn text(rest: &str, quote: char) -> (Sign<'_>, usize) {
    let (mut escaped, mut simple) = (false, true);
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            (escaped, simple) = (true, false);
        } else if c == quote {
            return (if simple { Sign::Literal } else { Sign::Other("escape") }, at + 1);
        }
    }
    (Sign::Other("open string"), rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cheap_whatever_it_is_filled_with_is_told_from_what_nobody_can_tell() {
        for source in [
            "no placeholder at all",
            "{{ name }}, your code is {{code|default('none')}} {# not said #}",
            "{% if vip is defined and vip %}Dear {{ name | upper }}{% elif n == 3 %}x{% else %}y{% endif %}",
            "{%- for row in rows -%}{{ row.name }}: {{ row['price'] }}\n{%- endfor -%}",
            "{{ (a + b) / 2 }} {{ 'x' if a else 'y' }} {{ a not in ['a', 'b'] }} {{ a is not none }}",
            "{{ price|round(2) }} {{ names|join(', ') }} {{ a ~ '}}' ~ b }}",
        ] {
            assert!(matches!(scan(source), Ok(Shape::Plain { .. })), "{source}: {:?}", scan(source));
        }
        for source in [
            "{{ a * 2 }}",
            "{{ 2 ** n }}",
            "{{ x|tojson(indent=n) }}",
            "{{ x|indent(n) }}",
            "{{ range(n) }}",
            "{{ x[0](1) }}",
            "{{ (x)(1) }}",
            "{{ x.f() }}",
            "{{ x[1:2] }}",
            "{{ {'a': 1} }}",
            "{% set x = 1 %}",
            "{% macro m() %}{% endmacro %}",
            "{% for x in y recursive %}{{ loop(x) }}{% endfor %}",
            "{% for x in y if x == z %}{% endfor %}",
            "{% include 'x' %}",
            "{% block b %}{% endblock %}",
            "{% filter upper %}{% endfilter %}",
            "{% raw %}{{ x }}{% endraw %}",
            "{{ 'a\\x41' }}",
            "{{ x is divisibleby(3) }}",
            "{{ x|sort }}",
            "{{ x|map('upper') }}",
            "{{ not not not not not x }}",
            "{{ ((((( x ))))) }}",
            "{{ 姓名 }}",
            "{{ x",
            "{{ 'x",
        ] {
            assert_eq!(scan(source), Ok(Shape::Unknown), "{source}");
        }
    }

    #[test]
    fn what_is_too_deep_to_be_parsed_is_refused_where_it_begins() {
        for (open, sign, close) in [
            ("{{ ", "-", "1 }}"),
            ("{{ ", "not ", "1 }}"),
            ("{{ ", "(", "}}"),
            ("{{ a", "|e", " }}"),
            ("{{ a", ".b", " }}"),
            ("{{ a", "[0]", " }}"),
            ("{{ a", "()", " }}"),
            ("{{ 1", "+1", " }}"),
            ("{{ 1", " if 1", " }}"),
            ("{% if 1", " and 1", " %}{% endif %}"),
            ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
        ] {
            let source = format!("abc {open}{}{close}", sign.repeat(6_000));
            let error = scan(&source).expect_err(sign);
            assert!(error.at >= 4, "{sign}: {error:?}");
        }
    }

    #[test]
    fn every_text_can_be_looked_at() {
        let signs =
            ["{{", "}}", "{%", "%}", "{#", "#}", "'", "\"", "\\", "-", " ", "a", "1", "é", "raw", "endraw", "("];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(signs[(state >> 33) as usize % signs.len()]);
            }
            let _ = scan(&text);
        }
    }
}
