//! Reads a field that a state of an older program does not have, where that state ends.

use serde::{Deserialize, Deserializer};

/// Reads what stands at the very end of a state; those of older programs end before it.
///
/// A snapshot is compared with its checksum before it is read, so an end that comes early is that of an older program.
pub(crate) fn absent_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(T::deserialize(deserializer).unwrap_or_default())
}
