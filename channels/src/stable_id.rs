//! Ids made from a delivery's, for suppliers that take an idempotency id but not one of our form. The same delivery always
//! makes the same id, whatever the attempt, so that the supplier can drop a repeat.

use sha2::{Digest, Sha256};
use tidings_contract::DeliveryId;

/// 32 hexadecimal digits.
pub(crate) fn hex32(delivery: &DeliveryId) -> String {
    bytes(delivery).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UUID (RFC 9562, version 8).
pub(crate) fn uuid(delivery: &DeliveryId) -> String {
    let mut bytes = bytes(delivery);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn bytes(delivery: &DeliveryId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(delivery.bytes())[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId, Time};

    use super::*;

    #[test]
    fn one_delivery_has_one_id_of_each_form() {
        let [one, other] = [0, 1].map(|index| DeliveryId::new(MessageId::first_at(Time(1)), index, PartitionId(0)));
        assert_eq!(hex32(&one), hex32(&one));
        assert_ne!(hex32(&one), hex32(&other));
        assert_eq!(hex32(&one).len(), 32);
        let uuid = uuid(&one);
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}
