//! What an idempotency key and a dedup slot may answer, one call after the other.

use std::sync::Arc;

use super::check::Model;

/// An `Idempotency-Key`: the first call with it makes a message, every other one gets that message or is refused.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey;

/// A send with the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which body was sent.
    pub body: u8,
    /// What came back.
    pub came: Claimed,
}

/// What a send with a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This message, made by this very call.
    First(Arc<str>),
    /// This message, made by an earlier call.
    Again(Arc<str>),
    /// The key was used with another body.
    OtherBody,
    /// Nobody can tell: no answer, or one that does not say whether the key was claimed.
    Nothing,
}

impl Model for IdempotencyKey {
    /// The body the key was first used with, and the message it made, once some answer named that.
    type State = Option<(u8, Option<Arc<str>>)>;
    type Call = Claim;

    fn step(state: &Self::State, call: &Claim) -> Option<Self::State> {
        match (&call.came, state) {
            (Claimed::First(message), None) => Some(Some((call.body, Some(message.clone())))),
            (Claimed::First(_), Some(_)) => None,
            (Claimed::Again(message), Some((body, known))) => {
                let same = *body == call.body && known.as_ref().is_none_or(|known| known == message);
                same.then(|| Some((*body, Some(message.clone()))))
            }
            (Claimed::OtherBody, Some((body, _))) => (*body != call.body).then(|| state.clone()),
            (Claimed::Again(_) | Claimed::OtherBody, None) => None,
            (Claimed::Nothing, None) => Some(Some((call.body, None))),
            (Claimed::Nothing, Some(_)) => Some(state.clone()),
        }
    }
}

/// The dedup slot of one recipient and content, within its window, with a provider that takes everything.
#[derive(Clone, Copy, Debug)]
pub struct Slot;

/// A send of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCall {
    /// What came back.
    pub came: Taken,
}

/// What a send came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way: it has the slot.
    Sent,
    /// Another one has the slot.
    Suppressed,
    /// Nobody can tell.
    Nothing,
}

impl Model for Slot {
    /// Whether somebody has the slot.
    type State = bool;
    type Call = SlotCall;

    fn step(held: &bool, call: &SlotCall) -> Option<bool> {
        match call.came {
            Taken::Sent => (!held).then_some(true),
            Taken::Suppressed => held.then_some(true),
            Taken::Nothing => Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{Span, Verdict, check};
    use super::*;

    fn key(body: u8, came: Claimed, begun: u64, ended: u64) -> Span<Claim> {
        let lost = came == Claimed::Nothing;
        Span { call: Claim { body, came }, begun, ended: (!lost).then_some(ended) }
    }

    fn first(message: &str) -> Claimed {
        Claimed::First(message.into())
    }

    fn again(message: &str) -> Claimed {
        Claimed::Again(message.into())
    }

    fn keys(history: &[Span<Claim>]) -> bool {
        check::<IdempotencyKey>(history) == Verdict::Linear
    }

    #[test]
    fn one_message_for_a_key_is_accepted_in_whatever_order_the_answers_come() {
        assert!(keys(&[key(0, first("a"), 0, 9), key(0, again("a"), 1, 3), key(0, again("a"), 10, 11)]));
        assert!(keys(&[key(0, first("a"), 0, 9), key(1, Claimed::OtherBody, 1, 3)]));
        // An answer was lost, and the claim took effect all the same, sooner or later.
        assert!(keys(&[key(0, Claimed::Nothing, 0, 0), key(0, again("a"), 5, 6), key(1, Claimed::OtherBody, 7, 8)]));
        assert!(keys(&[key(1, Claimed::Nothing, 0, 0), key(0, first("a"), 5, 6), key(0, again("a"), 7, 8)]));
    }

    #[test]
    fn two_messages_for_a_key_are_rejected() {
        assert!(!keys(&[key(0, first("a"), 0, 1), key(0, first("b"), 2, 3)]));
        assert!(!keys(&[key(0, first("a"), 0, 9), key(0, first("b"), 0, 9)]), "not even at the same time");
        assert!(!keys(&[key(0, first("a"), 0, 1), key(0, again("b"), 2, 3)]));
        assert!(!keys(&[key(0, Claimed::Nothing, 0, 0), key(0, again("a"), 2, 3), key(0, again("b"), 4, 5)]));
    }

    #[test]
    fn a_repeat_before_the_first_and_a_body_that_is_not_another_are_rejected() {
        assert!(!keys(&[key(0, again("a"), 0, 1), key(0, first("a"), 2, 3)]));
        assert!(!keys(&[key(0, first("a"), 0, 1), key(1, again("a"), 2, 3)]), "another body got the message");
        assert!(!keys(&[key(0, first("a"), 0, 1), key(0, Claimed::OtherBody, 2, 3)]));
        assert!(!keys(&[key(1, Claimed::OtherBody, 0, 1), key(0, first("a"), 2, 3)]), "refused before it was used");
        assert!(
            !keys(&[key(0, again("a"), 0, 1), key(0, Claimed::Nothing, 2, 0)]),
            "lost answers do not work backwards"
        );
    }

    fn slot(came: Taken, begun: u64, ended: u64) -> Span<SlotCall> {
        Span { call: SlotCall { came }, begun, ended: (came != Taken::Nothing).then_some(ended) }
    }

    fn slots(history: &[Span<SlotCall>]) -> bool {
        check::<Slot>(history) == Verdict::Linear
    }

    #[test]
    fn one_of_many_sends_has_the_slot() {
        assert!(slots(&[slot(Taken::Suppressed, 0, 5), slot(Taken::Sent, 1, 9), slot(Taken::Suppressed, 10, 11)]));
        assert!(slots(&[slot(Taken::Nothing, 0, 0), slot(Taken::Suppressed, 3, 4), slot(Taken::Suppressed, 5, 6)]));
        assert!(slots(&[slot(Taken::Nothing, 0, 0), slot(Taken::Sent, 3, 4), slot(Taken::Suppressed, 5, 6)]));
    }

    #[test]
    fn two_with_the_slot_and_one_suppressed_by_nobody_are_rejected() {
        assert!(!slots(&[slot(Taken::Sent, 0, 5), slot(Taken::Sent, 0, 5)]));
        assert!(!slots(&[slot(Taken::Suppressed, 0, 1), slot(Taken::Sent, 2, 3)]));
        assert!(!slots(&[slot(Taken::Nothing, 0, 0), slot(Taken::Suppressed, 1, 2), slot(Taken::Sent, 3, 4)]));
    }
}
