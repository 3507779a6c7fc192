//! What a recipient's URL names: the host and the path whose health counts, in one form however it was typed.

use sha2::{Digest, Sha256};
use tidings_machine::partition::{Endpoint, EndpointKey, Part};
use url::{Host, Url};

/// Longest text of an endpoint in a trace, in bytes.
const WORDS: usize = 300;

/// The endpoint that `address` names, if it is an `http` or `https` URL.
pub(crate) fn of(address: &str) -> Option<Endpoint> {
    let url = parse(address)?;
    let host = host(&url)?;
    Some(Endpoint { host: key(&host), url: key(&format!("{host}{}", url.path())) })
}

/// The unwell part of what `address` names, for the trace. No query and no user: they may hold what lets one in.
pub(crate) fn words(address: &str, part: Part) -> String {
    let named = parse(address).and_then(|url| {
        let host = host(&url)?;
        Some(if part == Part::Host { host } else { format!("{host}{}", url.path()) })
    });
    let mut words = named.unwrap_or_default();
    let end = (0..=WORDS.min(words.len())).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
    words.truncate(end);
    words
}

/// The part of an endpoint.
pub(crate) fn part(endpoint: &Endpoint, part: Part) -> EndpointKey {
    if part == Part::Host { endpoint.host } else { endpoint.url }
}

fn parse(address: &str) -> Option<Url> {
    // Most recipients are none: they are not parsed.
    let scheme = address.get(..5)?;
    scheme
        .eq_ignore_ascii_case("http:")
        .then_some(())
        .or_else(|| scheme.eq_ignore_ascii_case("https").then_some(()))?;
    Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// Scheme, host and port. The parser writes names in lower case and as A-labels, numbers in their usual form (WHATWG URL,
/// "Host parsing"); a name with a dot at its end is the same name (RFC 1034 §3.1).
fn host(url: &Url) -> Option<String> {
    let name = match url.host()? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_ipv4_mapped().map_or_else(|| format!("[{ip}]"), |ip| ip.to_string()),
    };
    Some(format!("{}://{name}:{}", url.scheme(), url.port_or_known_default()?))
}

fn key(text: &str) -> EndpointKey {
    let mut key = EndpointKey::default();
    key.copy_from_slice(&Sha256::digest(text)[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_has_one_name_however_it_is_typed() {
        let same = [
            ["http://Shop.Example/In", "HTTP://shop.example:80/In?a=b", "http://u:p@shop.example./In#x"],
            ["https://bücher.example/", "https://xn--bcher-kva.example:443", "https://BÜCHER.example/?q"],
            ["http://127.0.0.1:9/a", "http://2130706433:9/a", "http://[::ffff:7f00:1]:9/b/../a"],
            ["http://[2001:db8:0:0::1]/", "http://[2001:DB8::1]:80/", "http://[2001:0db8::0001]"],
        ];
        for [first, second, third] in same {
            assert!(of(first).is_some(), "{first}");
            assert_eq!((of(first), of(first)), (of(second), of(third)), "{first}");
        }
    }

    #[test]
    fn paths_of_one_host_are_told_apart_and_share_their_host() {
        let [one, two] = ["https://gateway.example/a", "https://gateway.example/b"].map(|url| of(url).expect("a URL"));
        assert_eq!(one.host, two.host);
        assert_ne!(one.url, two.url);
        for other in ["http://gateway.example/a", "https://gateway.example:8443/a", "https://gateway2.example/a"] {
            assert_ne!(of(other).map(|other| other.host), Some(one.host), "{other}");
        }
    }

    #[test]
    fn what_is_no_url_has_no_endpoint_and_words_hold_no_secret() {
        for address in ["+8613800138000", "ann@example.com", "ops", "https", "http:", "ftp://a.example/", "http://", ""]
        {
            assert_eq!(of(address), None, "{address}");
        }
        assert_eq!(words("https://u:p@a.example/x?sig=1", Part::Url), "https://a.example:443/x");
        assert_eq!(words("https://u:p@a.example/x?sig=1", Part::Host), "https://a.example:443");
    }
}
