//! The binary form of everything this crate keeps on disk or sends to peers: bincode 2 over serde, only here.

use std::io::{Read, Write};

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes one decoded value may claim. Bounds what a damaged or hostile length can make us allocate.
const LIMIT: usize = 64 << 20;

/// Bytes that are not what they should be, or a value that has no binary form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CodecError(String);

impl CodecError {
    /// An error with its own words.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

fn bounded() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    config::standard().with_limit::<LIMIT>()
}

fn broken(error: impl std::fmt::Display) -> CodecError {
    CodecError(error.to_string())
}

/// The binary form of `value`.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, config::standard()).map_err(broken)
}

/// Adds the binary form of `value` behind `bytes`.
pub(crate) fn encode_behind<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, bytes, config::standard()).map(drop).map_err(broken)
}

/// Reads a value and refuses bytes that are left over.
pub(crate) fn decode<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CodecError> {
    let value = decode_next(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(CodecError(format!("{} bytes left over", bytes.len()))) }
}

/// Reads a value and moves `bytes` behind it.
pub(crate) fn decode_next<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, bounded()).map_err(broken)?;
    *bytes = bytes.get(used..).unwrap_or_default();
    Ok(value)
}

/// Writes a value of any size piece by piece.
pub(crate) fn write_to<T: Serialize>(value: &T, mut out: &mut dyn Write) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, &mut out, config::standard()).map(drop).map_err(broken)
}

/// Reads a value of any size piece by piece. Only for bytes whose checksum was verified: lengths are trusted.
pub(crate) fn read_from<T: DeserializeOwned>(mut from: &mut dyn Read) -> Result<T, CodecError> {
    bincode::serde::decode_from_std_read(&mut from, config::standard()).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_leftovers_are_refused() {
        let value = (7_u64, "seven".to_owned(), vec![1_u8, 2, 3]);
        let mut bytes = encode(&value).expect("it has a binary form");
        assert_eq!(decode::<(u64, String, Vec<u8>)>(&bytes), Ok(value));
        bytes.push(0);
        assert!(decode::<(u64, String, Vec<u8>)>(&bytes).is_err());
    }

    #[test]
    fn a_hostile_length_is_refused_before_anything_is_allocated() {
        // A varint length of 2^62 followed by nothing.
        let mut bytes = vec![253_u8];
        bytes.extend_from_slice(&(1_u64 << 62).to_le_bytes());
        assert!(decode::<Vec<u8>>(&bytes).is_err());
    }
}
