//! API keys as callers hold them: how they are made, what their hash and id are.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tidings_contract::Secret;
use zeroize::Zeroizing;

/// What every key begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "tdk_";
/// Bytes of chance in a key.
const CHANCE: usize = 32;

/// A new API key, the only time it can be seen.
pub(crate) struct Minted {
    /// `key_` and the first 12 hex digits of the hash.
    pub id: String,
    /// What callers send.
    pub key: Secret,
    /// What is kept: SHA-256 of the key.
    pub hash: [u8; 32],
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Minted({})", self.id)
    }
}

/// Draws a new key of 256 random bits.
pub(crate) fn mint() -> Minted {
    let chance = Zeroizing::new(rand::random::<[u8; CHANCE]>());
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*chance));
    let hash = hash(&text);
    Minted { id: id_of(&hash), key: Secret::new(text), hash }
}

/// The hash of a key. A fast one will do: 256 bits of chance cannot be guessed at any speed.
pub(crate) fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether `text` has the form of a key; what has not needs no look-up.
pub(crate) fn is_key(text: &str) -> bool {
    let body = text.strip_prefix(PREFIX).unwrap_or("");
    body.len() == 43 && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn id_of(hash: &[u8; 32]) -> String {
    format!("key_{}", HEXLOWER.encode(&hash[..6]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_has_the_form_and_is_known_by_its_hash() {
        let minted = mint();
        assert!(is_key(minted.key.expose()));
        assert_eq!(hash(minted.key.expose()), minted.hash);
        assert_eq!(minted.id.len(), "key_".len() + 12);
        assert_ne!(minted.hash, mint().hash);
        assert!(!is_key("tdk_short") && !is_key("sk_0000000000000000000000000000000000000000000"));
    }
}
