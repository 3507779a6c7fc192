//! What holds after any sequence of commands, at any times, from any epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tidings_contract::{AccountLimit, Blame, DeliveryId, Outcome, Reason, Time};
use tidings_machine::partition::{
    Accept, Answer, Barred, Borrow, CALLBACK_TEMPLATE, Cap, CapKind, Closing, Command, Delivery, EVERY_CHANNEL,
    GiveBack, Happening, Lease, Limits, OnUnknown, Owner, Partition, Policy, Quiet, RecallCommand, Recipient, Record,
    Redrive, Refusal, Rules, Settle, Sheet, Span, State, Suppress, SuppressionReason, TokenCommand, Window,
};
use tidings_machine::{Machine, Output};

use super::callbacks::callback;
use super::fixture::{HERE, START as DAY, bytes, claim, message, outcome_of, sheet};
use super::random_outside::{random_recall, random_receipt, random_token};

/// Where the histories begin: ten seconds before quiet hours do, which begin with a minute.
pub(super) const START: u64 = DAY + 50_000;
const WINDOW_MS: u64 = 5_000;

/// One step of a random history: how far the clock jumps (it may seem to go back), whether the command is aimed at
/// something that is there, and what is asked.
pub(super) type Step = (i64, bool, Command);

/// The cap of the random rules, so that counts of one history can be compared.
pub(super) const CAP: Window = Window { window_ms: 4_000, most: 2 };

/// Any of the rules, or none: a cap, quiet hours around the middle of the history that wait or drop, a list.
fn random_rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), proptest::option::weighted(0.8, any::<bool>()), any::<bool>()).prop_map(
        |(capped, quiet, listed)| {
            let minute = u32::try_from(START / 60_000 + 1).expect("it fits");
            Rules {
                lists: listed.then(|| "discard/d@1".to_owned()).into_iter().collect(),
                quiet: quiet.map(|drop| Quiet { title: "quiet_hours/q@1".to_owned(), drop }).into_iter().collect(),
                zones: quiet
                    .map(|_| {
                        vec![
                            Span { from: minute, until: minute + 1, quiet: 0 },
                            Span { from: minute + 3, until: minute + 4, quiet: 0 },
                        ]
                    })
                    .into_iter()
                    .collect(),
                caps: capped
                    .then(|| Cap { title: "frequency/f@1".to_owned(), kind: CapKind::Frequency, windows: vec![CAP] })
                    .into_iter()
                    .collect(),
                words: Vec::new(),
                legs: Vec::new(),
            }
        },
    )
}

fn random_sheet() -> impl Strategy<Value = Sheet> {
    let template = prop_oneof![Just("otp"), Just("news")];
    let offset = proptest::option::of(0u64..20_000);
    let key = prop_oneof![Just("key"), Just("key_2"), Just("key_3")];
    let told = proptest::bool::weighted(0.2);
    ((template, key), any::<bool>(), any::<bool>(), offset.clone(), offset, (random_rules(), told)).prop_map(
        |((template, key), stop, window, send, expires, (rules, told))| {
            let on_unknown = if stop { OnUnknown::Stop } else { OnUnknown::Retry };
            let dedup_window_ms = window.then_some(WINDOW_MS);
            Sheet {
                template: template.to_owned(),
                key_id: key.to_owned(),
                send_at: send.map(|ms| Time(START + ms)),
                expires_at: expires.map(|ms| Time(START + 2 * ms)),
                policy: Policy { on_unknown, dedup_window_ms, ..sheet().policy },
                rules,
                callback: told.then(|| callback(&Happening::ALL)).flatten(),
                ..sheet()
            }
        },
    )
}

pub(super) fn random_id() -> impl Strategy<Value = DeliveryId> {
    (0u64..6, 0u16..4, 0u8..2).prop_map(|(n, index, generation)| {
        let id = DeliveryId::new(message(n), index, HERE);
        if generation == 0 { id } else { id.next_generation().expect("there is one") }
    })
}

fn random_recipient(index: u16) -> impl Strategy<Value = Recipient> {
    let zone = prop_oneof![1 => Just(None), 3 => Just(Some(0))];
    let bar = proptest::bool::weighted(0.05);
    (proptest::option::of(0u64..3), 0u8..4, zone, bar).prop_map(move |(fingerprint, to, zone, bar)| Recipient {
        index,
        to: format!("user-{to}"),
        fingerprint,
        zone,
        marks: vec![Some(u64::from(to))],
        barred: bar.then(|| Barred { list: 0, detail: "no".to_owned() }).into_iter().collect(),
        ..Recipient::default()
    })
}

