//! A whole node in memory: a ledger, a provider, the motion between them, and things to send.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_contract::{
    AccountLimit, Clock, DeliveryId, Lane, LimitUnit, MessageId, MessageType, PartitionId, Time, partition_of,
    stable_hash,
};
use tidings_machine::control::{
    self, Account, Cluster, PolicySpec, PolicyVersion, Rendering, Sealed, Selector, Template, TemplateSpec,
    TemplateVersion, WordPart,
};
use tidings_machine::partition::{
    Accept, Answer, Callback, Command, Ended, Leg, Limits, OnUnknown, Policy, Recipient, RetryPolicy, Rules, Sheet,
    State, Way, Wishes,
};
use tokio::time::sleep;

use super::{FakeAccounts, FakeChannel, FakeLedger, TokioClock};
use crate::{Ledger, Motion, Parts, Settings, StartError, start};

/// What to send, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The template's name; its version is 1.
    pub template: String,
    /// The channel.
    pub channel: String,
    /// What the message is for.
    pub message_type: MessageType,
    /// The lane; `None` for the message type's own.
    pub lane: Option<Lane>,
    /// The account; `None` for the recipient itself.
    pub account: Option<String>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// What to do about unknown outcomes.
    pub on_unknown: OnUnknown,
    /// Not before.
    pub send_at: Option<Time>,
    /// Not after.
    pub expires_at: Option<Time>,
    /// The shared variables.
    pub variables: String,
    /// The recipients' own variables.
    pub own: Option<String>,
    /// The rules; all recipients live in the first of their zones.
    pub rules: Rules,
    /// The accounts of a route, in place of the account.
    pub way: Option<Arc<Way>>,
    /// The further legs.
    pub legs: Vec<Arc<Leg>>,
    /// Every recipient's addresses for them.
    pub fallback: Vec<Option<String>>,
    /// Whether to fail over after an attempt that may have been taken.
    pub failover_on_unknown: bool,
    /// Who is told what becomes of it.
    pub callback: Option<Box<Callback>>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            template: "hello".to_owned(),
            channel: "sms".to_owned(),
            message_type: MessageType::Notice,
            lane: None,
            account: Some("main".to_owned()),
            retry: RetryPolicy::default(),
            on_unknown: OnUnknown::Retry,
            send_at: None,
            expires_at: None,
            variables: "{\"name\":\"Ann\"}".to_owned(),
            own: None,
            rules: Rules::default(),
            way: None,
            legs: Vec::new(),
            fallback: Vec::new(),
            failover_on_unknown: false,
            callback: None,
        }
    }
}

impl Spec {
    fn sheet(&self) -> Sheet {
        Sheet {
            template: self.template.clone(),
            version: 1,
            channel: self.channel.clone(),
            account: self.account.clone(),
            message_type: self.message_type,
            lane: self.lane.unwrap_or(Lane::from(self.message_type)),
            variables: self.variables.clone(),
            biz_id: None,
            send_at: self.send_at,
            expires_at: self.expires_at,
            key_id: "key".to_owned(),
            policy: Policy { retry: self.retry, on_unknown: self.on_unknown, dedup_window_ms: None },
            tags: Vec::new(),
            rules: self.rules.clone(),
            way: self.way.clone(),
            legs: self.legs.clone(),
            failover_on_unknown: self.failover_on_unknown,
            callback: self.callback.clone(),
        }
    }
}

/// A whole node in memory.
#[derive(Debug)]
pub struct World {
    /// The ledger.
    pub ledger: Arc<FakeLedger>,
    /// The provider behind all accounts.
    pub channel: Arc<FakeChannel>,
    /// The clock of everything.
    pub clock: Arc<TokioClock>,
    /// The actors.
    pub motion: Motion,
    partitions: u16,
    messages: std::sync::atomic::AtomicU64,
}

