//! What holds after any sequence of commands when deliveries have several accounts and a further leg.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tidings_contract::{Blame, DeliveryId, Outcome};
use tidings_machine::partition::{
    BreakerPolicy, CallPolicy, Command, Leg, Partition, Record, Sheet, State, Way, WayAccount, What,
};

use super::fixture::{bytes, sheet};
use super::properties::{Step, history, run};

const ACCOUNTS: [&str; 3] = ["a", "b", "mail"];

fn way(accounts: &[&str]) -> Way {
    let breaker = BreakerPolicy { min_calls: 2, ..BreakerPolicy::default() };
    let one = |name: &&str| WayAccount {
        account: (*name).to_owned(),
        weight: 1,
        tier: 0,
        call: CallPolicy { breaker, ..CallPolicy::default() },
    };
    Way { accounts: accounts.iter().map(one).collect(), attempts_per_account: 1, ..Way::default() }
}

/// The same history, but every sheet has two accounts and a further leg, which every other recipient has an address for.
fn routed(steps: Vec<Step>) -> Vec<Step> {
    let leg = Leg {
        template: "mail".to_owned(),
        version: 1,
        channel: "email".to_owned(),
        way: way(&ACCOUNTS[2..]),
        retry: sheet().policy.retry,
    };
    let (way, legs) = (Arc::new(way(&ACCOUNTS[..2])), vec![Arc::new(leg)]);
    let with = |sheet: &Sheet| {
        Arc::new(Sheet { account: None, way: Some(Arc::clone(&way)), legs: legs.clone(), ..sheet.clone() })
    };
    let mut out = Vec::with_capacity(steps.len());
    for (n, (jump, aimed, mut command)) in steps.into_iter().enumerate() {
        match &mut command {
            Command::Accept(accept) => {
                accept.sheet = with(&accept.sheet);
                for recipient in accept.recipients.iter_mut().filter(|one| one.index % 2 == 0) {
                    recipient.fallback = vec![Some("ann@example.com".to_owned())];
                }
            }
            Command::Redrive(redrive) => redrive.sheet = with(&redrive.sheet),
            Command::Outcome { account, outcome, .. } => {
                *account = ACCOUNTS[n % 3].to_owned();
                if n % 5 == 0 && matches!(outcome, Outcome::Never { .. }) {
                    *outcome = Outcome::never(Blame::Account, "no_money", "");
                }
            }
            Command::Close { delivery, epoch, .. } if n % 3 == 0 => {
                command = Command::FallBack { delivery: *delivery, epoch: *epoch, why: "open".to_owned() };
            }
            _ => {}
        }
        out.push((jump, aimed, command));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_on_any_way(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut ended: BTreeMap<DeliveryId, State> = BTreeMap::new();
        let mut twice = None;
        run(&mut machine, &mut at, &routed(steps), |machine, _, records| {
            for record in records {
                if let Record::Ended(end) = record
                    && ended.insert(end.delivery.id, end.delivery.state).is_some()
                {
                    twice = Some(end.delivery.id);
                }
            }
            let totals = machine.totals();
            let over: u64 = totals.ended.values().sum();
            assert_eq!(totals.accepted, over + machine.pending_count());
        });
        prop_assert_eq!(twice, None);
    }

    #[test]
    fn a_snapshot_and_the_tail_give_the_same_on_any_way(steps in history(), cut in 0usize..150) {
        let steps = routed(steps);
        let cut = cut.min(steps.len());
        let (mut whole, mut at) = (Partition::default(), 0);
        run(&mut whole, &mut at, &steps, |_, _, _| {});
        let (mut head, mut at) = (Partition::default(), 0);
        run(&mut head, &mut at, &steps[..cut], |_, _, _| {});
        let mut restored: Partition = postcard::from_bytes(&bytes(&head)).expect("a snapshot is readable");
        run(&mut restored, &mut at, &steps[cut..], |_, _, _| {});
        prop_assert_eq!(bytes(&restored), bytes(&whole));
    }

    #[test]
    fn nothing_is_given_up_or_left_after_an_attempt_that_may_have_been_taken(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut wrong = None;
        run(&mut machine, &mut at, &routed(steps), |_, _, records| {
            for record in records {
                let Record::Ended(end) = record else { continue };
                let mut doubtful = false;
                for event in &end.delivery.events {
                    match &event.what {
                        What::Attempted { outcome: Outcome::Unknown { .. }, .. } => doubtful = true,
                        What::Switched { .. } | What::FellBack { .. } if doubtful => wrong = Some(end.delivery.clone()),
                        _ => {}
                    }
                }
            }
        });
        prop_assert_eq!(wrong, None);
    }
}
