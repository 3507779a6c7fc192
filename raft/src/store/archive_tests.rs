//! What the archive promises: nothing twice, nothing lost, pages that hold while it grows.

use std::sync::Arc;

use tempfile::TempDir;
use tidings_contract::{DeliveryId, MessageId, MessageType, PartitionId, Time};
use tidings_machine::partition::{Delivery, Ended, Event, OnUnknown, Policy, Record, RetryPolicy, Sheet, State, What};

use super::archive::{ArchiveStore, RecordSink, ended_key};
use super::{Cursor, Disk, DiskOptions, Query};
use crate::codec;
use crate::types::GroupId;

const GROUP: GroupId = GroupId::Partition(PartitionId(3));
const DAY: u64 = 86_400_000;
const START: Time = Time(20_000 * DAY);

async fn open(dir: &TempDir) -> (Disk, ArchiveStore) {
    let options = DiskOptions { dir: dir.path().to_owned(), node: 1, cache_bytes: 1 << 20, reserve_bytes: 0 };
    let disk = Disk::open(&options).await.expect("a disk");
    let archive = ArchiveStore::open(&disk, GROUP).expect("an archive");
    (disk, archive)
}

fn ended(number: u64, to: &str, ended_at: Time) -> Ended {
    let policy = Policy { retry: RetryPolicy::default(), on_unknown: OnUnknown::Retry, dedup_window_ms: None };
    let sheet = Sheet {
        template: if number.is_multiple_of(2) { "even".into() } else { "odd".into() },
        version: 1,
        channel: "sms".into(),
        account: None,
        message_type: MessageType::Notice,
        lane: MessageType::Notice.into(),
        variables: "{}".into(),
        biz_id: Some(format!("order-{}", number / 10)),
        send_at: None,
        expires_at: None,
        key_id: "k".into(),
        policy,
        tags: Vec::new(),
        rules: Default::default(),
        way: None,
        legs: Vec::new(),
        failover_on_unknown: false,
        callback: None,
    };
    let message = MessageId::new(START.after_ms(number), PartitionId(3), number);
    let delivery = Delivery {
        id: DeliveryId::new(message, 0, PartitionId(3)),
        to: to.into(),
        variables: None,
        fingerprint: None,
        state: State::Delivered,
        due: START,
        first_due: START,
        attempts: 1,
        unknown_attempts: 0,
        begun: None,
        cancel_requested: false,
        provider_id: None,
        reason: None,
        ended_at: Some(ended_at),
        events: vec![Event { at: ended_at, what: What::Ended { state: State::Delivered, reason: None } }],
        time_zone: None,
        zone: None,
        marks: Vec::new(),
        course: None,
        own: Vec::new(),
        reserved: false,
        doubtful: false,
        deaths: 0,
    };
    Ended { delivery, sheet: Arc::new(sheet) }
}

fn keep(archive: &ArchiveStore, index: u64, ended: &Ended) {
    let records = vec![Record::Ended(Box::new(ended.clone()))];
    archive.record(index, START, records).expect("kept");
}

/// Every page of a scan, and how many there were.
fn all(archive: &ArchiveStore, query: &Query, limit: usize) -> (Vec<DeliveryId>, usize) {
    let (mut found, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = archive.scan(query, cursor, limit).expect("readable");
        found.extend(page.items.iter().map(|ended| ended.delivery.id));
        pages += 1;
        cursor = page.next.map(|next: Cursor| next.to_string().parse().expect("its own text"));
        if cursor.is_none() {
            return (found, pages);
        }
    }
}

