//! What every handler shares: the ledger, the registry, the sealer, the limits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use tidings_actors::Motion;
use tidings_channels::Registry;
use tidings_contract::{Clock, MessageId, PartitionId, Secret, Time};
use tidings_machine::partition::Wishes;

use crate::accounts::SealedAccounts;
use crate::bodies::Bodies;
use crate::connections::Places;
use crate::fresh::Freshness;
use crate::guard::Guard;
use crate::heavy::Heavy;
use crate::intake::{Dictionaries, KnownWays, Templates};
use crate::ledger::NodeLedger;
use crate::look::Said;
use crate::materials::Shelf;
use crate::policies::Current;
use crate::seal::Sealer;
use crate::secret_check::SecretCheck;
use crate::sign_ins::SignIns;

/// [`App`], shared by all handlers.
pub(crate) type Shared = Arc<App>;

/// What every handler shares.
pub(crate) struct App {
    pub ledger: Arc<NodeLedger>,
    pub motion: Motion,
    pub registry: Registry,
    pub sealer: Sealer,
    pub clock: Arc<dyn Clock>,
    /// What may change while the node runs; read with [`App::limits`].
    pub settings: ArcSwap<Limits>,
    pub templates: Templates,
    /// The ways of templates' messages, made of control.
    pub known_ways: KnownWays,
    /// Dictionaries for the dry run and the preview.
    pub dictionaries: Dictionaries,
    /// The policies in force; read with [`App::policies`].
    pub policies: Current,
    pub freshness: Freshness,
    /// Whether the configured secret is the cluster's.
    pub secret_check: SecretCheck,
    /// Who failed to sign in.
    pub sign_ins: SignIns,
    pub metrics: PrometheusHandle,
    /// What other nodes said about the partitions that only they hold.
    pub said: Said,
    /// Set once: the node takes nothing new.
    pub stopping: AtomicBool,
    pub founding: Founding,
    /// Whether more may come in, and when.
    pub guard: Arc<Guard>,
    /// Room for bodies.
    pub bodies: Arc<Bodies>,
    /// Turns for work that takes long.
    pub heavy: Heavy,
    /// The places of connections, once there is a listener.
    pub places: OnceLock<Weak<Places>>,
    pub shelf: Arc<Shelf>,
}

/// The limits of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes of a body.
    pub max_body_bytes: usize,
    /// Most bytes of a material.
    pub max_material_bytes: usize,
    /// Most recipients of a message, and of all messages of a batch.
    pub max_recipients: usize,
    /// How long a body may take to arrive.
    pub body_within: Duration,
    /// How long a request may wait for its answer.
    pub deadline: Duration,
    /// How long idempotency keys are kept.
    pub idempotency_ms: u64,
    /// How far ahead a message may be scheduled.
    pub max_delay_ms: u64,
    /// How long a leader may hear nothing of its majority before it counts as none.
    pub election: Duration,
    /// What the configuration says about delivering.
    pub delivery: Wishes,
    /// How long attempts under way may take to end before their partition is given away.
    pub quiet_within: Duration,
    /// Free bytes on the disk below which nothing comes in.
    pub disk_free_bytes: u64,
    /// Resident bytes above which nothing comes in; 0 for a share of what there is.
    pub memory_bytes: u64,
    /// How long this node's copy of control is believed after it was confirmed.
    pub stale_after: Duration,
    /// Failed sign-ins from one address in a minute.
    pub failed_sign_ins_per_minute: u32,
    /// Whether figures are answered without a key.
    pub open_metrics: bool,
    /// Whether the documents are answered without a key.
    pub open_docs: bool,
}

/// What this node would found a cluster with.
#[derive(Clone, Debug)]
pub(crate) struct Founding {
    pub secret: Secret,
    pub partitions: u16,
    pub replication: u16,
    pub peer_addr: String,
    pub api_addr: String,
    pub labels: BTreeMap<String, String>,
}

impl App {
    /// The limits of requests, as they are at this moment.
    pub(crate) fn limits(&self) -> Limits {
        **self.settings.load()
    }

    /// The accounts, to be opened as a sender would.
    pub(crate) fn accounts(&self) -> SealedAccounts {
        let (registry, sealer) = (self.registry.clone(), self.sealer.clone());
        SealedAccounts { ledger: Arc::clone(&self.ledger), registry, sealer }
    }

    /// The present, as the cluster agrees on it.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The present, or the time of a group that is ahead of it: for what such a group must not find too late.
    pub(crate) fn latest(&self) -> Time {
        self.ledger.latest_time()
    }

    /// A new message's id. Ids sort by time and never go back, also when the cluster's time was set back.
    pub(crate) fn new_message(&self, now: Time, home: PartitionId) -> MessageId {
        MessageId::new(self.ledger.control(|control| control.id_time(now)), home, rand::random())
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("settings", &self.limits()).finish_non_exhaustive()
    }
}
