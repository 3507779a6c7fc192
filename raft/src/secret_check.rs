//! A check value of the cluster's secret on the disk: whoever comes with another secret is told so at the start, and not by
//! everything sealed that does not open.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tidings_contract::Secret;

use crate::base::sled;

/// Under this name the disk keeps it: 16 bytes of salt, then 32 of HMAC-SHA256 (RFC 2104).
pub(crate) const KEY: &str = "secret_check";
const SALT: usize = 16;

/// What the disk says about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is the one.
    Fits,
    /// It is another one.
    Other,
    /// An older program wrote the directory, or the node is of no cluster yet.
    Unknown,
}

/// A check value of `secret`, with a salt of its own: two disks do not tell that they share a secret.
pub(crate) fn make(secret: &Secret) -> Vec<u8> {
    let salt: [u8; SALT] = rand::random();
    let mut kept = salt.to_vec();
    kept.extend_from_slice(&proof(secret, &salt));
    kept
}

/// Compares `secret` with what the disk keeps.
pub(crate) fn check(meta: &sled::Tree, secret: &Secret) -> Result<Checked, sled::Error> {
    let Some(kept) = meta.get(KEY)? else { return Ok(Checked::Unknown) };
    // What has been cut fits no secret.
    let (salt, mac) = kept.split_at(kept.len().min(SALT));
    Ok(if bool::from(mac.ct_eq(&proof(secret, salt))) { Checked::Fits } else { Checked::Other })
}

fn proof(secret: &Secret, salt: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so this never fails.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return [0; 32] };
    mac.update(b"tidings disk secret v1");
    mac.update(salt);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_value_knows_its_secret_and_no_other_and_does_not_show_it() {
        let db = sled::Config::new().temporary(true).open().expect("a database");
        let meta = db.open_tree("meta").expect("a tree");
        let (secret, other) =
            (Secret::new("a secret of at least sixteen bytes"), Secret::new("another of sixteen bytes"));
        assert_eq!(check(&meta, &secret).expect("readable"), Checked::Unknown);
        let kept = make(&secret);
        assert!(!kept.windows(8).any(|bytes| bytes == b"a secret"));
        assert_ne!(kept, make(&secret), "two disks do not tell that they share a secret");
        meta.insert(KEY, kept.clone()).expect("written");
        assert_eq!(check(&meta, &secret).expect("readable"), Checked::Fits);
        assert_eq!(check(&meta, &other).expect("readable"), Checked::Other);
        for length in 0..kept.len() {
            meta.insert(KEY, &kept[..length]).expect("written");
            assert_eq!(check(&meta, &secret).expect("readable"), Checked::Other, "{length} bytes of it");
        }
    }
}
