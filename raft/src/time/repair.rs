//! The cluster's time is set to what the machines' clocks agree on, because an operator asks for it.

use std::time::Duration;

use tidings_contract::Time;
use tidings_machine::partition::{Answer, Command};
use tidings_machine::repair::Repair;
use tokio::time::Instant;

use super::report::USUAL_MS;
use crate::group::{AnyGroup, leads};
use crate::ledgers::Ledgers;
use crate::propose::Commands;
use crate::types::GroupId;

/// How long one group may take.
const WITHIN: Duration = Duration::from_secs(5);

/// A group whose time was in the future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedGroup {
    /// Which.
    pub group: GroupId,
    /// What its time was.
    pub was: Time,
    /// What it was set to, or why it was not.
    pub to: Result<Time, String>,
}

impl Ledgers {
    /// The time that a majority of the machines' clocks agrees on, if one does.
    pub fn agreed_time(&self) -> Option<Time> {
        self.inner.ground.clock.agreed()
    }

    /// Sets this node's present to the agreed time, and sets the time of every partition back that is led here and in the
    /// future. To be asked of every node; doing so again changes nothing more. Control's own time is set back by
    /// [`Action::RepairTime`](tidings_machine::control::Action::RepairTime).
    ///
    /// # Errors
    /// No majority of clocks agrees, so nobody knows what time it is.
    pub async fn repair_time(&self) -> Result<Vec<RepairedGroup>, String> {
        let nobody = "no majority of the machines' clocks agrees: set them (NTP) and repair then";
        let agreed = self.inner.ground.clock.repair().ok_or(nobody)?;
        tracing::warn!(%agreed, "the cluster's time was set to what the machines' clocks agree on: an operator asked for it");
        let partitions: Vec<_> = self.inner.partitions.read().values().cloned().collect();
        let mut repaired = Vec::new();
        for group in partitions.into_iter().filter(|group| leads(group.raft()).is_some()) {
            let (was, to) = (group.time(), self.inner.ground.clock.agreed().unwrap_or(agreed));
            if was.0.saturating_sub(to.0) <= USUAL_MS {
                continue;
            }
            let done = match Commands::new(vec![Command::RepairTime(Repair { was, to })]) {
                Ok(mut commands) => {
                    group.propose(&mut commands, Instant::now() + WITHIN).await.map_err(|e| e.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let to = done.and_then(|answers| match answers.first() {
                Some(Answer::Done(_)) => Ok(group.applied_time()),
                other => Err(format!("the group answered {other:?}")),
            });
            repaired.push(RepairedGroup { group: group.id(), was, to });
        }
        Ok(repaired)
    }
}
