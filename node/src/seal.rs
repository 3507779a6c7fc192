//! Seals the secrets of accounts: ChaCha20-Poly1305 (RFC 8439) under a key drawn from the cluster's secret (RFC 5869).

use std::collections::BTreeMap;
use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use tidings_contract::Secret;
use tidings_machine::control::Sealed;
use zeroize::Zeroizing;

/// The first byte of everything sealed: which scheme it was sealed with.
const VERSION: u8 = 1;
/// Bytes of a nonce.
const NONCE: usize = 12;

/// Seals and unseals. Every node of a cluster has the same one, because it has the same secret.
#[derive(Clone)]
pub(crate) struct Sealer(ChaCha20Poly1305);

/// What was sealed cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed secrets cannot be opened: another cluster secret, another account name, or damaged bytes")]
pub(crate) struct CannotUnseal;

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// The sealer of the cluster that has this secret.
    pub(crate) fn new(cluster_secret: &Secret) -> Self {
        let mut key = Zeroizing::new([0u8; 32]);
        // Expanding to 32 bytes cannot fail: RFC 5869 allows up to 255 hashes.
        let _ = Hkdf::<Sha256>::new(None, cluster_secret.expose().as_bytes()).expand(b"tidings seal v1", &mut *key);
        Self(ChaCha20Poly1305::new((&*key).into()))
    }

    /// Seals the secrets of `account`: version, nonce, ciphertext. They open only under the same account name.
    ///
    /// # Errors
    /// Never in practice: the cipher refuses only texts of many gigabytes.
    pub(crate) fn seal(&self, account: &str, secrets: &BTreeMap<String, Secret>) -> Result<Sealed, CannotUnseal> {
        let open: BTreeMap<&str, &str> = secrets.iter().map(|(name, s)| (name.as_str(), s.expose())).collect();
        let text = Zeroizing::new(serde_json::to_vec(&open).map_err(|_| CannotUnseal)?);
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: &text, aad: account.as_bytes() };
        let ciphertext = self.0.encrypt(&Nonce::from(nonce), payload).map_err(|_| CannotUnseal)?;
        let mut sealed = Vec::with_capacity(1 + NONCE + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(Sealed(sealed))
    }

    /// Opens what [`Sealer::seal`] sealed for `account`.
    ///
    /// # Errors
    /// [`CannotUnseal`] for another secret, another account, or bytes that were changed.
    pub(crate) fn unseal(&self, account: &str, sealed: &Sealed) -> Result<BTreeMap<String, Secret>, CannotUnseal> {
        let (version, rest) = sealed.0.split_first().ok_or(CannotUnseal)?;
        if *version != VERSION || rest.len() < NONCE {
            return Err(CannotUnseal);
        }
        let (nonce, ciphertext) = rest.split_at(NONCE);
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| CannotUnseal)?;
        let payload = Payload { msg: ciphertext, aad: account.as_bytes() };
        let text = Zeroizing::new(self.0.decrypt(&Nonce::from(nonce), payload).map_err(|_| CannotUnseal)?);
        serde_json::from_slice(&text).map_err(|_| CannotUnseal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> BTreeMap<String, Secret> {
        BTreeMap::from([("password".to_owned(), Secret::new("hunter2"))])
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_and_name_only() {
        let sealer = Sealer::new(&Secret::new("cluster secret"));
        let sealed = sealer.seal("mail", &secrets()).expect("small secrets can be sealed");
        assert!(!sealed.0.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(sealer.unseal("mail", &sealed).expect("same secret")["password"].expose(), "hunter2");
        assert!(sealer.unseal("other", &sealed).is_err());
        assert!(Sealer::new(&Secret::new("another")).unseal("mail", &sealed).is_err());
        for at in 0..sealed.0.len() {
            let mut bytes = sealed.clone();
            bytes.0[at] ^= 1;
            assert!(sealer.unseal("mail", &bytes).is_err(), "a changed byte {at} was not seen");
        }
    }

    #[test]
    fn the_same_secrets_never_look_the_same() {
        let sealer = Sealer::new(&Secret::new("cluster secret"));
        assert_ne!(sealer.seal("mail", &secrets()), sealer.seal("mail", &secrets()));
    }
}
