//! Deliveries that the process died of that filled their content: counted, and ended when it happened too often.
//!
//! Nothing of it stands in the log while all goes well. What was due when the partition's owner changed may be what the
//! owner before died of; so the new owner fills it apart, where it can kill nobody, and tells when it killed there.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Reason, planted};

use super::{Answer, Delivery, Hint, Partition, Record, Refusal, State, What};
use crate::Output;

/// So many deaths end a delivery. One may have had another cause: memory that ran out, an operator.
pub const MOST_DEATHS: u8 = 2;
/// How long a delivery waits after a death, in milliseconds.
const REST_MS: u64 = 1_000;
/// Most characters of how it died that are kept.
const HOW: usize = 200;

impl Partition {
    /// Whether its content must be filled where it can kill nobody.
    pub fn is_suspect(&self, delivery: &Delivery) -> bool {
        delivery.deaths > 0 || self.is_inherited(delivery)
    }

    /// Whether it was due when the present owner took over from another, which may have been attempting it.
    pub(super) fn is_inherited(&self, delivery: &Delivery) -> bool {
        // What was accepted in the very millisecond counts needlessly.
        delivery.accepted_at() <= self.taken_at && delivery.due <= self.taken_at
    }

    /// The owner tells that the process died that filled a delivery's content. It is tried once more a little later, and
    /// ends as `failed` when that happens again.
    pub(super) fn died(
        &mut self,
        id: DeliveryId,
        epoch: u64,
        how: &str,
        out: &mut Output<Hint, Record>,
    ) -> Result<Answer, Refusal> {
        self.about_to_leave(id, epoch)?;
        self.doubt(&id);
        let (mut delivery, sheet) = self.delivery(&id).ok_or(Refusal::NotPending)?;
        let how: String = how.chars().take(HOW).collect();
        let changed = Arc::make_mut(&mut delivery);
        changed.deaths = changed.deaths.saturating_add(u8::from(!planted("poison_not_counted")));
        let deaths = changed.deaths;
        changed.note(self.now, What::RenderingDied { deaths, how: how.clone() });
        // Not into quiet hours: they may drop what has its turn in them, and a death is no reason for that.
        let rested = self.now.after_ms(REST_MS);
        if !changed.is_hushed(&sheet, rested) {
            changed.due = rested;
        }
        if let Some(waiting) = self.pending.get_mut(&id) {
            waiting.delivery = Arc::clone(&delivery);
        }
        if deaths >= MOST_DEATHS {
            drop(delivery);
            return self.finish(id, State::Failed, Some(Reason::new("poisonous_content", how)), out);
        }
        out.hints.push(Hint::Due { delivery, sheet });
        Ok(Answer::Done(State::Pending))
    }
}