#[tokio::test]
async fn deliveries_are_found_by_what_they_are_and_each_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..100).map(|n| ended(n, &format!("user-{}", n % 4), START.after_ms(n * DAY / 40))).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&archive, index as u64, one);
        if index % 30 == 29 {
            archive.flush().expect("written");
        }
    }
    let expect = |wanted: &dyn Fn(&Ended) -> bool, query: Query| {
        let mut expected: Vec<_> = kept.iter().filter(|e| wanted(e)).map(|e| e.delivery.id).collect();
        expected.sort_unstable();
        for limit in [1, 7, 1_000] {
            let (mut found, _) = all(&archive, &query, limit);
            found.sort_unstable();
            assert_eq!(found, expected, "{query:?} in pages of {limit}");
        }
    };
    expect(&|_| true, Query::default());
    expect(&|e| e.delivery.to == "user-3", Query { recipient: Some("user-3".into()), ..Query::default() });
    expect(&|e| e.sheet.template == "odd", Query { template: Some("odd".into()), ..Query::default() });
    let both = Query { recipient: Some("user-2".into()), biz_id: Some("order-4".into()), ..Query::default() };
    expect(&|e| e.delivery.to == "user-2" && e.sheet.biz_id.as_deref() == Some("order-4"), both);
    let (since, until) = (START.after_ms(20), START.after_ms(50));
    expect(
        &|e| (20..50).contains(&(e.delivery.id.message().time().0 - START.0)),
        Query { since, until, ..Query::default() },
    );
    expect(&|_| false, Query { states: vec![State::Failed], ..Query::default() });
    expect(&|_| false, Query { recipient: Some("nobody".into()), ..Query::default() });
}

#[tokio::test]
async fn a_cursor_holds_while_the_run_in_memory_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    for n in 0..20 {
        keep(&archive, n, &ended(n, "user", START));
    }
    let query = Query { recipient: Some("user".into()), ..Query::default() };
    let first = archive.scan(&query, None, 5).expect("readable");
    archive.flush().expect("written");
    for n in 20..30 {
        keep(&archive, n, &ended(n, "user", START));
    }
    let rest = archive.scan(&query, first.next, 100).expect("readable");
    let numbers: Vec<_> =
        first.items.iter().chain(&rest.items).map(|e| e.delivery.id.message().time().0 - START.0).collect();
    assert_eq!(numbers, (0..20).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_keeps_nothing_twice_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..30).map(|n| ended(n, "user", START)).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&archive, index as u64, one);
        if index == 19 {
            archive.flush().expect("written");
        }
    }
    drop((disk, archive));
    let (_disk, archive) = open(&dir).await;
    // What was in memory only is gone with its process; the log is played again from an older snapshot.
    for (index, one) in kept.iter().enumerate().skip(10) {
        keep(&archive, index as u64, one);
    }
    let (mut found, _) = all(&archive, &Query { template: Some("odd".into()), ..Query::default() }, 4);
    found.sort_unstable();
    let odd: Vec<_> = kept.iter().filter(|e| e.sheet.template == "odd").map(|e| e.delivery.id).collect();
    assert_eq!(found, odd);
}

#[tokio::test]
async fn what_happened_after_the_end_is_shown_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    let one = ended(1, "user", START);
    keep(&archive, 1, &one);
    let event = |days: u64| Event { at: START.after_ms(days * DAY), what: What::CancelRequested { by: "k".into() } };
    for (index, days) in [(2, 3), (3, 1), (4, 3)] {
        let record = Record::Amend { delivery: one.delivery.id, event: event(days) };
        archive.record(index, START, vec![record]).expect("kept");
    }
    let found = archive.get(&one.delivery.id).expect("readable").expect("it is there");
    assert_eq!(found.delivery.events[1..], [event(1), event(3)]);
    assert_eq!(archive.get(&ended(2, "x", START).delivery.id), Ok(None));
}

#[tokio::test]
async fn days_past_their_retention_are_forgotten_for_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..4).map(|n| ended(n, "user", START.after_ms(n * DAY))).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&archive, index as u64, one);
    }
    archive.flush().expect("written");
    archive.drop_before(START.day() + 2).expect("forgotten");
    drop((disk, archive));
    let (disk, archive) = open(&dir).await;
    let there: Vec<_> = kept.iter().map(|e| archive.get(&e.delivery.id).expect("readable").is_some()).collect();
    assert_eq!(there, [false, false, true, true]);
    assert_eq!(disk.trees("archive/").len(), 4, "two days, each with its index");
}

