//! Values that a program of an older disk version wrote, brought to the form of today: log entries, machines, and rows of
//! the archive.

mod adapter;
mod shapes;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Read;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_contract::stable_hash;
use tidings_machine::Machine;
use tidings_machine::control::Control;
use tidings_machine::partition::{Ended, Event, Header, Partition};

use self::adapter::Older;
use self::shapes::Two;
use crate::codec::{self, CodecError};
use crate::host::HEADER;
use crate::store::DISK_VERSION;
use crate::types::GroupId;

/// The last disk version whose values have another form than today's.
const LAST_OLDER: u32 = 2;
const _: () = assert!(DISK_VERSION == LAST_OLDER + 1, "a new disk version needs its own table of shapes");

/// Where the count of commands stands in a payload.
const COUNT: std::ops::Range<usize> = HEADER - 4..HEADER;

/// The machine in `from`, which was written at disk version `version`. Lengths are trusted: verify the checksum before.
///
/// # Errors
/// The bytes are no such machine.
pub(crate) fn machine<M: Machine>(version: u32, from: &mut dyn Read) -> Result<M, CodecError> {
    if version > LAST_OLDER {
        return codec::read_from(from);
    }
    codec::read_from::<Older<Two, M>>(from).map(|older| older.0)
}

/// The payload of a log entry that was written at disk version `version`, as today's program writes it.
///
/// # Errors
/// The bytes are no such payload.
pub(crate) fn payload<M: Machine>(version: u32, payload: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    if version > LAST_OLDER {
        return Ok(Cow::Borrowed(payload));
    }
    let count = payload.get(COUNT).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes);
    let count = count.ok_or_else(|| CodecError::new("a batch shorter than its header"))?;
    let (header, mut commands) = payload.split_at(HEADER);
    let mut out = Vec::with_capacity(payload.len());
    out.extend_from_slice(header);
    for _ in 0..count {
        let command = codec::decode_next::<Older<Two, M::Command>>(&mut commands)?;
        codec::encode_behind(&command.0, &mut out)?;
    }
    if commands.is_empty() { Ok(Cow::Owned(out)) } else { Err(CodecError::new("bytes left over behind the commands")) }
}

/// The payload of an entry of the log of `group`; see [`payload`].
pub(crate) fn payload_of(version: u32, group: GroupId, bytes: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    match group {
        GroupId::Control => payload::<Control>(version, bytes),
        GroupId::Partition(_) => payload::<Partition>(version, bytes),
    }
}

/// A record of the archive that was written at disk version `version`: its key and its value as of today. Rows that are
/// not records, blocks and their lines, come back as they are.
///
/// # Errors
/// The value is no such record.
pub(crate) fn record(version: u32, key: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CodecError> {
    let same = || (key.to_vec(), value.to_vec());
    match key.first() {
        _ if version > LAST_OLDER => Ok(same()),
        Some(b'e') => Ok((key.to_vec(), again::<Ended>(value)?)),
        Some(b'h') => Ok((key.to_vec(), again::<Header>(value)?)),
        Some(b'a') => {
            let value = again::<Event>(value)?;
            // The name of an amendment ends in the hash of its value, so that a replay writes it over.
            let (name, _) = key.split_at(key.len().saturating_sub(8));
            Ok(([name, &stable_hash(&value).to_be_bytes()].concat(), value))
        }
        _ => Ok(same()),
    }
}

fn again<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec::encode(&codec::decode::<Older<Two, T>>(bytes)?.0)
}