/// Part 0 has the recipients 0 and 1, part 1 the recipients 2 and 3.
pub(super) fn random_accept() -> impl Strategy<Value = Accept> {
    (0u64..6, 0u16..2, random_sheet(), random_recipient(0), random_recipient(1), 0u64..60_000).prop_map(
        |(n, part, sheet, first, second, by)| Accept {
            message: message(n),
            partition: HERE,
            part,
            accept_by: Time(START + by),
            repeatable_until: Time(START + by + 1_000_000),
            sheet: Arc::new(sheet),
            recipients: [first, second].map(|one| Recipient { index: one.index + 2 * part, ..one }).into(),
            header: None,
        },
    )
}

pub(super) fn random_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        2 => Just(Outcome::Delivered { provider_id: None }),
        3 => Just(Outcome::later("503", "busy")),
        1 => Just(Outcome::never(Blame::Recipient, "550", "no such user")),
        2 => Just(Outcome::unknown("timeout", "")),
    ]
}

fn random_command() -> impl Strategy<Value = Command> {
    let limits = Limits { pending: 9, idempotency_keys: 3, dead_letters: 3, pending_per_key: 5 };
    let closing = prop_oneof![
        Just(Closing::Cancelled),
        Just(Closing::Expired),
        Just(Closing::Lost),
        Just(Closing::Impossible(Reason::new("render", ""))),
        Just(Closing::Suppressed { rule: "words/bad@1".to_owned(), detail: String::new() })
    ];
    let account = || "main".to_owned();
    prop_oneof![
        2 => (1u64..3, 1u64..3, 0u64..6).prop_map(move |(node, boot, epoch)| {
            Command::TakeOver { owner: Owner { node, boot }, epoch, limits }
        }),
        8 => random_accept().prop_map(|accept| Command::Accept(Box::new(accept))),
        1 => (0u64..5, 0u64..2, 0u64..6).prop_map(|(k, body, n)| claim(&format!("k{k}"), body, n, Time(START))),
        3 => (random_id(), 1u16..5, 0u64..6).prop_map(move |(delivery, attempt, epoch)| {
            Command::Begin { delivery, attempt, epoch, account: account(), via: None }
        }),
        2 => (random_id(), 1u16..5, 0u64..6).prop_map(|(delivery, attempt, epoch)| {
            Command::Withdraw { delivery, attempt, epoch }
        }),
        12 => (random_id(), 1u16..4, 0u64..6, random_outcome()).prop_map(|(delivery, attempt, epoch, outcome)| {
            outcome_of(delivery, attempt, epoch, Time(START), outcome)
        }),
        2 => random_id().prop_map(|delivery| Command::RequestCancel { delivery, by: "key".to_owned() }),
        4 => (random_id(), 0u64..6, closing).prop_map(|(delivery, epoch, closing)| {
            Command::Close { delivery, epoch, closing }
        }),
        2 => (random_id(), random_sheet(), random_recipient(0)).prop_map(|(delivery, sheet, recipient)| {
            let by = "key".to_owned();
            Command::Redrive(Box::new(Redrive { delivery, by, sheet: Arc::new(sheet), recipient }))
        }),
        1 => (1u32..9).prop_map(move |want| {
            let limit = AccountLimit { permits: 5, window_ms: 1_000 };
            Command::Lease(Lease { account: account(), limit, want, node: 1 })
        }),
        1 => (1u32..9).prop_map(move |want| {
            let windows = [(5, 1_000), (9, 7_000)].map(|(permits, window_ms)| AccountLimit { permits, window_ms });
            let subject = "template/hello".to_owned();
            Command::Borrow(Borrow { subject, windows: windows.to_vec(), want, node: 1 })
        }),
        1 => (0u64..9_000, 1u32..9, any::<bool>()).prop_map(move |(after, permits, used)| {
            let windows = [(5, 1_000), (9, 7_000)].map(|(permits, window_ms)| AccountLimit { permits, window_ms });
            let (subject, until) = ("template/hello".to_owned(), Time(START + after));
            match used {
                true => Command::Settle(Settle { subject, windows: windows.to_vec(), until, permits }),
                false => Command::GiveBack(GiveBack { subject, until, permits }),
            }
        }),
        2 => random_token().prop_map(Command::Token),
        2 => random_receipt().prop_map(Command::Receipt),
        2 => random_recall().prop_map(Command::Recall),
        1 => Just(Command::Tick),
        1 => (0u8..4, any::<bool>(), proptest::option::of(0u64..30_000)).prop_map(|(to, all, until)| {
            let channel = if all { EVERY_CHANNEL } else { "sms" }.to_owned();
            let (address, until) = (format!("user-{to}"), until.map(|ms| Time(START + ms)));
            let reason = SuppressionReason::Bounced;
            Command::Suppress(Box::new(Suppress { channel, address, reason, until, by: "key".to_owned(), bounce: None }))
        }),
        2 => (0u8..4, any::<bool>()).prop_map(|(to, all)| {
            let channel = if all { EVERY_CHANNEL } else { "sms" }.to_owned();
            Command::Unsuppress { channel, address: format!("user-{to}") }
        }),
        5 => (random_id(), 0u64..6).prop_map(|(delivery, epoch)| Command::Defer { delivery, epoch }),
        3 => (random_id(), 0u64..6).prop_map(|(delivery, epoch)| Command::Leave { delivery, epoch }),
        1 => (random_id(), 0u64..6).prop_map(|(delivery, epoch)| {
            Command::Died { delivery, epoch, how: "it wanted more memory".to_owned() }
        }),
    ]
}

