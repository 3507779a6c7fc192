//! Splits a message into parts: recipients of one partition, small enough for one log entry.

use std::collections::BTreeMap;

use tidings_contract::{PartitionId, partition_of};
use tidings_machine::partition::{Recipient, Sheet};

/// Most recipients of a part.
const MAX_RECIPIENTS: usize = 500;
/// Most bytes of a part, the sheet included; an entry of the log holds a little more.
const MAX_BYTES: usize = 200_000;
/// What a recipient takes beside its texts, and a sheet beside its variables: generous, so that the bound holds.
///
/// They do not depend on the rules in force, so that a repeat is split as the first was whatever became of the policies: a
/// recipient carries at most 16 marks and one short verdict of a list, a sheet at most 3,000 spans and 50 titles.
const RECIPIENT_EXTRA: usize = 300;
const SHEET_EXTRA: usize = 44_000;
/// What the ways of a routed message may take: four legs of routes with their accounts and rules.
const WAYS_EXTRA: usize = 48 * 1_024;

/// Recipients of one partition.
#[derive(Debug)]
pub(crate) struct Part {
    /// The partition.
    pub partition: PartitionId,
    /// Which of the message's parts for this partition.
    pub number: u16,
    /// The recipients, in the order of the request.
    pub recipients: Vec<Recipient>,
}

#[derive(Default)]
struct Filling {
    number: u16,
    taken: usize,
    bytes: usize,
    recipients: Vec<Recipient>,
}

/// What the ways of a sheet take beside: by what they may take at most, so that a repeat is split the same way although
/// control has changed meanwhile.
fn ways_extra(sheet: &Sheet) -> usize {
    let routed = sheet.way.as_ref().is_some_and(|way| way.route.is_some());
    if routed || !sheet.legs.is_empty() { WAYS_EXTRA } else { 0 }
}

/// Splits `recipients` over `partitions` partitions. The same request is always split the same way: whoever is `absent`
/// now but may be there when the request is repeated keeps their place.
pub(crate) fn split(recipients: Vec<Recipient>, absent: Vec<Recipient>, partitions: u16, sheet: &Sheet) -> Vec<Part> {
    if let ([one], []) = (recipients.as_slice(), absent.as_slice()) {
        let partition = partition_of(&one.to, partitions);
        return vec![Part { partition, number: 0, recipients }];
    }
    let budget = MAX_BYTES.saturating_sub(SHEET_EXTRA + ways_extra(sheet) + sheet.variables.len());
    let mut filling: BTreeMap<PartitionId, Filling> = BTreeMap::new();
    let mut parts = Vec::new();
    let mut all: Vec<_> =
        recipients.into_iter().map(|r| (r, true)).chain(absent.into_iter().map(|r| (r, false))).collect();
    all.sort_by_key(|(recipient, _)| recipient.index);
    for (recipient, present) in all {
        let partition = partition_of(&recipient.to, partitions);
        let bytes = recipient.to.len()
            + recipient.variables.as_ref().map_or(0, String::len)
            + recipient.fallback.iter().flatten().map(|to| to.len() + 8).sum::<usize>()
            + RECIPIENT_EXTRA;
        let open = filling.entry(partition).or_default();
        if open.taken > 0 && (open.taken == MAX_RECIPIENTS || open.bytes + bytes > budget) {
            let next = Filling { number: open.number + 1, ..Filling::default() };
            parts.extend(std::mem::replace(open, next).part(partition));
        }
        open.taken += 1;
        open.bytes += bytes;
        if present {
            open.recipients.push(recipient);
        }
    }
    parts.extend(filling.into_iter().filter_map(|(partition, open)| open.part(partition)));
    parts
}

impl Filling {
    fn part(self, partition: PartitionId) -> Option<Part> {
        let Self { number, recipients, .. } = self;
        (!recipients.is_empty()).then_some(Part { partition, number, recipients })
    }
}

/// How many recipients each partition owns.
pub(crate) fn census(parts: &[Part]) -> Vec<(PartitionId, u16)> {
    let mut count: BTreeMap<PartitionId, u16> = BTreeMap::new();
    for part in parts {
        // A part has at most 500 recipients, a message at most 10,000.
        *count.entry(part.partition).or_default() += part.recipients.len() as u16;
    }
    count.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture;

    fn sheet(variables: usize) -> Sheet {
        Sheet { variables: "x".repeat(variables), ..fixture::sheet() }
    }

    fn recipients(range: std::ops::Range<u16>, variables: usize) -> Vec<Recipient> {
        let one = |index| Recipient {
            index,
            to: format!("user-{index}@example.com"),
            variables: Some("x".repeat(variables)),
            ..Recipient::default()
        };
        range.map(one).collect()
    }

    #[test]
    fn every_recipient_is_in_exactly_one_part_of_its_own_partition() {
        let parts = split(recipients(0..10_000, 10), vec![], 8, &sheet(10));
        let mut indexes: Vec<u16> = parts.iter().flat_map(|p| p.recipients.iter().map(|r| r.index)).collect();
        indexes.sort_unstable();
        assert_eq!(indexes, (0..10_000).collect::<Vec<_>>());
        for part in &parts {
            assert!(part.recipients.len() <= MAX_RECIPIENTS && !part.recipients.is_empty());
            assert!(part.recipients.iter().all(|r| partition_of(&r.to, 8) == part.partition));
        }
        let total: u16 = census(&parts).into_iter().map(|(_, count)| count).sum();
        assert_eq!(total, 10_000);
    }

    #[test]
    fn large_recipients_make_small_parts() {
        let parts = split(recipients(0..40, 60_000), vec![], 2, &sheet(60_000));
        assert!(
            parts.iter().all(|p| p.recipients.len() <= 2),
            "{:?}",
            parts.iter().map(|p| p.recipients.len()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn who_was_absent_before_changes_no_other_part() {
        let shape = |parts: Vec<Part>| -> Vec<(PartitionId, u16, Vec<u16>)> {
            let indexes = |p: &Part| p.recipients.iter().map(|r| r.index).filter(|i| i % 7 != 0).collect();
            parts.iter().map(|p| (p.partition, p.number, indexes(p))).collect()
        };
        let all = recipients(0..3_000, 10);
        let (absent, present): (Vec<_>, Vec<_>) = all.clone().into_iter().partition(|r| r.index % 7 == 0);
        assert_eq!(shape(split(present, absent, 2, &sheet(0))), shape(split(all, vec![], 2, &sheet(0))));
    }
}
