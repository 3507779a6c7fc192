//! Nodes in one process, each with its own directory and port, and the commands they are asked.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::expect_used, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_contract::{Clock, DeliveryId, MessageId, MessageType, Outcome, PartitionId, Secret, Time};
use tidings_machine::control::{Action, Answer, ApiKey, Command as ControlCommand, NodeInfo, Role};
use tidings_machine::partition::{Accept, Answer as PartitionAnswer, Command, OnUnknown, Owner, Policy};
use tidings_machine::partition::{Limits, Recipient, RetryPolicy, Sheet};
use tidings_raft::{Ledgers, LogLimits, Options, ProposeError, Timing};

/// A fixed day in 2026, moving with the process: the same for all nodes, whenever they start.
#[derive(Debug)]
pub struct Moving(Instant);

static BEGAN: OnceLock<Instant> = OnceLock::new();

pub const START: Time = Time(1_795_456_800_000);

impl Default for Moving {
    fn default() -> Self {
        Self(*BEGAN.get_or_init(Instant::now))
    }
}

impl Clock for Moving {
    fn now(&self) -> Time {
        START.after(self.0.elapsed())
    }
}

pub fn options(node: u64, dir: &TempDir) -> Options {
    let listen: SocketAddr = ([127, 0, 0, 1], 0).into();
    Options {
        timing: Timing::brisk(),
        cache_bytes: 16 << 20,
        disk_reserve_bytes: 1 << 20,
        log: LogLimits { snapshot_after: 200, keep: 20, tail_bytes: 64 << 10 },
        ..Options::new(node, dir.path(), listen, Secret::new("of the cluster"))
    }
}

/// A node and where it lives.
pub struct Node {
    pub id: u64,
    pub dir: TempDir,
    pub ledgers: Ledgers,
}

impl Node {
    pub async fn start(id: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ledgers = Ledgers::open(options(id, &dir), Arc::new(Moving::default())).await.expect("it opens");
        Self { id, dir, ledgers }
    }

    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            peer_addr: self.ledgers.peer_addr().to_string(),
            api_addr: format!("api-of-{}", self.id),
            labels: BTreeMap::new(),
            joined_at: START,
        }
    }

    /// Ends and starts again from its directory, on another port, telling the cluster so.
    pub async fn restart(self, seeds: &[String]) -> Self {
        let (id, dir) = self.stop().await;
        Self::again(id, dir, seeds).await
    }

    pub async fn stop(self) -> (u64, TempDir) {
        self.ledgers.shutdown().await;
        (self.id, self.dir)
    }

    pub async fn again(id: u64, dir: TempDir, seeds: &[String]) -> Self {
        let ledgers = Ledgers::open(options(id, &dir), Arc::new(Moving::default())).await.expect("it opens again");
        let node = Self { id, dir, ledgers };
        if !seeds.is_empty() {
            node.ledgers.join(seeds, node.info()).await.expect("it tells its new address");
        }
        node
    }

    pub fn addr(&self) -> String {
        self.ledgers.peer_addr().to_string()
    }
}

/// Starts node `id` with the directory `dir` where it was before, so that its peers find it.
pub async fn start(id: u64, dir: TempDir, at: &str) -> Node {
    let mut options = options(id, &dir);
    options.peer_listen = at.parse().expect("an address");
    let ledgers = Ledgers::open(options, Arc::new(Moving::default())).await.expect("it opens");
    Node { id, dir, ledgers }
}

/// Stops them one after the other, and gives the directory and the address of each.
pub async fn stop_all(nodes: Vec<Node>) -> Vec<(u64, TempDir, String)> {
    let mut stopped = Vec::new();
    for node in nodes {
        let addr = node.addr();
        let (id, dir) = node.stop().await;
        stopped.push((id, dir, addr));
    }
    stopped
}

pub fn founding(node: &Node, partitions: u16) -> ControlCommand {
    let key = ApiKey { name: "first".into(), role: Role::Admin, hash: [7; 32], created_at: START, revoked_at: None };
    let action = Action::Found {
        cluster: "c-1".into(),
        partitions,
        replication: 3,
        node: node.id,
        info: node.info(),
        key_id: "k-1".into(),
        key,
    };
    ControlCommand { by: "cluster".into(), action }
}

