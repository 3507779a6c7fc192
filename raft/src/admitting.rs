//! Disks: told around among those who share groups, and taken in by control when a node comes back with another one.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use tidings_contract::Time;
use tidings_machine::control::{Action, Answer, Command};
use tokio::time::{sleep, timeout};

use crate::codec;
use crate::error::OpenError;
use crate::group::{AnyGroup, leads};
use crate::leaving::members_by_leader;
use crate::ledgers::{Inner, Ledgers};
use crate::options::Options;
use crate::peers::{Kind, Lane};
use crate::placement::Wishes;
use crate::store::{Disk, DiskLog, DiskOptions, Heard, Life};

/// How often nodes tell each other how far the disks are that they heard of.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a change of control may take; it is tried again.
const CHANGE: Duration = Duration::from_secs(5);

/// What nodes tell each other about disks.
type Table = Vec<(u64, Heard)>;

impl Ledgers {
    /// Why the disk of this node counts for nothing in its cluster, if it does not: it is another one than the cluster
    /// knows, or was put back to an earlier state, or copied. It comes back by itself once the cluster takes it in.
    pub fn unaccepted(&self) -> Option<String> {
        self.inner.peers.me().disks.unaccepted()
    }

    /// Whether the disk of a node was not heard of for some seconds, by this node.
    pub fn disk_is_quiet(&self, node: u64) -> bool {
        self.inner.peers.me().disks.is_quiet(node)
    }
}

/// Lets the next disk with which `node` comes count for it, though no majority can agree to that: for a cluster that lost so
/// many disks that it cannot go on. To be called for the data directory of a member that does not run; the others hear of it
/// once a majority is up, and control notes it. What was acknowledged by disks that are gone, and by nodes that are not up
/// when this one starts again, may be gone. Gives the time of the newest command on the disk, if its log holds one: what was
/// acknowledged after that is not on it.
///
/// # Errors
/// See [`OpenError`]; also when the directory is of no cluster, or of the node itself.
pub async fn force_disk(options: &Options, node: u64) -> Result<Option<Time>, OpenError> {
    if node == options.node {
        return Err(OpenError::Option(format!(
            "this is the data directory of node {node} itself; use that of another one"
        )));
    }
    if !options.data_dir.join("ledger").join("db").exists() {
        return Err(OpenError::Option(format!("there is no data in {}", options.data_dir.display())));
    }
    let disk = Disk::open(&DiskOptions::of(options)).await?;
    if disk.small("cluster").is_none() {
        return Err(OpenError::Option("this node is of no cluster".into()));
    }
    let path = options.data_dir.display().to_string();
    let newest = DiskLog::newest_stamp(&disk);
    let newest = newest.map_err(|e| OpenError::Damaged { what: "log".into(), why: e.to_string() })?;
    disk.keep(Life::forcing(node), Vec::new()).await.map_err(|source| OpenError::Io { path, source })?;
    Ok(newest)
}

/// Tells the nodes that share a group with this one what was heard of the disks of all of them, and writes down what is
/// new, until the node closes.
///
/// The first round comes before this node votes or takes in anything: whoever can be reached has then written down that this
/// disk was started anew.
pub(crate) async fn tell_around(inner: Weak<Inner>) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let fellows = fellows(&inner);
        let table = inner.peers.me().disks.table(&fellows);
        let telling = fellows.iter().map(|node| tell(&inner, *node, &table));
        let _ = timeout(TELL_EVERY, join_all(telling)).await;
        write_down(&inner);
        if !inner.introduced.swap(true, Ordering::AcqRel) {
            inner.look.notify_one();
        }
        drop(inner);
        sleep(TELL_EVERY).await;
    }
}

async fn tell(inner: &Arc<Inner>, node: u64, table: &Table) {
    let Ok(body) = codec::encode(table) else { return };
    let answer = inner.peers.call(node, None, Lane::Raft, Kind::Disks, body.into(), TELL_EVERY).await;
    let Some(theirs) = answer.ok().and_then(|answer| codec::decode::<Table>(&answer).ok()) else { return };
    hear(inner, node, &theirs).await;
}

/// Takes in what a peer heard of disks. If that shows that our own is behind, it counts for nothing from here on.
pub(crate) async fn hear(inner: &Inner, from: u64, theirs: &Table) {
    let disks = &inner.peers.me().disks;
    let Some(moment) = disks.merge(from, theirs) else { return };
    if let Err(doubt) = disks.was_ours(&moment)
        && let Err(error) = disks.renew(moment.disk, &doubt.why).await
    {
        tracing::error!(%error, "the disk does not take its new id");
    }
}

