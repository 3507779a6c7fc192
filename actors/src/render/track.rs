//! Adds parameters to the links in a text, so that the site they lead to can tell where its visitors come from.

use tidings_contract::Markup;

/// Query parameters that show that the rest of the query is signed: such a link works only as it is.
const SIGNED: &[&str] = &[
    "sig",
    "sign",
    "hmac",
    "auth_key",
    "policy",
    "key-pair-id",
    "ossaccesskeyid",
    "googleaccessid",
    "awsaccesskeyid",
    "q-ak",
    "x-amz-credential",
    "x-amz-algorithm",
    "se",
    "upn",
    "hash",
];
/// What ends a link in a text, beside white space.
const ENDS: &str = "<>\"'`|\\^{}，。；！？、）】》」』“”‘’（【《「『…";

/// The text with `parameters` added to every http and https link: in HTML to those that are followed (`href`), in other
/// texts to every one.
pub(super) fn track(text: &str, markup: Markup, parameters: &[(String, String)]) -> String {
    if parameters.is_empty() {
        return text.to_owned();
    }
    if markup == Markup::Html { in_html(text, parameters) } else { in_text(text, parameters) }
}

fn in_text(text: &str, parameters: &[(String, String)]) -> String {
    let lower = text.to_ascii_lowercase();
    let mut tracked = String::with_capacity(text.len() + 64);
    let mut done = 0;
    while let Some(start) = next_link(&lower, done) {
        tracked.push_str(&text[done..start]);
        let link = link_at(&text[start..]);
        tracked.push_str(&with(link, parameters));
        done = start + link.len().max(1);
    }
    tracked.push_str(&text[done..]);
    tracked
}

/// Where the next link begins in a text in lower case. A scheme inside another word is none.
fn next_link(lower: &str, from: usize) -> Option<usize> {
    lower[from..].match_indices("http").map(|(at, _)| from + at).find(|at| {
        let scheme = ["http://", "https://"].iter().any(|scheme| lower[*at..].starts_with(scheme));
        let inside = lower[..*at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
        scheme && !inside
    })
}

/// The link that `text` begins with, without the punctuation that belongs to the sentence around it.
fn link_at(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || c.is_control() || ENDS.contains(c)).unwrap_or(text.len());
    let mut link = &text[..end];
    // A bracket that was not opened in the link closes one around it: `[look](https://…)`.
    for (open, close) in [('(', ')'), ('[', ']')] {
        let mut depth = 0_i32;
        let unopened = link.char_indices().find(|(_, c)| {
            depth += i32::from(*c == open) - i32::from(*c == close);
            depth < 0
        });
        link = unopened.map_or(link, |(at, _)| &link[..at]);
    }
    link.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_', '~'])
}

fn in_html(html: &str, parameters: &[(String, String)]) -> String {
    let lower = html.to_ascii_lowercase();
    let mut tracked = String::with_capacity(html.len() + 64);
    let mut done = 0;
    while let Some(found) = lower[done..].find("href") {
        let at = done + found + 4;
        let value = lower[at..].trim_start().strip_prefix('=').map(str::trim_start);
        let quoted = value.filter(|value| value.starts_with(['"', '\'']));
        let Some(value) = quoted else {
            tracked.push_str(&html[done..at]);
            done = at;
            continue;
        };
        let start = lower.len() - value.len() + 1;
        let length = value[1..].find(&value[..1]).unwrap_or(0);
        tracked.push_str(&html[done..start]);
        let link = &html[start..start + length];
        tracked.push_str(&with_entities(link, parameters));
        done = start + length;
    }
    tracked.push_str(&html[done..]);
    tracked
}

/// The value of an attribute holds entities: what is added is escaped, what is read is not.
fn with_entities(link: &str, parameters: &[(String, String)]) -> String {
    let plain = link.trim().replace("&amp;", "&").replace("&#38;", "&");
    if next_link(&plain.to_ascii_lowercase(), 0) != Some(0) {
        return link.to_owned();
    }
    let tracked = with(&plain, parameters);
    if tracked == plain { link.to_owned() } else { tracked.replace('&', "&amp;") }
}

