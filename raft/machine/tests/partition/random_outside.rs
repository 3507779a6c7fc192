//! Random commands about what suppliers do later: access tokens, receipts, recalls.

use proptest::prelude::*;
use tidings_contract::{Reason, ReceiptMark, Time};
use tidings_machine::control::Sealed;
use tidings_machine::partition::{Expect, Mark, Owner, RecallCommand, ReceiptCommand, SentAs, TokenCommand, Want};

use super::properties::{START, random_id, random_outcome};

pub(super) fn random_token() -> impl Strategy<Value = TokenCommand> {
    let account = || "main".to_owned();
    let reason = || Reason::new("500", "");
    prop_oneof![
        4 => (1u64..3, 1u64..3).prop_map(move |(revision, node)| {
            TokenCommand::Claim { account: account(), revision, by: Owner { node, boot: 1 } }
        }),
        2 => (1u64..3, 1u64..20_000).prop_map(move |(revision, good_ms)| {
            TokenCommand::Put { account: account(), revision, lease: 0, sealed: Sealed(vec![7]), good_ms }
        }),
        1 => (1u64..3).prop_map(move |revision| {
            TokenCommand::Failed { account: account(), revision, lease: 0, reason: reason() }
        }),
        1 => (1u64..3).prop_map(move |revision| TokenCommand::Drop { account: account(), revision, number: 0 }),
    ]
}

pub(super) fn random_receipt() -> impl Strategy<Value = ReceiptCommand> {
    let mark = prop_oneof![Just(ReceiptMark::Received), Just(ReceiptMark::Bounced), Just(ReceiptMark::Read)];
    prop_oneof![
        (random_id(), 0u8..4, 0u64..20_000).prop_map(|(delivery, id, ms)| {
            let (account, provider_id, to) = ("main".to_owned(), format!("p-{id}"), "user-1".to_owned());
            let until = Time(START + ms);
            ReceiptCommand::Expect(Box::new(Expect {
                delivery,
                account,
                provider_id,
                to,
                until,
                ask_until: Some(until),
            }))
        }),
        (0u8..4, mark, proptest::option::of(0u64..20_000)).prop_map(|(id, mark, park)| {
            let (account, provider_id) = ("main".to_owned(), format!("p-{id}"));
            let park_until = park.map(|ms| Time(START + ms));
            let (gone, charge) = (true, None);
            let mark = Mark { account, provider_id, to: None, mark, reason: None, at: None, park_until, gone, charge };
            ReceiptCommand::Mark(Box::new(mark))
        }),
        (random_id(), 0u16..4, proptest::bool::ANY).prop_map(|(delivery, tries, more)| ReceiptCommand::Asked {
            delivery,
            tries,
            more
        }),
    ]
}

pub(super) fn random_recall() -> impl Strategy<Value = RecallCommand> {
    prop_oneof![
        (random_id(), 0u64..60_000).prop_map(|(delivery, by)| {
            let sent = SentAs {
                account: "main".to_owned(),
                to: "user-1".to_owned(),
                provider_id: "p-1".to_owned(),
                template: "otp".to_owned(),
                accepted_at: Time(START),
                subject: None,
            };
            let accept_by = Time(START + by);
            RecallCommand::Want(Box::new(Want { delivery, by: "key".to_owned(), accept_by, sent }))
        }),
        (random_id(), 0u64..6, 1u16..4, random_outcome()).prop_map(|(delivery, epoch, attempt, outcome)| {
            RecallCommand::Outcome { delivery, epoch, attempt, outcome }
        }),
    ]
}