#[tokio::test]
async fn an_archive_taken_over_is_whole_and_goes_on_without_repeating() {
    let (near, far) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let ((_a, from), (_b, to)) = (open(&near).await, open(&far).await);
    let kept: Vec<_> = (0..3_000).map(|n| ended(n, "user", START.after_ms(n * 100_000))).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&from, index as u64, one);
    }
    // The new replica had a little of it, indexed in runs of its own.
    (0..9).for_each(|n| keep(&to, n, &kept[n as usize]));
    to.flush().expect("written");
    keep(&to, 9, &kept[9]);
    let mut walk = from.walk().expect("readable");
    to.begin_taking().expect("room");
    let mut pieces = 0;
    while let Some(piece) = walk.next_piece().expect("readable") {
        to.take(piece).expect("taken");
        pieces += 1;
    }
    assert!(pieces > 4, "{pieces} pieces");
    to.end_taking(walk.watermark).expect("complete");
    // Its snapshot is a little older than the archive: some entries are applied again, and one is new.
    for (index, one) in kept.iter().enumerate().skip(2_900) {
        keep(&to, index as u64, one);
    }
    let blocks = |archive: &ArchiveStore, day: u32| {
        archive.day(day).expect("its trees").records.scan_prefix(b"B").keys().collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(blocks(&to, START.day()), blocks(&from, START.day()), "its blocks replace ours");
    let new = ended(3_000, "user", START.after_ms(DAY));
    keep(&to, 3_000, &new);
    let (mut found, pages) = all(&to, &Query { recipient: Some("user".into()), ..Query::default() }, 5_000);
    assert!(pages > 1, "the work for one page is bounded");
    found.sort_unstable();
    let expected: Vec<_> = kept.iter().chain([&new]).map(|e| e.delivery.id).collect();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
}

/// The deliveries of one message, which end in an order of their own.
fn crowd(message: u64, count: u16) -> Vec<Ended> {
    let one = |index: u16| {
        let mixed = u16::try_from(u32::from(index) * 7_919 % u32::from(count)).expect("below the count");
        let mut one = ended(message, "user", START.after_ms(message));
        one.delivery.id = DeliveryId::new(one.delivery.id.message(), mixed, PartitionId(3));
        one
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn what_ends_in_any_order_is_found_in_blocks_and_costs_few_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    // Every tenth ends much later than it was accepted; the others come in an order of their own within a minute.
    let number = |n: u64| if n.is_multiple_of(10) { n * 300 } else { 4_000_000 + (n * 617) % 60_000 };
    let kept: Vec<_> = (0..3_000).map(|n| ended(number(n), "user", START.after_ms(4_100_000))).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&archive, index as u64, one);
        if index % 400 == 0 {
            assert_eq!(archive.get(&one.delivery.id), Ok(Some(one.clone())), "in memory");
        }
    }
    let mut expected: Vec<_> = kept.iter().map(|one| one.delivery.id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    for _ in ["some in memory", "all on the disk"] {
        for one in &kept {
            assert_eq!(archive.get(&one.delivery.id), Ok(Some(one.clone())));
        }
        for limit in [83, 5_000] {
            assert_eq!(all(&archive, &Query::default(), limit).0, expected, "newest first, each once");
        }
        archive.flush().expect("written");
    }
    let rows = archive.day(START.day()).expect("its trees").records.len();
    assert!(rows < 500, "{rows} rows for 3,000 deliveries");
    let unknown = MessageId::new(START.after_ms(4_030_000), PartitionId(9), 1);
    assert_eq!(archive.get(&DeliveryId::new(unknown, 0, PartitionId(3))), Ok(None));
}