pub(super) fn history() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((-500i64..1_500, proptest::bool::weighted(0.8), random_command()), 1..200)
}

/// The command with a delivery that is there, its next attempt and an epoch of the tenure in place of the random ones.
fn aim(machine: &Partition, mut command: Command) -> Command {
    let owned = machine.owner().map_or(0, |(_, epoch, _)| epoch);
    if let Command::Redrive(redrive) = &mut command {
        let dead: Vec<DeliveryId> = machine.dead_letters().map(|(id, _)| *id).collect();
        redrive.delivery =
            dead.get(redrive.delivery.index() as usize % dead.len().max(1)).copied().unwrap_or(redrive.delivery);
    }
    if let Command::Begin { delivery, .. }
    | Command::Withdraw { delivery, .. }
    | Command::Outcome { delivery, .. }
    | Command::RequestCancel { delivery, .. }
    | Command::Defer { delivery, .. }
    | Command::Leave { delivery, .. }
    | Command::Died { delivery, .. }
    | Command::Close { delivery, .. } = &mut command
    {
        let ids: Vec<DeliveryId> = machine.pending(None).map(|(one, _)| one.id).collect();
        let chosen = delivery.bytes().iter().map(|byte| usize::from(*byte)).sum::<usize>() % ids.len().max(1);
        *delivery = ids.get(chosen).copied().unwrap_or(*delivery);
    }
    if let Command::Recall(RecallCommand::Outcome { delivery, epoch, attempt, .. }) = &mut command
        && let Some((id, recall)) = machine.recalls().next()
    {
        (*delivery, *epoch, *attempt) = (*id, owned, recall.attempts + 1);
    }
    if let Command::Token(TokenCommand::Drop { revision, number, .. }) = &mut command
        && let Some(token) = machine.token("main", *revision, machine.now())
    {
        *number = token.number;
    }
    let next = |id: &DeliveryId| machine.delivery(id).map_or(1, |(one, _)| one.attempts + 1);
    match &mut command {
        Command::Begin { delivery, attempt, epoch, .. }
        | Command::Withdraw { delivery, attempt, epoch }
        | Command::Outcome { delivery, attempt, epoch, .. } => {
            (*attempt, *epoch) = (next(delivery), owned);
        }
        Command::Close { epoch, .. }
        | Command::Defer { epoch, .. }
        | Command::Leave { epoch, .. }
        | Command::Died { epoch, .. } => *epoch = owned,
        _ => {}
    }
    command
}

/// What an owner does: it asks for a delivery with slots of this time before it makes an attempt.
fn in_turn(machine: &Partition, command: Command) -> Command {
    match command {
        Command::Begin { delivery, epoch, .. } | Command::Outcome { delivery, epoch, .. }
            if machine.delivery(&delivery).is_some_and(|(one, _)| one.reserved) =>
        {
            Command::Leave { delivery, epoch }
        }
        command => command,
    }
}

/// Applies a history, looking at the machine after each step.
pub(super) fn run(
    machine: &mut Partition,
    at: &mut i64,
    steps: &[Step],
    mut look: impl FnMut(&Partition, &Answer, &[Record]),
) {
    for (jump, aimed, command) in steps {
        *at += jump;
        let mut out = Output::default();
        let command = if *aimed { aim(machine, command.clone()) } else { command.clone() };
        let command = in_turn(machine, command);
        let answer = machine.apply(Time(START.saturating_add_signed(*at)), command, &mut out);
        look(machine, &answer, &out.records);
    }
}

fn sum(ended: &BTreeMap<State, u64>) -> u64 {
    ended.values().sum()
}

