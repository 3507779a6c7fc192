//! How a delivery is made on a leg whose recipient is its account (robots), where that account says so itself.
//!
//! All deliveries of a message share their sheet, but each robot is an account with a say of its own: what differs from the
//! sheet stands in the delivery. Fixed when it is accepted, like everything in the sheet.

use serde::{Deserialize, Serialize};

use super::{CallPolicy, Delivery, RetryPolicy, Sheet};

/// How a delivery is made on one leg, in place of what its sheet says of that leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Which leg, from 0.
    pub leg: u8,
    /// How the account is called.
    pub call: CallPolicy,
    /// When to try again.
    pub retry: RetryPolicy,
}

impl Delivery {
    fn own(&self) -> Option<&Own> {
        let leg = self.leg();
        self.own.iter().find(|own| own.leg == leg)
    }

    /// When to try again on the leg it is on.
    pub fn retry<'a>(&'a self, sheet: &'a Sheet) -> &'a RetryPolicy {
        self.own().map_or(sheet.leg(self.leg()).retry, |own| &own.retry)
    }

    /// How `account` is called on the leg it is on; `None` with sheets of older programs.
    pub fn call(&self, sheet: &Sheet, account: &str) -> Option<CallPolicy> {
        let way = sheet.leg(self.leg()).way?;
        Some(self.own().map_or_else(|| way.call(account), |own| own.call))
    }
}