#[tokio::test]
async fn the_deliveries_of_a_message_come_in_pages_from_memory_and_blocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    let crowds = [crowd(10, 900), crowd(11, 900)];
    for (index, (one, other)) in crowds[0].iter().zip(&crowds[1]).enumerate() {
        let records = [one, other].map(|one| Record::Ended(Box::new(one.clone())));
        archive.record(index as u64, START, records.into()).expect("kept");
    }
    for crowd in &crowds {
        let message = crowd[0].delivery.id.message();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = archive.of_message(&message, after, 70).expect("readable");
            let Some(last) = page.last() else { break };
            after = Some(last.delivery.id);
            found.extend(page.iter().map(|one| one.delivery.id.index()));
        }
        assert_eq!(found, (0..900).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_replay_writes_the_same_blocks_again_and_no_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..1_500).map(|n| ended(n, "user", START)).collect();
    let rows = |archive: &ArchiveStore| {
        let trees = archive.day(START.day()).expect("its trees");
        trees.records.iter().map(|row| row.expect("readable")).collect::<Vec<_>>()
    };
    kept.iter().enumerate().for_each(|(index, one)| keep(&archive, index as u64, one));
    let before = rows(&archive);
    assert!(!before.is_empty(), "blocks were written before the watermark");
    drop((disk, archive));
    let (_disk, archive) = open(&dir).await;
    kept.iter().enumerate().for_each(|(index, one)| keep(&archive, index as u64, one));
    assert_eq!(rows(&archive), before);
    assert_eq!(all(&archive, &Query::default(), 5_000).0.len(), kept.len());
}

#[tokio::test]
async fn what_disk_version_1_kept_one_by_one_is_read_beside_blocks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..1_000).map(|n| ended(n, "user", START)).collect();
    for (index, one) in kept.iter().enumerate() {
        if index < 600 {
            let value = codec::encode(one).expect("it has a binary form");
            archive
                .day(START.day())
                .expect("its trees")
                .records
                .insert(ended_key(&one.delivery.id), value)
                .expect("kept");
        }
        // A hundred of them are played again from the log.
        if index >= 500 {
            keep(&archive, index as u64, one);
        }
    }
    archive.flush().expect("written");
    assert!(kept.iter().all(|one| archive.get(&one.delivery.id) == Ok(Some(one.clone()))));
    let newest: Vec<_> = kept.iter().rev().map(|one| one.delivery.id).collect();
    assert_eq!(all(&archive, &Query::default(), 77).0, newest);
}

#[tokio::test]
async fn what_was_taken_back_after_its_end_is_found_as_recalled_and_not_as_delivered() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    let kept: Vec<_> = (0..10).map(|n| ended(n, "user", START.after_ms(n))).collect();
    for (index, one) in kept.iter().enumerate() {
        keep(&archive, index as u64, one);
    }
    // Two days later: the record of its end stays as it is, an amendment says the rest.
    let what = What::Ended { state: State::Recalled, reason: None };
    let event = Event { at: START.after_ms(2 * DAY), what };
    let id = kept[3].delivery.id;
    for index in [10, 11] {
        archive.record(index, event.at, vec![Record::Amend { delivery: id, event: event.clone() }]).expect("kept");
    }
    for written in [false, true] {
        if written {
            archive.flush().expect("written");
        }
        let one = archive.get(&id).expect("readable").expect("it ended");
        assert_eq!(
            (one.delivery.state, one.delivery.events.iter().filter(|e| **e == event).count()),
            (State::Recalled, 1)
        );
        for (states, count) in [(vec![State::Recalled], 1), (vec![State::Delivered], 9), (vec![], 10)] {
            let (found, _) = all(&archive, &Query { states: states.clone(), ..Query::default() }, 4);
            assert_eq!(found.len(), count, "{states:?}");
        }
    }
}

#[tokio::test]
async fn what_happened_after_the_end_within_one_millisecond_is_told_in_the_order_of_its_happening() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_disk, archive) = open(&dir).await;
    // Amendments are kept by hashes, so twenty keys have them in twenty orders.
    for n in 0..20 {
        let one = ended(n, "user", START);
        keep(&archive, n, &one);
        let asked = What::RecallRequested { by: format!("key_{n}") };
        let whats = [asked, What::Ended { state: State::Recalled, reason: None }];
        let events = whats.map(|what| Event { at: START.after_ms(5), what });
        let records = events.iter().map(|event| Record::Amend { delivery: one.delivery.id, event: event.clone() });
        archive.record(100 + n, START, records.collect()).expect("kept");
        let told = archive.get(&one.delivery.id).expect("readable").expect("it ended").delivery.events;
        assert_eq!(told[told.len() - 2..], events, "key_{n}");
    }
}
