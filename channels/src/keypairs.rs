//! Signatures with public keys: RSA (PKCS #1 v1.5) and ECDSA over P-256, both with SHA-256, and the JSON web tokens made
//! of them (RFC 7515, RFC 7519).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    UnparsedPublicKey,
};
use serde_json::Value;
use tidings_contract::Secret;

/// A private RSA key.
pub(crate) struct RsaKey(RsaKeyPair);

/// A public RSA key, as PKCS #1 wants it.
pub(crate) struct RsaPublicKey(Vec<u8>);

/// A private key on the curve P-256.
pub(crate) struct EcKey(EcdsaKeyPair);

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey(***)")
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPublicKey")
    }
}

impl fmt::Debug for EcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcKey(***)")
    }
}

impl RsaKey {
    /// Reads PKCS #8 or PKCS #1, as PEM or as its base64 alone; 2,048 bits and more.
    pub(crate) fn read(text: &Secret) -> Option<Self> {
        let der = der(text.expose())?;
        RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).ok().map(Self)
    }

    /// The signature of `message`. There is none only if the system gives no chance.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    }
}

impl RsaPublicKey {
    /// Reads a `SubjectPublicKeyInfo`, as PEM or as its base64 alone.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let der = der(text)?;
        let (info, _) = element(&der, 0x30)?;
        let (_, rest) = element(info, 0x30)?;
        let (bits, _) = element(rest, 0x03)?;
        // A bit string begins with the number of bits that do not count: none.
        let key = bits.strip_prefix(&[0])?;
        element(key, 0x30)?;
        Some(Self(key.to_vec()))
    }

    /// Whether `signature` is that of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0).verify(message, signature).is_ok()
    }
}

impl EcKey {
    /// Reads PKCS #8, as PEM or as its base64 alone.
    pub(crate) fn read(text: &Secret) -> Option<Self> {
        let der = der(text.expose())?;
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()).ok().map(Self)
    }

    /// The signature of `message`. There is none only if the system gives no chance.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.0.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
    }
}

/// A JSON web token in its compact form.
pub(crate) fn jwt(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Secret> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes())?);
    Some(Secret::new(format!("{message}.{signature}")))
}

/// The bytes of a PEM, or of its base64 alone.
fn der(text: &str) -> Option<Vec<u8>> {
    // In a JSON file the line breaks of a PEM may still be written out.
    let text = text.replace("\\n", "\n");
    let base64: String = text.lines().filter(|line| !line.contains("-----")).flat_map(str::split_whitespace).collect();
    STANDARD.decode(base64).ok().filter(|der| !der.is_empty())
}

/// The contents of the DER element of type `tag` at the beginning, and what follows it (X.690 §8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use ring::signature::ECDSA_P256_SHA256_FIXED;
    use serde_json::json;

    use super::*;
    use crate::golden_keys::{EC_PKCS8, EC_PUBLIC, RSA_PKCS1, RSA_PKCS8, RSA_PUBLIC};

    /// The payload of RFC 7515 A.2 and A.3, with its own line breaks.
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    #[test]
    fn the_example_of_rfc_7515_a_2_has_its_published_signature() {
        let published = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
            bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN\
            9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy\
            wlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let message = format!("{}.{PAYLOAD}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#));
        for text in [RSA_PKCS8, RSA_PKCS1] {
            let key = RsaKey::read(&Secret::new(text)).expect("a key");
            let signature = key.sign(message.as_bytes()).expect("a signature");
            assert_eq!(URL_SAFE_NO_PAD.encode(&signature), published);
            let public = RsaPublicKey::read(RSA_PUBLIC).expect("a key");
            assert!(public.verifies(message.as_bytes(), &signature));
            assert!(!public.verifies(b"another message", &signature));
        }
    }

    #[test]
    fn the_example_of_rfc_7515_a_3_verifies_as_our_own_signatures_do() {
        let published = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let public = STANDARD.decode(EC_PUBLIC).expect("base64");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        let message = format!("{}.{PAYLOAD}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#));
        let published = URL_SAFE_NO_PAD.decode(published).expect("base64");
        assert!(public.verify(message.as_bytes(), &published).is_ok());

        let key = EcKey::read(&Secret::new(EC_PKCS8)).expect("a key");
        let token = jwt(&json!({"alg": "ES256"}), &json!({"iss": "joe"}), |bytes| key.sign(bytes)).expect("a token");
        let (message, signature) = token.expose().rsplit_once('.').expect("three parts");
        assert_eq!(message, "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        assert!(public.verify(message.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn keys_are_read_from_pem_and_base64_and_nothing_else() {
        let pem = |name: &str, text: &str| format!("-----BEGIN {name}-----\n{text}\n-----END {name}-----\n");
        let broken = pem("PRIVATE KEY", RSA_PKCS8).replace('\n', "\\n");
        for text in [pem("PRIVATE KEY", RSA_PKCS8), pem("RSA PRIVATE KEY", RSA_PKCS1), broken] {
            assert!(RsaKey::read(&Secret::new(text.as_str())).is_some(), "{text}");
        }
        assert!(RsaPublicKey::read(&pem("PUBLIC KEY", RSA_PUBLIC)).is_some());
        for bad in ["", "hunter2", EC_PKCS8, RSA_PUBLIC] {
            assert!(RsaKey::read(&Secret::new(bad)).is_none(), "{bad}");
        }
        for bad in ["", "AAAA", "MAA=", "MIL/////", RSA_PKCS1] {
            assert!(RsaPublicKey::read(bad).is_none(), "{bad}");
        }
        assert!(EcKey::read(&Secret::new(RSA_PKCS8)).is_none());
    }
}