impl World {
    /// A node that leads `partitions` partitions; a proposal takes `latency`. It has the template `hello`
    /// (`Hi {{ name }}`) and the account `main` of `fake/one`.
    ///
    /// # Errors
    /// As [`start`].
    pub async fn new(
        partitions: u16,
        latency: Duration,
        settings: Settings,
        channel: FakeChannel,
    ) -> Result<Self, StartError> {
        let clock = Arc::new(TokioClock::at(Time(1_800_000_000_000)));
        let ledger = Arc::new(FakeLedger::new(Arc::clone(&clock) as Arc<dyn Clock>, partitions, latency));
        ledger.change_control(|control| {
            let founded_at = clock.now();
            control.cluster = Some(Cluster { id: "test".to_owned(), partitions, replication: 1, founded_at });
        });
        let channel = Arc::new(channel);
        let parts = Parts {
            ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            accounts: Arc::new(FakeAccounts(Arc::clone(&channel))),
            settings,
            boot: 7,
            limits: Limits { pending: 1_000_000, ..Limits::default() },
        };
        put_account(&ledger, "main", "fake/one", (None, Vec::new(), LimitUnit::Recipient));
        put_template(&ledger, "hello", "{\"text\":\"Hi {{ name }}\"}");
        let motion = start(parts).await?;
        Ok(Self { ledger, channel, clock, motion, partitions, messages: 0.into() })
    }

    /// Puts an account.
    pub fn account(&self, name: &str, provider: &str, limit: Option<AccountLimit>) {
        put_account(&self.ledger, name, provider, (limit, Vec::new(), LimitUnit::Recipient));
    }

    /// Puts an account with several windows.
    pub fn account_of(&self, name: &str, provider: &str, windows: &[AccountLimit], unit: LimitUnit) {
        let (limit, further) = (windows.first().copied(), windows.iter().skip(1).copied().collect());
        put_account(&self.ledger, name, provider, (limit, further, unit));
    }

    /// Puts a policy.
    pub fn policy(&self, name: &str, kind: &str, selector: Selector, spec: &str) {
        let spec = PolicySpec {
            kind: kind.to_owned(),
            selector,
            spec: spec.to_owned(),
            description: String::new(),
            parts: Vec::new(),
        };
        let version = PolicyVersion { version: 1, spec, created_at: Time(0), created_by: "key".to_owned() };
        let policy = control::Policy { latest: 1, versions: [(1, Arc::new(version))].into(), deleted: false };
        self.ledger.change_control(|control| {
            control.policies.named.insert(name.to_owned(), policy);
            control.policies.revision += 1;
        });
    }

    /// Takes a policy out of force.
    pub fn no_policy(&self, name: &str) {
        self.ledger.change_control(|control| {
            control.policies.named.remove(name);
            control.policies.revision += 1;
        });
    }

    /// Puts version 1 of a template.
    pub fn template(&self, name: &str, content: &str) {
        put_template(&self.ledger, name, content);
    }

    /// Puts a version of a policy of sensitive words; with `kept`, only the newest so many versions stay.
    pub fn words(&self, name: &str, version: u32, words: &[&str], kept: usize) {
        let text = words.iter().map(|word| format!("{word}\n")).collect::<String>();
        let part = stable_hash(text.as_bytes());
        let spec = PolicySpec {
            kind: "words".to_owned(),
            selector: Selector::default(),
            spec: "{}".to_owned(),
            description: String::new(),
            parts: vec![part],
        };
        let written = PolicyVersion { version, spec, created_at: Time(0), created_by: "key".to_owned() };
        self.ledger.change_control(|control| {
            control.words.insert(part, Arc::new(WordPart { words: text, put_at: Time(0) }));
            let nothing = control::Policy { latest: 0, versions: BTreeMap::new(), deleted: false };
            let policy = control.policies.named.entry(name.to_owned()).or_insert(nothing);
            policy.versions.insert(version, Arc::new(written));
            policy.latest = version;
            while policy.versions.len() > kept {
                policy.versions.pop_first();
            }
        });
    }

    /// Sends one message to `count` recipients; gives the deliveries.
    pub fn send(&self, spec: &Spec, count: u16) -> Vec<DeliveryId> {
        let to: Vec<String> = (0..count).map(|n| format!("+86138{n:08}")).collect();
        self.send_to(spec, &to)
    }

