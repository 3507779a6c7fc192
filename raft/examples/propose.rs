//! Measures proposals per second on one node: see `raft/README.md`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measuring tool")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_contract::{Clock, MessageId, MessageType, PartitionId, Secret, Time};
use tidings_machine::control::{Action, ApiKey, Command as ControlCommand, NodeInfo, Role};
use tidings_machine::partition::{Accept, Command, OnUnknown, Policy, Recipient, RetryPolicy, Sheet};
use tidings_raft::{Ledgers, Options};

const START: Time = Time(1_795_456_800_000);

struct Moving(Instant);

impl Clock for Moving {
    fn now(&self) -> Time {
        START.after(self.0.elapsed())
    }
}

fn sheet() -> Arc<Sheet> {
    let policy = Policy { retry: RetryPolicy::default(), on_unknown: OnUnknown::Retry, dedup_window_ms: None };
    Arc::new(Sheet {
        template: "otp".into(),
        version: 1,
        channel: "sms".into(),
        account: Some("main".into()),
        message_type: MessageType::Notice,
        lane: MessageType::Notice.into(),
        variables: r#"{"code":"123456"}"#.into(),
        biz_id: None,
        send_at: None,
        expires_at: None,
        key_id: "k-1".into(),
        policy,
        tags: Vec::new(),
        rules: Default::default(),
        way: None,
        legs: Vec::new(),
        failover_on_unknown: false,
        callback: None,
    })
}

fn accept(partition: PartitionId, number: u64) -> Command {
    let recipient = Recipient { index: 0, to: format!("+86138{number:08}"), ..Recipient::default() };
    Command::Accept(Box::new(Accept {
        message: MessageId::new(START, partition, number),
        partition,
        part: 0,
        accept_by: START.after_ms(3_600_000),
        repeatable_until: START.after_ms(7_200_000),
        sheet: sheet(),
        recipients: vec![recipient],
        header: None,
    }))
}

fn founding(groups: u16) -> ControlCommand {
    let info = NodeInfo {
        peer_addr: "127.0.0.1:1".into(),
        api_addr: String::new(),
        labels: BTreeMap::new(),
        joined_at: START,
    };
    let key = ApiKey { name: "first".into(), role: Role::Admin, hash: [7; 32], created_at: START, revoked_at: None };
    let (cluster, key_id) = ("c".into(), "k".into());
    let action = Action::Found { cluster, partitions: groups, replication: 3, node: 1, info, key_id, key };
    ControlCommand { by: "cluster".into(), action }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let argument = |n: usize, default: u64| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (groups, proposers, seconds) = (argument(1, 8), argument(2, 64), argument(3, 5));
    let groups = u16::try_from(groups).expect("few groups");
    let dir = std::env::args().nth(4).unwrap_or_else(|| "target/propose".to_owned());
    let _ = std::fs::remove_dir_all(&dir);
    let options = Options::new(1, &dir, ([127, 0, 0, 1], 0).into(), Secret::new("s"));
    let ledgers = Ledgers::open(options, Arc::new(Moving(Instant::now()))).await.expect("it opens");
    ledgers.found(founding(groups)).await.expect("it is founded");
    while ledgers.leading().borrow().len() < usize::from(groups) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let number = Arc::new(AtomicU64::new(0));
    let (began, syncs) = (Instant::now(), ledgers.disk_syncs());
    let entries = |ledgers: &Ledgers| ledgers.status().iter().filter_map(|s| s.last_index).sum::<u64>();
    let before = entries(&ledgers);
    let askers: Vec<_> = (0..proposers)
        .map(|_| {
            let (ledgers, number) = (ledgers.clone(), Arc::clone(&number));
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while began.elapsed() < Duration::from_secs(seconds) {
                    let n = number.fetch_add(1, Ordering::Relaxed);
                    let partition = PartitionId(u16::try_from(n % u64::from(groups)).expect("few groups"));
                    let asked = Instant::now();
                    ledgers.propose(partition, vec![accept(partition, n)]).await.expect("it is kept");
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for asker in askers {
        waits.extend(asker.await.expect("it ends"));
    }
    let took = began.elapsed().as_secs_f64();
    waits.sort_unstable();
    let rate = waits.len() as f64 / took;
    let at = |share: usize| waits[waits.len() * share / 100];
    println!(
        "{groups} groups, {proposers} proposers: {rate:.0} proposals/s, p50 {:?}, p99 {:?}, {:.0} entries/s, {:.0} syncs/s",
        at(50),
        at(99),
        (entries(&ledgers) - before) as f64 / took,
        (ledgers.disk_syncs() - syncs) as f64 / took,
    );
    ledgers.shutdown().await;
}