/// The link with what it lacks of the parameters: before its fragment, never twice, and not when its query is signed.
fn with(link: &str, parameters: &[(String, String)]) -> String {
    let (address, fragment) = link.split_once('#').map_or((link, None), |(address, rest)| (address, Some(rest)));
    let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
    let host = path.split_once("://").map_or("", |(_, host)| host);
    let names: Vec<String> = query.unwrap_or_default().split('&').map(name).collect();
    let signed = |name: &String| name.contains("signature") || SIGNED.contains(&name.as_str());
    if host.trim_start_matches('/').is_empty() || names.iter().any(signed) {
        return link.to_owned();
    }
    let mut tracked = address.trim_end_matches(['?', '&']).to_owned();
    let mut any = query.is_some_and(|query| !query.is_empty());
    for (name, value) in parameters.iter().filter(|(name, _)| !names.contains(&name.to_ascii_lowercase())) {
        tracked.push(if any { '&' } else { '?' });
        tracked.push_str(&format!("{}={}", encoded(name), encoded(value)));
        any = true;
    }
    if let Some(fragment) = fragment {
        tracked.push('#');
        tracked.push_str(fragment);
    }
    tracked
}

fn name(pair: &str) -> String {
    pair.split('=').next().unwrap_or_default().to_ascii_lowercase()
}

/// Percent-encoding of everything but the unreserved (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(text: &str, markup: Markup) -> String {
        let parameters = [("from".to_owned(), "t&1".to_owned()), ("c".to_owned(), "春".to_owned())];
        track(text, markup, &parameters)
    }

    #[test]
    fn links_in_texts_get_the_parameters_where_they_belong() {
        let add = "from=t%261&c=%E6%98%A5";
        let cases = [
            ("no link at all, not even http or xhttp://a.b", None),
            ("see https://a.example.", Some(format!("see https://a.example?{add}."))),
            ("https://a.example/x?a=1", Some(format!("https://a.example/x?a=1&{add}"))),
            ("https://a.example/x?#top", Some(format!("https://a.example/x?{add}#top"))),
            ("(HTTPS://a.example/#/app?b=2)", Some(format!("(HTTPS://a.example/?{add}#/app?b=2)"))),
            ("[look](https://a.example/x_(y)) now", Some(format!("[look](https://a.example/x_(y)?{add}) now"))),
            ("<https://a.example|look>", Some(format!("<https://a.example?{add}|look>"))),
            ("查看https://a.example/订单，谢谢", Some(format!("查看https://a.example/订单?{add}，谢谢"))),
            ("https://a.example/?FROM=x", Some("https://a.example/?FROM=x&c=%E6%98%A5".to_owned())),
            ("https://a.example/?from=x&c=y#z", None),
            ("https://s.example/f?X-Amz-Signature=1&X-Amz-Date=2", None),
            ("https://s.example/f?Expires=1&OSSAccessKeyId=2&Signature=3", None),
            ("https://s.example/f?sign=abc", None),
            ("https://a.example/#sign=abc", Some(format!("https://a.example/?{add}#sign=abc"))),
            ("http://", None),
        ];
        for (text, expected) in cases {
            let expected = expected.unwrap_or_else(|| text.to_owned());
            assert_eq!(tracked(text, Markup::Plain), expected, "{text}");
            assert_eq!(tracked(&expected, Markup::Plain), expected, "twice is once");
        }
    }

    #[test]
    fn in_html_only_what_is_followed_is_touched() {
        let html = r#"<img src="https://a.example/i.png"><a HREF = 'https://a.example/?a=1&amp;b=2#x'>https://a.example</a><a href="mailto:a@b.example">m</a><a href=https://a.example>"#;
        let expected = r#"<img src="https://a.example/i.png"><a HREF = 'https://a.example/?a=1&amp;b=2&amp;from=t%261&amp;c=%E6%98%A5#x'>https://a.example</a><a href="mailto:a@b.example">m</a><a href=https://a.example>"#;
        assert_eq!(tracked(html, Markup::Html), expected);
        assert_eq!(tracked(expected, Markup::Html), expected, "twice is once");
        assert_eq!(track(html, Markup::Html, &[]), html);
    }
}
