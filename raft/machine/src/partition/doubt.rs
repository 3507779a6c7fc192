//! What was due when the partition's owner changed: the owner before may have attempted it and died with the record.
//!
//! An attempt that is not claimed before it is made (`on_unknown` other than `stop`) leaves no trace until its outcome is
//! kept. The new owner makes it again, as at-least-once asks. But where it does not come to that, because the delivery has
//! expired, is cancelled or is refused this time, nobody can say that it was not taken the time before. Such a delivery
//! says so in its trace and keeps its slots: of what may have arrived, caps and content dedup never let one more through.

use std::sync::Arc;

use tidings_contract::{DeliveryId, Reason};

use super::{Delivery, OnUnknown, Partition, State, What};

impl Partition {
    /// Notes a doubt before the present attempt of a delivery is settled, put off or given up.
    pub(super) fn doubt(&mut self, id: &DeliveryId) {
        let inherited = self.pending.get(id).is_some_and(|waiting| self.is_inherited(&waiting.delivery));
        let Some(waiting) = self.pending.get_mut(id) else { return };
        let Some(sheet) = self.sheets.get(&waiting.sheet) else { return };
        let delivery = &waiting.delivery;
        // What still waits for its leave was not attempted, and neither was what asks for a claim and has none.
        let unattempted = delivery.reserved || sheet.policy.on_unknown == OnUnknown::Stop;
        let noted = |what: &What| matches!(what, What::OwnerChanged { since } if *since == self.taken_at);
        if !inherited || unattempted || delivery.events.iter().any(|event| noted(&event.what)) {
            return;
        }
        let delivery = Arc::make_mut(&mut waiting.delivery);
        delivery.doubtful = true;
        delivery.note(self.now, What::OwnerChanged { since: self.taken_at });
    }
}

impl Delivery {
    /// Whether it may have arrived, whatever it ended as.
    pub(super) fn may_have_arrived(&self) -> bool {
        self.doubtful || matches!(self.state, State::Delivered | State::Unknown)
    }

    /// Why a delivery that ended without a word of the provider may have arrived all the same.
    pub(super) fn told_doubt(&self, state: State) -> Option<Reason> {
        let silent = matches!(state, State::Cancelled | State::Expired);
        (silent && self.doubtful).then(|| {
            let words =
                "its owner changed while it was due; an attempt before that may have been made without a record";
            Reason::new("owner_changed", words)
        })
    }
}
