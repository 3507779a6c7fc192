//! When a delivery is tried again: exponential waits with equal jitter, the provider's wish, and when to give up.

use tidings_contract::{DeliveryId, Time, stable_hash};

use super::{Delivery, RetryPolicy, Sheet};

/// Longest wait that a provider can ask for, in milliseconds, unless the policy's own longest wait is longer.
const LONGEST_WISH_MS: u64 = 3_600_000;

/// Whether there is a further attempt on the same leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Further {
    /// It is due then.
    Due(Time),
    /// The policy allows one, and the delivery will have expired by then.
    TooLate,
    /// The policy of its leg allows none.
    None,
}

/// When the next attempt after `delivery.attempts` of them is due.
///
/// The policy allows one if there were fewer than `max_attempts` on this leg, over all its accounts, and if the next would be
/// due no later than `give_up_after_ms` after the leg was due first.
pub(super) fn next_due(delivery: &Delivery, sheet: &Sheet, now: Time, after_ms: Option<u64>) -> Further {
    let policy = delivery.retry(sheet);
    let wait = wait_ms(policy, &delivery.id, delivery.attempts - before(delivery), after_ms);
    let due = now.after_ms(wait);
    match (allows(delivery, sheet, due), sheet.has_expired(due)) {
        (false, _) => Further::None,
        (true, true) => Further::TooLate,
        (true, false) => Further::Due(due),
    }
}

/// Whether the policy of the delivery's leg allows another attempt at `due`.
pub(super) fn allows(delivery: &Delivery, sheet: &Sheet, due: Time) -> bool {
    let policy = delivery.retry(sheet);
    let began = delivery.course.as_ref().and_then(|course| course.began).unwrap_or(delivery.first_due);
    let few = delivery.attempts - before(delivery) < policy.max_attempts.max(1);
    few && due <= began.after_ms(policy.give_up_after_ms)
}

/// Attempts before the delivery's leg.
fn before(delivery: &Delivery) -> u16 {
    delivery.course.as_ref().map_or(0, |course| course.before.min(delivery.attempts))
}

/// How long to wait after the attempt of that number (from 1), in milliseconds.
///
/// Half of the exponential wait is fixed and the other half is jitter, taken from a hash of the delivery and the attempt,
/// so that every replica gets the same. A provider's `after_ms` is a lower bound: where it is longer than the schedule's
/// wait it counts instead, with up to an eighth on top so that those who were sent away together do not come back
/// together, and never longer than an hour or the policy's longest wait, whichever is more.
fn wait_ms(policy: &RetryPolicy, id: &DeliveryId, attempt: u16, after_ms: Option<u64>) -> u64 {
    let chance = chance(id, attempt);
    let doublings = u32::from(attempt.saturating_sub(1)).min(63);
    let full = policy.first_ms.saturating_mul(1 << doublings).min(policy.longest_ms).max(1);
    let scheduled = full - full / 2 + chance % (full / 2 + 1);
    let Some(wish) = after_ms else { return scheduled };
    let spread = wish.saturating_add(chance % (wish / 8 + 1));
    scheduled.max(spread.min(policy.longest_ms.max(LONGEST_WISH_MS)))
}

/// A number that looks drawn by chance and is the same on every replica.
fn chance(id: &DeliveryId, attempt: u16) -> u64 {
    let mut bytes = [0; 23];
    bytes[..21].copy_from_slice(id.bytes());
    bytes[21..].copy_from_slice(&attempt.to_be_bytes());
    stable_hash(&bytes)
}

#[cfg(test)]
mod tests {
    use tidings_contract::{MessageId, PartitionId};

    use super::*;

    const POLICY: RetryPolicy =
        RetryPolicy { max_attempts: 12, first_ms: 1_000, longest_ms: 60_000, give_up_after_ms: 3_600_000 };

    fn delivery(n: u64) -> DeliveryId {
        DeliveryId::new(MessageId::new(Time(1), PartitionId(0), n), 0, PartitionId(0))
    }

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_jitter() {
        for (attempt, full) in [(1, 1_000), (2, 2_000), (3, 4_000), (6, 32_000), (7, 60_000), (u16::MAX, 60_000)] {
            let waits: Vec<u64> = (0..200).map(|n| wait_ms(&POLICY, &delivery(n), attempt, None)).collect();
            assert!(waits.iter().all(|wait| (full / 2..=full).contains(wait)), "attempt {attempt}: {waits:?}");
            let (least, most) = (waits.iter().min().copied(), waits.iter().max().copied());
            assert!(
                most.zip(least).is_some_and(|(most, least)| most - least > full / 3),
                "attempt {attempt} hardly varies"
            );
        }
    }

    #[test]
    fn a_providers_wish_is_a_lower_bound_within_reason() {
        for (wish, least, most) in
            [(0, 500, 1_000), (100, 500, 1_000), (30_000, 30_000, 33_750), (u64::MAX, LONGEST_WISH_MS, LONGEST_WISH_MS)]
        {
            let wait = wait_ms(&POLICY, &delivery(1), 1, Some(wish));
            assert!((least..=most).contains(&wait), "asked for {wish}, waits {wait}");
        }
        let patient = RetryPolicy { longest_ms: 2 * LONGEST_WISH_MS, ..POLICY };
        assert_eq!(wait_ms(&patient, &delivery(1), 1, Some(u64::MAX)), 2 * LONGEST_WISH_MS);
    }

    #[test]
    fn a_policy_of_zeros_still_waits_a_moment() {
        let zeros = RetryPolicy { max_attempts: 0, first_ms: 0, longest_ms: 0, give_up_after_ms: 0 };
        assert_eq!(wait_ms(&zeros, &delivery(1), 1, None), 1);
    }
}
