//! Ids made from a delivery's, for suppliers that take an idempotency id but not one of our form. The same message of the
//! same delivery always makes the same id, whatever the attempt, so that the supplier can drop a repeat. The parts of a
//! long text are messages of their own.

use sha2::{Digest, Sha256};
use tidings_contract::Target;

/// 32 hexadecimal digits.
pub(crate) fn hex32(target: &Target) -> String {
    bytes(target).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UUID (RFC 9562, version 8).
pub(crate) fn uuid(target: &Target) -> String {
    let mut bytes = bytes(target);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn bytes(target: &Target) -> [u8; 16] {
    let mut hash = Sha256::new_with_prefix(target.delivery.bytes());
    if target.part > 0 {
        hash.update(target.part.to_be_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::testing::call;

    #[test]
    fn one_message_of_a_delivery_has_one_id_of_each_form_and_its_parts_have_others() {
        let targets = call(&["a", "b"], Value::Null).targets;
        let again = Target { attempt: 7, ..targets[0].clone() };
        assert_eq!((hex32(&targets[0]), uuid(&targets[0])), (hex32(&again), uuid(&again)));
        assert_eq!(targets[0].repeat_id(), targets[0].delivery.to_string());
        let parts = (0..10).flat_map(|part| targets.iter().map(move |target| Target { part, ..target.clone() }));
        let ids: BTreeSet<_> = parts.flat_map(|target| [hex32(&target), uuid(&target), target.repeat_id()]).collect();
        assert_eq!(ids.len(), 60, "{ids:?}");
        assert_eq!(hex32(&again).len(), 32);
        let uuid = uuid(&again);
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}