    /// Sends one message to these recipients; gives the deliveries.
    pub fn send_to(&self, spec: &Spec, to: &[String]) -> Vec<DeliveryId> {
        let now = self.clock.now();
        let n = self.messages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let message = MessageId::new(now, PartitionId(0), n);
        let sheet = Arc::new(spec.sheet());
        let mut parts: BTreeMap<PartitionId, Vec<Recipient>> = BTreeMap::new();
        for (index, to) in to.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let marks = spec.rules.caps.iter().map(|_| Some(stable_hash(to.as_bytes()))).collect();
            let (variables, zone) = (spec.own.clone(), (!spec.rules.zones.is_empty()).then_some(0));
            let recipient = Recipient {
                index,
                to: to.clone(),
                variables,
                zone,
                marks,
                fallback: spec.fallback.clone(),
                ..Recipient::default()
            };
            parts.entry(partition_of(to, self.partitions)).or_default().push(recipient);
        }
        let mut deliveries = Vec::new();
        for (partition, recipients) in parts {
            let accept = Accept {
                partition,
                message,
                part: 0,
                accept_by: now.after_ms(10_000),
                repeatable_until: now.after_ms(60_000),
                sheet: Arc::clone(&sheet),
                recipients,
                header: None,
            };
            for answer in self.ledger.apply(partition, vec![Command::Accept(Box::new(accept))]) {
                if let Answer::Accepted(verdicts) = answer {
                    deliveries.extend(verdicts.iter().map(|verdict| verdict.delivery));
                }
            }
        }
        deliveries
    }

    /// Asks to cancel a delivery.
    pub fn cancel(&self, delivery: DeliveryId) -> Vec<Answer> {
        self.ledger.apply(delivery.partition(), vec![Command::RequestCancel { delivery, by: "key".to_owned() }])
    }

    /// How a delivery ended, if it has.
    pub fn ended(&self, delivery: &DeliveryId) -> Option<Ended> {
        self.ledger.ended().remove(delivery)
    }

    /// The state a delivery ended in; `Pending` if it has not.
    pub fn state(&self, delivery: &DeliveryId) -> State {
        self.ended(delivery).map_or(State::Pending, |ended| ended.delivery.state)
    }

    /// Waits until `count` deliveries have ended, or until `most` has passed; gives how many have.
    pub async fn until_ended(&self, count: usize, most: Duration) -> usize {
        let start = tokio::time::Instant::now();
        while self.ledger.ended_count() < count && start.elapsed() < most {
            sleep(Duration::from_millis(5)).await;
        }
        self.ledger.ended_count()
    }
}

/// The first window of a limit, the further ones, and what takes a permit.
type Limit = (Option<AccountLimit>, Vec<AccountLimit>, LimitUnit);

fn put_account(ledger: &FakeLedger, name: &str, provider: &str, (limit, further, unit): Limit) {
    ledger.change_control(|control| {
        let revision = control.accounts.get(name).map_or(1, |account| account.revision + 1);
        let account = Account {
            provider: provider.to_owned(),
            settings: "{}".to_owned(),
            secret_names: Vec::new(),
            sealed: Sealed(Vec::new()),
            limit,
            revision,
            updated_at: Time(0),
            further_limits: further,
            limit_unit: unit,
            wishes: Wishes::default(),
        };
        control.accounts.insert(name.to_owned(), Arc::new(account));
    });
}

fn put_template(ledger: &FakeLedger, name: &str, content: &str) {
    let spec = TemplateSpec {
        channel: "sms".to_owned(),
        account: None,
        message_type: MessageType::Notice,
        content: content.to_owned(),
        retry: RetryPolicy::default(),
        on_unknown: OnUnknown::Retry,
        dedup: None,
        expires_after_ms: None,
        description: String::new(),
        rendering: Rendering::default(),
        rules: String::new(),
        words: Default::default(),
        route: None,
        fallback: None,
        failover_on_unknown: false,
        wishes: None,
        callback: None,
    };
    let version = TemplateVersion { version: 1, spec, created_at: Time(0), created_by: "key".to_owned() };
    let template = Template { latest: 1, versions: [(1, Arc::new(version))].into(), deleted: false };
    ledger.change_control(|control| {
        control.templates.insert(name.to_owned(), template);
    });
}
