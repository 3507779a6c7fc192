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
use self::shapes::{Three, Two};
use crate::codec::{self, CodecError};
use crate::host::HEADER;
use crate::store::DISK_VERSION;
use crate::types::GroupId;

/// The last disk version whose values have another form than today's.
const LAST_OLDER: u32 = 3;
const _: () = assert!(DISK_VERSION == LAST_OLDER + 1, "a new disk version needs its own table of shapes");

/// Which structs values were written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Two,
    Three,
    Today,
}

impl Form {
    /// That of disk version `version`. Version 1 had the values of version 2.
    const fn of(version: u32) -> Self {
        match version {
            ..=2 => Self::Two,
            3 => Self::Three,
            _ => Self::Today,
        }
    }
}

/// Where the count of commands stands in a payload.
const COUNT: std::ops::Range<usize> = HEADER - 4..HEADER;

/// The machine in `from`, which was written at disk version `version`. Lengths are trusted: verify the checksum before.
///
/// # Errors
/// The bytes are no such machine.
pub(crate) fn machine<M: Machine>(version: u32, from: &mut dyn Read) -> Result<M, CodecError> {
    match Form::of(version) {
        Form::Two => codec::read_from::<Older<Two, M>>(from).map(|older| older.0),
        Form::Three => codec::read_from::<Older<Three, M>>(from).map(|older| older.0),
        Form::Today => codec::read_from(from),
    }
}

/// The payload of a log entry that was written at disk version `version`, as today's program writes it.
///
/// # Errors
/// The bytes are no such payload.
pub(crate) fn payload<M: Machine>(version: u32, payload: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    let form = Form::of(version);
    if form == Form::Today {
        return Ok(Cow::Borrowed(payload));
    }
    let count = payload.get(COUNT).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes);
    let count = count.ok_or_else(|| CodecError::new("a batch shorter than its header"))?;
    let (header, mut commands) = payload.split_at(HEADER);
    let mut out = Vec::with_capacity(payload.len());
    out.extend_from_slice(header);
    for _ in 0..count {
        codec::encode_behind(&next::<M::Command>(form, &mut commands)?, &mut out)?;
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
    let form = Form::of(version);
    match key.first() {
        _ if form == Form::Today => Ok(same()),
        Some(b'e') => Ok((key.to_vec(), again::<Ended>(form, value)?)),
        Some(b'h') => Ok((key.to_vec(), again::<Header>(form, value)?)),
        Some(b'a') => {
            let value = again::<Event>(form, value)?;
            // The name of an amendment ends in the hash of its value, so that a replay writes it over.
            let (name, _) = key.split_at(key.len().saturating_sub(8));
            Ok(([name, &stable_hash(&value).to_be_bytes()].concat(), value))
        }
        _ => Ok(same()),
    }
}

/// The value at the front of `bytes`, which is moved behind it.
fn next<T: DeserializeOwned>(form: Form, bytes: &mut &[u8]) -> Result<T, CodecError> {
    match form {
        Form::Two => codec::decode_next::<Older<Two, T>>(bytes).map(|older| older.0),
        Form::Three => codec::decode_next::<Older<Three, T>>(bytes).map(|older| older.0),
        Form::Today => codec::decode_next(bytes),
    }
}

fn again<T: DeserializeOwned + Serialize>(form: Form, mut bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let value = next::<T>(form, &mut bytes)?;
    if bytes.is_empty() { codec::encode(&value) } else { Err(CodecError::new("bytes left over behind a record")) }
}