/// What this node heard of the disks of those who share a group with it, and of the one who asks.
pub(crate) fn told(inner: &Inner, from: u64) -> Table {
    let mut nodes = fellows(inner);
    nodes.insert(from);
    inner.peers.me().disks.table(&nodes)
}

/// The nodes that share a group with this one, as voters or to become voters.
fn fellows(inner: &Inner) -> BTreeSet<u64> {
    let me = inner.node();
    let mut fellows: BTreeSet<u64> = inner.control.host().read(|control| {
        let shared = control.placement.values().filter(|nodes| nodes.contains(&me));
        shared.flatten().copied().collect()
    });
    let metrics = inner.control.raft().metrics();
    let voters: BTreeSet<u64> = metrics.borrow().membership_config.membership().voter_ids().collect();
    if voters.contains(&me) {
        fellows.extend(voters);
    }
    fellows.remove(&me);
    fellows
}

/// Has what is new written with the next sync; one comes soon, even if nothing else is to be synced.
fn write_down(inner: &Inner) {
    let me = Arc::downgrade(inner.peers.me());
    if !inner.peers.me().disks.is_fresh() {
        return;
    }
    let op = move || me.upgrade().map_or(Ok(()), |me| me.disks.write());
    if let Err(error) = inner
        .ground
        .disk
        .flusher()
        .note(Box::new(move || op().map_err(|e| crate::base::sled::Error::Unsupported(e.to_string()))))
    {
        tracing::warn!(%error, "what was heard of other disks is not written down");
    }
}

/// What is to be decided about disks now. Forced ones are proposed by the node they were forced on, everything else by the
/// leader of control.
pub(crate) async fn admit(inner: &Arc<Inner>, wishes: &Wishes) {
    let disks = &inner.peers.me().disks;
    let mut actions: Vec<Action> =
        disks.forced().into_iter().map(|(node, disk)| Action::ForceDisk { node, disk }).collect();
    disks.forget_forced();
    if leads(inner.control.raft()).is_some() {
        actions.extend(unknown(inner, wishes));
        actions.extend(changed(inner, wishes));
        actions.extend(emptied(inner, wishes).await);
    }
    for action in actions {
        let words = format!("{action:?}");
        let ledgers = Ledgers { inner: Arc::clone(inner) };
        let command = Command { by: "cluster".into(), action };
        match timeout(CHANGE, ledgers.propose_control(vec![command])).await {
            Ok(Ok(answers)) if answers.first() == Some(&Answer::Done) => tracing::info!("decided: {words}"),
            Ok(other) => tracing::warn!(?other, "not decided, tried again: {words}"),
            Err(_) => tracing::warn!("not decided in time, tried again: {words}"),
        }
    }
}

/// Disks of members that control has not written down yet.
fn unknown(inner: &Inner, wishes: &Wishes) -> Vec<Action> {
    let open = wishes.nodes.keys().filter(|node| !wishes.disks.contains_key(node));
    let disk = |node: &u64| inner.peers.me().disks.disk_of(*node).map(|disk| Action::PutDisk { node: *node, disk });
    open.filter_map(disk).collect()
}

/// Members that came with another disk, and those whose known disk is back after all.
fn changed(inner: &Inner, wishes: &Wishes) -> Vec<Action> {
    let disks = &inner.peers.me().disks;
    let mut actions = Vec::new();
    for (node, disk) in disks.applicants() {
        let Some(old) = wishes.disks.get(&node).copied() else { continue };
        let new = old != disk && wishes.coming.get(&node) != Some(&disk);
        if new && disks.is_quiet(node) && !wishes.draining.contains(&node) {
            actions.push(Action::ChangeDisk { node, old, disk });
        }
    }
    let back = wishes.coming.keys().filter(|node| disks.spoke_lately(**node));
    actions.extend(back.map(|node| Action::KeepDisk { node: *node }));
    actions
}

/// Members that left every group with their old disk, so that their new one may begin.
async fn emptied(inner: &Inner, wishes: &Wishes) -> Vec<Action> {
    let mut actions = Vec::new();
    for (node, disk) in &wishes.coming {
        if is_out(inner, *node, wishes).await {
            actions.push(Action::AdmitDisk { node: *node, disk: *disk });
        }
    }
    actions
}

/// Whether neither control nor any partition has the node as a member, not even as one that learns.
async fn is_out(inner: &Inner, node: u64, wishes: &Wishes) -> bool {
    let control = crate::answering::members(&*inner.control);
    if !control.settled || control.nodes.contains(&node) {
        return false;
    }
    for partition in wishes.placement.keys() {
        let members = members_by_leader(inner, *partition, wishes).await;
        if !members.is_some_and(|members| members.settled && !members.nodes.contains(&node)) {
            return false;
        }
    }
    true
}
