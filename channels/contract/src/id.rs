//! Ids of messages and deliveries: opaque to callers, sorted by time, carrying the partition that knows them.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32HEX_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{PartitionId, Time};

/// One message a caller submitted. 16 bytes: 48 bits of milliseconds, 16 bits of home partition, 64 bits of chance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

/// One message to one recipient. 21 bytes: the message, the recipient's index in it, the partition, the generation.
///
/// The generation is 0 for what the caller submitted and one more for each redrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId([u8; 21]);

/// A text that is not an id of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0} id")]
pub struct BadId(&'static str);

impl MessageId {
    /// Makes an id from the time, the home partition and 64 random bits, all chosen by the edge.
    pub fn new(at: Time, home: PartitionId, chance: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&at.0.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&home.0.to_be_bytes());
        bytes[8..].copy_from_slice(&chance.to_be_bytes());
        Self(bytes)
    }

    /// The smallest id of that time: where a scan from `at` starts.
    pub fn first_at(at: Time) -> Self {
        Self::new(at, PartitionId(0), 0)
    }

    /// The time at which the edge accepted the message.
    pub fn time(&self) -> Time {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[..6]);
        Time(u64::from_be_bytes(bytes))
    }

    /// The partition that keeps the message's header.
    pub fn home(&self) -> PartitionId {
        PartitionId(u16::from_be_bytes([self.0[6], self.0[7]]))
    }

    /// The bytes; their order is the order of time.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the bytes back.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl DeliveryId {
    /// The delivery of `message` to the recipient at `index`, owned by `partition`.
    pub fn new(message: MessageId, index: u16, partition: PartitionId) -> Self {
        let mut bytes = [0; 21];
        bytes[..16].copy_from_slice(&message.0);
        bytes[16..18].copy_from_slice(&index.to_be_bytes());
        bytes[18..20].copy_from_slice(&partition.0.to_be_bytes());
        Self(bytes)
    }

    /// The message it belongs to.
    pub fn message(&self) -> MessageId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        MessageId(bytes)
    }

    /// The recipient's index in the request.
    pub fn index(&self) -> u16 {
        u16::from_be_bytes([self.0[16], self.0[17]])
    }

    /// The partition that owns it.
    pub fn partition(&self) -> PartitionId {
        PartitionId(u16::from_be_bytes([self.0[18], self.0[19]]))
    }

    /// How often it was redriven before.
    pub fn generation(&self) -> u8 {
        self.0[20]
    }

    /// The delivery that a redrive of this one makes; none after 255 of them.
    pub fn next_generation(&self) -> Option<Self> {
        let mut next = *self;
        next.0[20] = next.0[20].checked_add(1)?;
        Some(next)
    }

    /// The least id there is: where a walk over all of them begins.
    pub const LEAST: Self = Self([0; 21]);
    /// The greatest id there is.
    pub const GREATEST: Self = Self([0xff; 21]);

    /// The bytes; their order is the order of time, then of the index.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the bytes back.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

macro_rules! text_form {
    ($type:ident, $prefix:literal, $kind:literal, $len:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Base32hex keeps the order of the bytes; lower case reads better in a URL.
                f.write_str($prefix)?;
                f.write_str(&BASE32HEX_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let body = text.strip_prefix($prefix).ok_or(BadId($kind))?;
                let bytes = BASE32HEX_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_| BadId($kind))?;
                Self::from_bytes(&bytes).ok_or(BadId($kind))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                struct Bytes;
                impl serde::de::Visitor<'_> for Bytes {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($len, " bytes of a ", $kind, " id"))
                    }
                    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<$type, E> {
                        $type::from_bytes(bytes).ok_or_else(|| E::invalid_length(bytes.len(), &self))
                    }
                }
                deserializer.deserialize_bytes(Bytes)
            }
        }
    };
}

text_form!(MessageId, "msg_", "message", "16");
text_form!(DeliveryId, "dlv_", "delivery", "21");

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> MessageId {
        MessageId::new(Time(1_795_456_800_123), PartitionId(5), 0xfeed_beef)
    }

    #[test]
    fn an_id_gives_back_what_it_carries() {
        let delivery = DeliveryId::new(message(), 9_999, PartitionId(7));
        assert_eq!(message().time(), Time(1_795_456_800_123));
        assert_eq!(message().home(), PartitionId(5));
        assert_eq!((delivery.message(), delivery.index(), delivery.partition()), (message(), 9_999, PartitionId(7)));
        assert_eq!(delivery.next_generation().map(|d| d.generation()), Some(1));
    }

    #[test]
    fn the_text_form_round_trips_and_sorts_like_the_bytes() {
        let early = MessageId::new(Time(1), PartitionId(9), u64::MAX);
        let late = MessageId::new(Time(2), PartitionId(0), 0);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        let delivery = DeliveryId::new(late, 3, PartitionId(1));
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for bad in ["", "msg_", "dlv_00", "msg_zzzzzzzzzzzzzzzzzzzzzzzzzz", "64"] {
            assert!(bad.parse::<MessageId>().is_err(), "{bad} was accepted");
        }
    }
}
