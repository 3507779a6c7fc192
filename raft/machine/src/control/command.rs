//! What can be asked of control, and what it answers.

use serde::{Deserialize, Serialize};
use tidings_contract::{AccountLimit, LimitUnit, PartitionId, Time};

use super::{ApiKey, DiskId, Material, NodeInfo, PolicySpec, ProviderSpec, Role, RouteSpec, Sealed, TemplateSpec};
use crate::partition::{BreakerPolicy, CallbackSpec, Wishes};
use crate::repair::Repair;

/// A change, and who asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The API key that asks, or `cluster`.
    pub by: String,
    /// The change.
    pub action: Action,
}

/// The changes that can be asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// Founds the cluster: its id, its partitions, its first node, its first admin key. Refused when it was founded before.
    Found {
        /// The cluster's id.
        cluster: String,
        /// How many partitions, for ever; at least 1.
        partitions: u16,
        /// Most replicas of a group; at least 1.
        replication: u16,
        /// The first node's number.
        node: u64,
        /// The first node.
        info: NodeInfo,
        /// The id of the first key.
        key_id: String,
        /// The first key; an admin's.
        key: ApiKey,
    },
    /// A node joins, or comes back with other addresses. Placement follows.
    PutNode {
        /// Its number.
        node: u64,
        /// The node.
        info: NodeInfo,
    },
    /// Writes a new version of a template; the same content as the newest version changes nothing.
    PutTemplate {
        /// Its name.
        name: String,
        /// What was written.
        spec: Box<TemplateSpec>,
    },
    /// Takes a template out of use.
    DeleteTemplate {
        /// Its name.
        name: String,
    },
    /// Writes an account.
    PutAccount {
        /// Its name.
        name: String,
        /// The provider.
        provider: String,
        /// Settings that may be shown: a JSON object as text.
        settings: String,
        /// The names of the secret settings that are set.
        secret_names: Vec<String>,
        /// The secret settings, sealed.
        sealed: Sealed,
        /// Its limit.
        limit: Option<AccountLimit>,
        /// Further windows beside `limit`: all of them hold at once.
        #[serde(default)]
        further_limits: Vec<AccountLimit>,
        /// What takes a permit.
        #[serde(default)]
        limit_unit: LimitUnit,
        /// How it wants to be used.
        #[serde(default)]
        wishes: Wishes,
    },
    /// Removes an account. Refused while a template in use names it.
    DeleteAccount {
        /// Its name.
        name: String,
    },
    /// Adds an API key.
    PutKey {
        /// Its id.
        id: String,
        /// Its name, for people.
        name: String,
        /// What it may do.
        role: Role,
        /// SHA-256 of the key.
        hash: [u8; 32],
    },
    /// Revokes an API key. Refused for the last admin key.
    RevokeKey {
        /// Its id.
        id: String,
    },
    /// A node is to leave: nothing is placed on it from here on. Refused for the last one that stays.
    RemoveNode {
        /// Its number.
        node: u64,
    },
    /// A node is to leave and another takes its place, so that what the old one held goes to the new one.
    ReplaceNode {
        /// The number of the one that leaves.
        old: u64,
        /// The number of the new one; never used before.
        node: u64,
        /// The new node.
        info: NodeInfo,
    },
    /// A node that was to leave holds nothing any more: it is no member from here on. Asked by the leader of control.
    ForgetNode {
        /// Its number.
        node: u64,
    },
    /// Another of its replicas is to lead a partition, until nodes come or go.
    PreferLeader {
        /// The partition.
        partition: PartitionId,
        /// The node.
        node: u64,
    },
    /// Writes a new version of a policy; the same content as the newest version changes nothing.
    PutPolicy {
        /// Its name.
        name: String,
        /// What was written.
        spec: Box<PolicySpec>,
    },
    /// Takes a policy out of force.
    DeletePolicy {
        /// Its name.
        name: String,
    },
    /// Keeps a part of a word list for the policy that is put next.
    PutWords {
        /// The words, one a line.
        words: String,
    },
    /// Writes a new version of a route; the same content as the newest version changes nothing.
    PutRoute {
        /// Its name.
        name: String,
        /// What was written.
        spec: Box<RouteSpec>,
    },
    /// Takes a route out of use. Refused while a template in use or another route names it.
    DeleteRoute {
        /// Its name.
        name: String,
    },
    /// Opens the breaker of an account, or opens it again after a probe that failed. Asked by a partition's leader.
    TripAccount {
        /// The account.
        account: String,
        /// The epoch of its breaker that the calls were made in; refused as `Stale` when it is another by now.
        epoch: u64,
        /// How long to open it.
        policy: BreakerPolicy,
        /// What was seen.
        why: String,
    },
    /// Takes the one probe of a half-open breaker. Refused as `Stale` when it is not to be had.
    ProbeAccount {
        /// The account.
        account: String,
        /// The epoch of its breaker.
        epoch: u64,
        /// The node that will make the probe.
        node: u64,
        /// How long the probe may take, in milliseconds; afterwards another one is granted.
        lapse_ms: u64,
    },
    /// Closes the breaker of an account, because its probe came through.
    CloseAccount {
        /// The account.
        account: String,
        /// The epoch of its breaker; refused as `Stale` when it is another by now.
        epoch: u64,
    },
    /// Who is told what becomes of the deliveries that a key submits; a template's own callback goes first.
    PutCallback {
        /// The key's id.
        key: String,
        /// Who, or nobody.
        callback: Option<Box<CallbackSpec>>,
    },
    /// Makes a material known whose bytes its home keeps already.
    PutMaterial {
        /// Its id: the SHA-256 of its bytes in hex.
        id: String,
        /// What it is.
        material: Box<Material>,
    },
    /// Forgets a material. Refused while a template in use names it.
    DeleteMaterial {
        /// Its id.
        id: String,
    },
    /// Writes a new version of a declared provider; the same content as the newest version changes nothing.
    PutProvider {
        /// Its name.
        name: String,
        /// What was written.
        spec: Box<ProviderSpec>,
    },
    /// Removes a declared provider. Refused while an account names it.
    DeleteProvider {
        /// Its name.
        name: String,
    },
    /// The disk of a node of which none is known yet. Asked by the leader of control.
    PutDisk {
        /// The node.
        node: u64,
        /// Its disk.
        disk: DiskId,
    },
    /// A node came back with another disk: it leaves every group. Asked by the leader of control.
    ChangeDisk {
        /// The node.
        node: u64,
        /// The disk that is known; refused as `Stale` when it is another by now.
        old: DiskId,
        /// The one it has now.
        disk: DiskId,
    },
    /// The disk of before is back, so the change is called off. Asked by the leader of control.
    KeepDisk {
        /// The node.
        node: u64,
    },
    /// A node that came back with another disk is in no group any more: the disk is its own from here on. Asked by the
    /// leader of control.
    AdmitDisk {
        /// The node.
        node: u64,
        /// The disk; refused as `Stale` when it is not the one that is coming.
        disk: DiskId,
    },
    /// A disk counts for a node because an operator said so on the disk of a member, without a majority.
    ForceDisk {
        /// The node.
        node: u64,
        /// The disk.
        disk: DiskId,
    },
    /// Somebody repairs the cluster's time; it goes into the audit log. Control's own time is set back where it is in the
    /// future, and the ids of messages keep clear of those made until then.
    RepairTime {
        /// How control's own time is set; changes nothing where it comes late or is not in the future.
        repair: Repair,
        /// The latest time that any group had.
        latest: Time,
    },
    /// A replica passes over an entry of its group's log, because an operator said so; it goes into the audit log, once.
    NoteSkip {
        /// The group, by its name.
        group: String,
        /// The term of the entry.
        term: u64,
        /// Its index.
        index: u64,
    },
}

/// What control answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// Done.
    Done,
    /// The template, the route, the policy or the declared provider now has this version, made now or before.
    Version(u32),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The cluster was founded before; this is its id.
    Founded(String),
    /// The cluster was not founded yet.
    NotFounded,
    /// No such thing.
    NotFound,
    /// The account or the material is named by this template.
    InUse(String),
    /// The last admin key cannot be revoked.
    LastAdmin,
    /// There are as many as there may be; the number.
    TooMany(u64),
    /// The command makes no sense: no partitions, no replicas, no account of that name …
    Invalid(String),
    /// The last node that stays cannot be removed.
    LastNode,
    /// That node was removed; its number is never used again.
    Removed(u64),
    /// Something in use names it; which, in words.
    UsedBy(String),
    /// The breaker is in another epoch by now, or its probe is somebody else's; the bytes of a material may be gone by now.
    Stale,
    /// A field makes no sense: which, and why.
    Field(String, String),
}