#[test]
fn the_random_histories_reach_every_state_and_every_refusal() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..600 {
        let steps = history().new_tree(&mut runner).expect("a history").current();
        run(&mut Partition::default(), &mut 0, &steps, |_, answer, _| {
            if let Answer::Refused(_) | Answer::Done(_) = answer {
                *seen.entry(format!("{answer:?}")).or_default() += 1;
            }
        });
    }
    let states = [
        State::Pending,
        State::Delivered,
        State::Failed,
        State::Unknown,
        State::Cancelled,
        State::Expired,
        State::Suppressed,
    ];
    let refusals = [
        Refusal::Full,
        Refusal::TooLate,
        Refusal::NotOwner,
        Refusal::WrongAttempt,
        Refusal::NotPending,
        Refusal::NotDead,
        Refusal::Groundless,
        Refusal::NotSuppressed,
        Refusal::Suppressed,
        Refusal::KeyFull,
    ];
    let all = states.map(Answer::Done).into_iter().chain(refusals.map(Answer::Refused));
    let missing: Vec<_> = all.filter(|answer| seen.get(&format!("{answer:?}")).is_none_or(|n| *n < 20)).collect();
    assert!(missing.is_empty(), "hardly ever reached: {missing:?}; {seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_delivery_is_pending_or_ended_exactly_once(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut ended: BTreeMap<DeliveryId, State> = BTreeMap::new();
        let mut failure = None;
        run(&mut machine, &mut at, &steps, |machine, _, records| {
            for record in records {
                if let Record::Ended(end) = record
                    && (!end.delivery.state.is_final() || ended.insert(end.delivery.id, end.delivery.state).is_some())
                {
                    failure = Some(format!("{} ended twice or not at all", end.delivery.id));
                }
            }
            let totals = machine.totals();
            if totals.accepted != sum(&totals.ended) + machine.pending_count() {
                failure = Some(format!("{totals:?} with {} pending", machine.pending_count()));
            }
            if machine.pending(None).any(|(delivery, _)| ended.contains_key(&delivery.id)) {
                failure = Some("a delivery is pending after its end".to_owned());
            }
            if machine.pending_count() != machine.pending(None).count() as u64 {
                failure = Some("a pending delivery has no sheet".to_owned());
            }
        });
        prop_assert_eq!(failure, None);
        prop_assert_eq!(sum(&machine.totals().ended), ended.len() as u64);
        for template in ["otp", "news", CALLBACK_TEMPLATE] {
            let days: Vec<_> = machine.all_day_counts().filter(|(_, name, _)| *name == template).collect();
            let accepted: u64 = days.iter().map(|(.., counts)| counts.accepted).sum();
            let over: u64 = days.iter().map(|(.., counts)| sum(&counts.ended)).sum();
            let waiting = machine.pending(None).filter(|(_, sheet)| sheet.template == template);
            prop_assert_eq!(accepted, over + waiting.count() as u64, "{}", template);
            for (day, _, counts) in days {
                let of_day = |delivery: &Delivery| delivery.accepted_at().day() == day;
                let waiting = machine.pending(None).filter(|(one, of)| of.template == template && of_day(one));
                prop_assert_eq!(counts.accepted, sum(&counts.ended) + waiting.count() as u64, "{} on {}", template, day);
            }
        }
        prop_assert!(machine.sizes().sheets <= machine.sizes().pending);
        let telling = machine.pending(None).filter(|(_, sheet)| sheet.template == CALLBACK_TEMPLATE).count();
        prop_assert_eq!(machine.outside_sizes().callbacks, telling as u64);
    }

    #[test]
    fn what_failed_or_is_unknown_says_why_and_doubt_is_never_called_a_failure(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut wrong = None;
        run(&mut machine, &mut at, &steps, |_, _, records| {
            for record in records {
                let Record::Ended(end) = record else { continue };
                let delivery = &end.delivery;
                let says = delivery.reason.is_some();
                let right = match delivery.state {
                    State::Delivered => !says,
                    State::Failed => says && delivery.unknown_attempts == 0,
                    State::Unknown => says && delivery.unknown_attempts > 0,
                    State::Suppressed => says && delivery.unknown_attempts == 0,
                    _ => delivery.unknown_attempts == 0,
                };
                if !right {
                    wrong = Some(delivery.clone());
                }
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn a_snapshot_and_the_tail_give_the_same_as_the_whole_log(steps in history(), cut in 0usize..150) {
        let cut = cut.min(steps.len());
        let (mut whole, mut at) = (Partition::default(), 0);
        let mut answers = Vec::new();
        run(&mut whole, &mut at, &steps, |_, answer, _| answers.push(answer.clone()));
        let (mut head, mut at) = (Partition::default(), 0);
        run(&mut head, &mut at, &steps[..cut], |_, _, _| {});
        let mut restored: Partition = postcard::from_bytes(&bytes(&head)).expect("a snapshot is readable");
        let mut tail = Vec::new();
        run(&mut restored, &mut at, &steps[cut..], |_, answer, _| tail.push(answer.clone()));
        prop_assert_eq!(bytes(&restored), bytes(&whole));
        prop_assert_eq!(&tail[..], &answers[cut..]);
    }

    #[test]
    fn commands_survive_the_log(steps in history()) {
        for (.., command) in steps {
            let bytes = postcard::to_allocvec(&command).expect("a command is serializable");
            let back: Command = postcard::from_bytes(&bytes).expect("and readable");
            prop_assert_eq!(format!("{command:?}"), format!("{back:?}"));
        }
    }

    #[test]
    fn a_refusal_changes_nothing_but_the_time(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        for (jump, aimed, command) in &steps {
            at += jump;
            let now = Time(START.saturating_add_signed(at));
            machine.apply(now, Command::Tick, &mut Output::default());
            let before = bytes(&machine);
            let command = if *aimed { aim(&machine, command.clone()) } else { command.clone() };
            let mut out = Output::default();
            if let Answer::Refused(refusal) = machine.apply(now, command.clone(), &mut out) {
                prop_assert!(before == bytes(&machine), "{:?} changed something: {:?}", command, refusal);
                prop_assert!(out.hints.is_empty() && out.records.is_empty());
            }
        }
    }

    #[test]
    fn a_repeated_part_never_doubles(steps in history(), accept in random_accept()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let command = Command::Accept(Box::new(accept));
        let mut first = None;
        for step in &steps {
            run(&mut machine, &mut at, std::slice::from_ref(step), |_, _, _| {});
            let before = machine.totals().accepted;
            let mut out = Output::default();
            let answer = machine.apply(Time(START), command.clone(), &mut out);
            match (&first, answer) {
                (None, Answer::Accepted(verdicts)) => first = Some(verdicts),
                (None, Answer::Refused(Refusal::Full | Refusal::TooLate)) => {}
                (Some(verdicts), Answer::Accepted(again)) => {
                    prop_assert_eq!(verdicts, &again);
                    prop_assert!(machine.totals().accepted == before && out.records.is_empty());
                }
                (_, other) => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn no_two_of_one_fingerprint_leave_or_arrive_within_a_window(steps in history()) {
        let (mut machine, mut at) = (Partition::default(), 0);
        let mut taken: Vec<(u64, Time, DeliveryId)> = Vec::new();
        let mut seen: BTreeSet<DeliveryId> = BTreeSet::new();
        let mut twins = None;
        run(&mut machine, &mut at, &steps, |machine, _, records| {
            for (delivery, sheet) in machine.pending(None) {
                let fresh = seen.insert(delivery.id) && delivery.id.generation() == 0;
                let Some(fingerprint) = delivery.fingerprint.filter(|_| fresh && sheet.policy.dedup_window_ms.is_some())
                else {
                    continue;
                };
                // Delivered before, less than a window before this one wants to leave.
                let close = |(of, end, _): &&(u64, Time, DeliveryId)| {
                    *of == fingerprint && delivery.first_due < end.after_ms(WINDOW_MS)
                };
                if let Some(twin) = taken.iter().find(close) {
                    twins = Some(format!("{} and {}", twin.2, delivery.id));
                }
                // Pending at the same time, wanting to leave less than a window apart.
                let near = machine.pending(None).find(|(other, sheet)| {
                    other.id != delivery.id
                        && other.id.generation() == 0
                        && sheet.policy.dedup_window_ms.is_some()
                        && other.fingerprint == Some(fingerprint)
                        && other.first_due.0.abs_diff(delivery.first_due.0) < WINDOW_MS
                });
                if let Some((twin, _)) = near {
                    twins = Some(format!("{} and {} are both pending", twin.id, delivery.id));
                }
            }
            for record in records {
                if let Record::Ended(end) = record
                    && matches!(end.delivery.state, State::Delivered | State::Unknown)
                    && end.sheet.policy.dedup_window_ms.is_some()
                    && let Some(fingerprint) = end.delivery.fingerprint
                {
                    taken.push((fingerprint, machine.now(), end.delivery.id));
                }
            }
        });
        prop_assert_eq!(twins, None);
    }
}
