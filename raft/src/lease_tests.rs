//! What answers prove about the time in which nobody else is elected.

use std::collections::BTreeSet;

use openraft::{CommittedLeaderId, Membership};

use super::*;
use crate::types::LogId;

/// The sets of voters of a configuration.
type Voters = &'static [&'static [u64]];
/// Who said yes, and to what that was sent when.
type Answers = &'static [(u64, u64)];

const ME: u64 = 1;
const ELECTION_MAX_MS: u64 = 1_200;
/// 1,200 ms less a tenth.
const LASTS: u64 = 1_080 * 1_000_000;

fn vote(term: u64) -> Vote {
    Vote::new_committed(term, ME)
}

fn members(index: u64, configs: &[&[u64]]) -> Entry {
    let configs: Vec<BTreeSet<u64>> = configs.iter().map(|voters| voters.iter().copied().collect()).collect();
    let log_id = LogId::new(CommittedLeaderId::new(1, ME), index);
    Entry { log_id, payload: EntryPayload::Membership(Membership::new(configs, None)) }
}

/// A group with these voters, led in term 3.
fn led(configs: &[&[u64]]) -> Arc<Lease> {
    let lease = Lease::new(ME, ELECTION_MAX_MS);
    lease.sending(&vote(3), &[members(7, configs)]);
    lease
}

/// Until when the lease of that term lasts; 0 where there is none.
fn until(lease: &Lease, term: u64) -> u64 {
    lease.tenure(term).map_or(0, |tenure| tenure.until.load(Ordering::Acquire))
}

#[test]
fn it_lasts_from_the_newest_sending_that_a_majority_has_taken() {
    let cases: [(Voters, Answers, Option<u64>); 8] = [
        (&[&[1, 2, 3]], &[], None),
        (&[&[1, 2, 3]], &[(2, 50)], Some(50)),
        (&[&[1, 2, 3]], &[(2, 50), (3, 70)], Some(70)),
        // An answer that comes late, of something that was sent before.
        (&[&[1, 2, 3]], &[(3, 70), (3, 40)], Some(70)),
        (&[&[1, 2, 3, 4, 5]], &[(2, 90)], None),
        (&[&[1, 2, 3, 4, 5]], &[(2, 90), (4, 60), (5, 30)], Some(60)),
        // A learner, and a leader that is about to leave: neither votes.
        (&[&[2, 3]], &[(2, 10), (9, 99)], None),
        // While the voters change, a majority of the old ones and one of the new ones.
        (&[&[1, 2, 3], &[1, 4, 5]], &[(2, 80), (4, 20)], Some(20)),
    ];
    for (voters, answers, reached) in cases {
        let lease = led(voters);
        for (from, sent) in answers {
            lease.taken(&vote(3), *from, *sent);
        }
        assert_eq!(until(&lease, 3), reached.map_or(0, |at| at + LASTS), "{voters:?} {answers:?}");
    }
}

#[test]
fn the_margin_is_a_tenth_and_at_least_fifty_milliseconds() {
    for (election_max_ms, lasts_ms) in [(10_000, 9_000), (500, 450), (350, 300), (60, 10), (50, 0), (0, 0)] {
        let lease = Lease::new(ME, election_max_ms);
        assert_eq!(lease.lasts, lasts_ms * 1_000_000, "{election_max_ms} ms");
    }
}

#[test]
fn an_answer_that_is_read_after_a_freeze_proves_no_more_than_before_it() {
    let lease = led(&[&[1, 2, 3]]);
    let now = boottime().expect("the clock of this machine");
    lease.taken(&vote(3), 2, now.saturating_sub(LASTS));
    assert_eq!(lease.tenure(3).expect("a tenure").left(), None);
    let sent = lease.sending(&vote(3), &[]).expect("a time");
    lease.taken(&vote(3), 2, sent);
    assert!(lease.tenure(3).expect("a tenure").left().is_some());
}

#[test]
fn who_is_the_only_voter_has_it_for_ever_until_another_can_know_of_a_second_one() {
    let lease = Lease::new(ME, ELECTION_MAX_MS);
    lease.sending(&vote(3), &[members(7, &[&[1]])]);
    assert_eq!(until(&lease, 3), FOR_EVER);
    lease.sending(&vote(3), &[members(8, &[&[1], &[1, 2, 3]])]);
    assert_eq!(until(&lease, 3), 0, "nobody has taken anything yet");
    lease.taken(&vote(3), 3, 500);
    assert_eq!(until(&lease, 3), 500 + LASTS);
    // An older configuration that is sent again to one who is behind changes nothing.
    lease.sending(&vote(3), &[members(7, &[&[1]])]);
    assert_eq!(until(&lease, 3), 500 + LASTS);
}

#[test]
fn it_belongs_to_one_term_and_a_vote_for_another_ends_it_for_good() {
    let lease = led(&[&[1, 2, 3]]);
    lease.taken(&vote(3), 2, 100);
    let held = lease.tenure(3).expect("a tenure");
    assert!(lease.tenure(2).is_none() && lease.tenure(4).is_none());
    lease.gave(&Vote::new(4, 3));
    assert_eq!(held.until.load(Ordering::Acquire), 0);
    lease.taken(&vote(3), 2, 200);
    assert!(lease.sending(&vote(3), &[]).is_none() && lease.tenure(3).is_none(), "it leads in term 3 no more");
    lease.sending(&vote(5), &[members(9, &[&[1, 2, 3]])]);
    assert_eq!(until(&lease, 5), 0, "what was taken in another term does not count");
    lease.taken(&vote(5), 3, 300);
    assert_eq!((until(&lease, 5), held.left()), (300 + LASTS, None));
}

#[test]
fn what_others_lead_and_what_is_not_elected_yet_begins_nothing() {
    let lease = Lease::new(ME, ELECTION_MAX_MS);
    for other in [Vote::new_committed(3, 2), Vote::new(3, ME)] {
        assert!(lease.sending(&other, &[members(7, &[&[1]])]).is_none());
        assert!(lease.tenure(3).is_none());
    }
}

#[test]
fn there_is_none_while_it_is_barred_and_answers_that_come_meanwhile_count_afterwards() {
    let lease = led(&[&[1, 2, 3]]);
    lease.taken(&vote(3), 2, 100);
    let (one, other) = (lease.bar(), lease.bar());
    lease.taken(&vote(3), 3, 150);
    drop(one);
    assert_eq!(until(&lease, 3), 0);
    drop(other);
    assert_eq!(until(&lease, 3), 150 + LASTS);
}

#[test]
fn who_was_asked_to_stand_counts_again_only_with_what_was_sent_after_it_heard_that() {
    let lease = led(&[&[1, 2, 3]]);
    lease.taken(&vote(3), 2, 100);
    lease.asks_to_stand(2);
    assert_eq!((until(&lease, 3), lease.may_stand()), (0, Some(2)));
    lease.taken(&vote(3), 2, 200);
    assert_eq!(until(&lease, 3), 0, "it may stand at any time");
    lease.taken(&vote(3), 3, 150);
    assert_eq!(until(&lease, 3), 150 + LASTS, "the other one was not asked");
    let before = boottime().expect("a time");
    lease.has_stood(2);
    lease.taken(&vote(3), 2, before.saturating_sub(1));
    assert_eq!((until(&lease, 3), lease.may_stand()), (150 + LASTS, None));
    let after = lease.sending(&vote(3), &[]).expect("a time");
    lease.taken(&vote(3), 2, after);
    assert_eq!(until(&lease, 3), after + LASTS);
    lease.asks_to_stand(3);
    lease.was_not_asked(3);
    assert_eq!(lease.may_stand(), None);
}
