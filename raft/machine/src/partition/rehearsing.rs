//! What the rules of a further leg would say about a delivery that came there, for the dry run.
//!
//! Each is asked for itself: nothing is kept, and no two of the same dry run count against each other. Nobody knows when a
//! delivery will fall back, so these are the words of the moment they are asked for.

use tidings_contract::{DeliveryId, Time};

use super::legs::marks_of;
use super::quiet::Hush;
use super::suppressions::SUPPRESSION_LIST;
use super::{Finding, Partition, Ruling, Sheet};

fn finding(title: &str, ruling: Ruling, detail: String) -> Finding {
    Finding { title: title.to_owned(), ruling, detail }
}

impl Partition {
    /// What the home of an address says of leg `leg`, from 1, at `at`: the suppression list, then each frequency cap.
    pub fn rehearse_leg(&self, at: Time, sheet: &Sheet, leg: u8, to: &str) -> Vec<Finding> {
        let (now, channel) = (at.max(self.now), sheet.leg(leg).channel);
        let listed = match self.suppressions.find(to, channel, now) {
            Some(entry) => finding(SUPPRESSION_LIST, Ruling::Suppress, entry.told()),
            None => finding(SUPPRESSION_LIST, Ruling::Pass, "the address is not on the list".to_owned()),
        };
        let caps = sheet.rules.of_leg(leg).map(|rules| &rules.caps[..]).unwrap_or_default();
        let capped = marks_of(caps, (channel, sheet.message_type), to).map(|(cap, mark)| {
            let (ruling, told) = match self.room(cap, mark, now) {
                Ok(told) => (Ruling::Pass, told),
                Err(full) => (Ruling::Suppress, full),
            };
            finding(&cap.title, ruling, told)
        });
        std::iter::once(listed).chain(capped).collect()
    }
}

impl Sheet {
    /// What the quiet hours of leg `leg`, from 1, say about a delivery that wants to leave by it at `wanted`.
    pub fn rehearse_hours(&self, leg: u8, id: &DeliveryId, zone: Option<u8>, wanted: Time) -> Vec<Finding> {
        let hours = self.rules.hours(leg);
        let detail = format!("it would leave in quiet hours, at {wanted}");
        match hours.hush(zone, id, wanted, self.expires_at) {
            Hush::Drop { title } => vec![finding(title, Ruling::Suppress, detail)],
            Hush::Wait { title, due } => vec![finding(title, Ruling::Defer { until: due }, detail)],
            Hush::Free => {
                let detail = || format!("it would not leave in quiet hours, at {wanted}");
                hours.quiet.iter().map(|quiet| finding(&quiet.title, Ruling::Pass, detail())).collect()
            }
        }
    }
}
