//! What only a node itself knows: how its groups stand, and what its sandbox was given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_contract::{PartitionId, Time};
use tidings_raft::{Stand, TimeReport};
use utoipa::ToSchema;

use super::Question;
use crate::app::Shared;

/// Asks a node how it and its groups stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standing;

/// How a node stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StandingView {
    pub groups: Vec<GroupView>,
    /// Bytes of its database.
    pub disk_used_bytes: Option<u64>,
    /// Bytes that are free on its disk.
    pub disk_free_bytes: Option<u64>,
    /// How its clock stands.
    #[serde(default)]
    pub clock: ClockView,
}

/// How a node's clock and the cluster's time stand, as that node sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClockView {
    /// `agrees` with a majority, `astray` (the node leads nothing until its clock is right), `unproven` (no majority agrees).
    pub stand: String,
    /// How far its wall clock is ahead of the time that a majority agrees on, in milliseconds; below zero it is behind.
    pub ahead_ms: Option<i64>,
    /// How far the cluster's time is ahead of the time that a majority of the clocks agrees on, in milliseconds.
    pub cluster_ahead_ms: Option<i64>,
    /// The groups whose time is in the future, with how far, in milliseconds. `POST /v1/cluster/repair-time` sets them back.
    pub groups_ahead_ms: BTreeMap<String, u64>,
}

impl ClockView {
    fn of(report: &TimeReport) -> Self {
        let stand = match report.stand {
            _ if report.astray => "astray",
            Stand::Agrees | Stand::Astray => "agrees",
            Stand::Unproven => "unproven",
        };
        Self {
            stand: stand.to_owned(),
            ahead_ms: report.ahead_ms,
            cluster_ahead_ms: report.present_ahead_ms,
            groups_ahead_ms: report.groups_ahead.iter().map(|(group, ms)| (group.to_string(), *ms)).collect(),
        }
    }
}

/// One group, as a node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GroupView {
    /// `control`, `p0`, `p1` …
    pub name: String,
    /// Who leads it, if that is known there.
    pub leader: Option<u64>,
    pub term: u64,
    /// Who has a replica, and how far behind each is; only the leader knows that.
    pub replicas: BTreeMap<u64, Option<u64>>,
    /// Index of the newest entry applied.
    pub applied: Option<u64>,
    /// Index of the newest entry in the log.
    pub last_log: Option<u64>,
    /// Entries in the log.
    pub log_length: Option<u64>,
    /// Those who vote.
    pub voters: Vec<u64>,
    /// Proposals that wait.
    pub waiting: usize,
}

impl Question for Standing {
    const KIND: u16 = 30;
    type Answer = StandingView;

    fn of(&self) -> Option<PartitionId> {
        None
    }

    async fn answer(self, app: Shared) -> Result<StandingView, String> {
        let disk = app.ledger.disk_use();
        Ok(StandingView {
            groups: app.ledger.status(),
            disk_used_bytes: disk.map(|disk| disk.used_bytes),
            disk_free_bytes: disk.map(|disk| disk.free_bytes),
            clock: ClockView::of(&app.ledger.time_report()),
        })
    }
}

/// Asks the node that leads a group to hand it over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HandOver {
    /// `control`, `p0`, `p1` …
    pub group: String,
    /// Who is to lead it.
    pub to: u64,
}

impl Question for HandOver {
    const KIND: u16 = 31;
    type Answer = ();

    fn of(&self) -> Option<PartitionId> {
        None
    }

    async fn answer(self, app: Shared) -> Result<(), String> {
        let group = self.group.parse().map_err(|()| format!("there is no group {}", self.group))?;
        app.ledger.hand_over(group, self.to).await
    }
}

/// Asks a node to set its present to agreed time, and the groups it leads back where they are in the future.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RepairTime;

/// A group whose time was set back, or could not be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RepairedView {
    /// `p0`, `p1` …
    pub group: String,
    /// What its time was.
    #[schema(value_type = String)]
    pub was: Time,
    /// What it was set to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<Time>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Question for RepairTime {
    const KIND: u16 = 33;
    type Answer = Vec<RepairedView>;

    fn of(&self) -> Option<PartitionId> {
        None
    }

    async fn answer(self, app: Shared) -> Result<Vec<RepairedView>, String> {
        let view = |one: tidings_raft::RepairedGroup| RepairedView {
            group: one.group.to_string(),
            was: one.was,
            to: one.to.as_ref().ok().copied(),
            error: one.to.err(),
        };
        Ok(app.ledger.repair_time().await?.into_iter().map(view).collect())
    }
}

/// Asks a node what its sandbox was given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Inbox {
    /// Only of this account.
    pub account: Option<String>,
    /// Only for this recipient.
    pub to: Option<String>,
    /// Only after this number; without it the newest.
    pub after: Option<u64>,
    /// Most entries.
    pub limit: usize,
}

/// A content that a sandbox was given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Seen {
    /// The node whose sandbox it was.
    #[serde(default)]
    pub node: u64,
    /// Counted up from 1 in that node's process.
    pub seq: u64,
    /// When the call was made.
    pub at: String,
    /// The account.
    pub account: String,
    /// The template's channel.
    pub channel: String,
    /// What the message is for.
    pub message_type: String,
    /// The delivery.
    pub delivery: String,
    /// Which attempt at it, from 1.
    pub attempt: u16,
    /// The recipient.
    pub to: String,
    /// The rendered content.
    pub content: Value,
}

impl Question for Inbox {
    const KIND: u16 = 11;
    type Answer = Vec<Seen>;

    fn of(&self) -> Option<PartitionId> {
        None
    }

    async fn answer(self, app: Shared) -> Result<Vec<Seen>, String> {
        let wanted = |entry: &tidings_channels::InboxEntry| {
            self.account.as_ref().is_none_or(|account| *account == entry.account)
                && self.to.as_ref().is_none_or(|to| *to == entry.to)
        };
        let inbox = app.registry.inbox();
        let entries: Vec<_> = match self.after {
            Some(after) => inbox.list(after, usize::MAX).into_iter().filter(wanted).take(self.limit).collect(),
            None => {
                let mut newest: Vec<_> = inbox.latest(usize::MAX).into_iter().filter(wanted).take(self.limit).collect();
                newest.reverse();
                newest
            }
        };
        let node = app.ledger.node();
        let seen = |entry: tidings_channels::InboxEntry| Seen {
            node,
            seq: entry.seq,
            at: entry.at.to_string(),
            account: entry.account,
            channel: entry.channel,
            message_type: entry.message_type.name().to_owned(),
            delivery: entry.delivery.to_string(),
            attempt: entry.attempt,
            to: entry.to,
            content: entry.content.as_ref().clone(),
        };
        Ok(entries.into_iter().map(seen).collect())
    }
}
