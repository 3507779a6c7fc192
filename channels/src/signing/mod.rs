//! The signatures that suppliers want under a request, each with the supplier's own published example as its test.

mod acs3;
mod tc3;

pub(crate) use acs3::{Acs3, encoded};
pub(crate) use tc3::Tc3;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tidings_contract::Time;

/// HMAC-SHA256 of `text` under `key`.
pub(crate) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    // Keys of any length are taken, so there is no error to speak of.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// SHA-256 of `bytes` in lower case hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `at` in UTC, written by the pattern of `strftime`.
fn utc(at: Time, pattern: &str) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(String::new, |stamp| stamp.strftime(pattern).to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_sources_name_the_test_of_every_signature() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = fs::read_to_string(root.join("SOURCES.md")).expect("it is there");
        let (_, table) = sources.split_once("## Signatures").expect("a table of signatures");
        let rows: Vec<_> = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
        let rows = rows.iter().take_while(|line| line.starts_with('|'));
        let mut seen = 0;
        for row in rows {
            let named: Vec<_> = row.split('`').filter_map(|name| name.split_once("::")).collect();
            assert!(!named.is_empty(), "{row}");
            for (file, function) in named {
                let text = fs::read_to_string(root.join(file)).unwrap_or_default();
                assert!(text.contains(&format!("fn {function}()")), "{file}::{function}");
                seen += 1;
            }
        }
        assert!(seen >= 12, "{seen}");
    }
}