/// A cluster of `count` nodes in which every partition has all its replicas and its preferred leader.
pub async fn cluster(count: u64, partitions: u16) -> Vec<Node> {
    let mut nodes = vec![Node::start(1).await];
    let answer = nodes[0].ledgers.found(founding(&nodes[0], partitions)).await;
    assert_eq!(answer, Ok(Answer::Done));
    for id in 2..=count {
        let node = Node::start(id).await;
        node.ledgers.join(&[nodes[0].addr()], node.info()).await.expect("it joins");
        nodes.push(node);
    }
    settled(&nodes).await;
    nodes
}

/// Waits until every partition is where control wants it.
pub async fn settled(nodes: &[Node]) {
    until("every partition is where control wants it", || {
        let wanted = nodes[0].ledgers.read_control(|control| control.placement.clone());
        !wanted.is_empty()
            && wanted.iter().all(|(partition, replicas)| {
                let leader = nodes.iter().find(|node| node.ledgers.leading().borrow().contains_key(partition));
                leader.is_some_and(|leader| {
                    let status = leader.ledgers.status();
                    let id = tidings_raft::GroupId::Partition(*partition);
                    let members = status.into_iter().find(|s| s.group == id).expect("it leads it").replicas;
                    leader.id == replicas[0]
                        && members.len() == replicas.len()
                        && replicas.iter().all(|r| members.get(r).is_some_and(|m| m.voter))
                })
            })
    })
    .await;
}

/// Looks until `holds`, for at most 30 seconds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

static CHANCE: AtomicU64 = AtomicU64::new(1);

pub fn sheet() -> Arc<Sheet> {
    let policy = Policy { retry: RetryPolicy::default(), on_unknown: OnUnknown::Retry, dedup_window_ms: None };
    Arc::new(Sheet {
        template: "otp".into(),
        version: 1,
        channel: "sms".into(),
        account: Some("main".into()),
        message_type: MessageType::Notice,
        lane: MessageType::Notice.into(),
        variables: "{}".into(),
        biz_id: Some("order-1".into()),
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

/// One message to one recipient of a partition.
pub fn accept(partition: PartitionId, to: &str) -> (DeliveryId, Command) {
    let message = MessageId::new(START, partition, CHANCE.fetch_add(1, Ordering::Relaxed));
    let recipient = Recipient { index: 0, to: to.into(), ..Recipient::default() };
    let accept = Accept {
        message,
        partition,
        part: 0,
        accept_by: START.after_ms(3_600_000),
        repeatable_until: START.after_ms(7_200_000),
        sheet: sheet(),
        recipients: vec![recipient],
        header: None,
    };
    (DeliveryId::new(message, 0, partition), Command::Accept(Box::new(accept)))
}

/// Accepts messages, makes `node` the owner, and reports them delivered; returns their ids.
pub async fn deliver(node: &Node, partition: PartitionId, recipients: &[String]) -> Vec<DeliveryId> {
    let term = node.ledgers.leading().borrow().get(&partition).copied().unwrap_or(1);
    let (ids, mut commands): (Vec<_>, Vec<_>) = recipients.iter().map(|to| accept(partition, to)).unzip();
    let owner = Owner { node: node.id, boot: node.ledgers.boot() };
    commands.insert(0, Command::TakeOver { owner, epoch: term, limits: Limits::default() });
    let outcome = || Outcome::Delivered { provider_id: Some("p".into()) };
    commands.extend(ids.iter().map(|delivery| Command::Outcome {
        delivery: *delivery,
        attempt: 1,
        epoch: term,
        account: "main".into(),
        began: START,
        outcome: outcome(),
        masked: Vec::new(),
        via: None,
        charge: None,
    }));
    let answers = node.ledgers.propose(partition, commands).await.expect("it is kept");
    let refused: Vec<_> = answers.iter().filter(|a| matches!(a, PartitionAnswer::Refused(_))).collect();
    assert!(refused.is_empty(), "{refused:?}");
    ids
}

/// Proposes until it is kept; every refusal must say that nothing was kept.
pub async fn keep(ledgers: &Ledgers, partition: PartitionId, command: Command) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match ledgers.propose(partition, vec![command.clone()]).await {
            Ok(_) => return,
            // The same part again is answered the same again.
            Err(ProposeError::Unknown(_) | ProposeError::Refused(_)) if Instant::now() < end => {}
            Err(error) => panic!("{error}"),
        }
    }
}
