//! The dead letters of a partition: grouped by reason, listed, and read whole for redriving.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, PartitionId, Time};
use tidings_machine::partition::{DeadLetter, Ended, Partition, State};
use utoipa::ToSchema;

use super::{Question, Summary};
use crate::app::Shared;

/// About how many bytes of records one answer holds.
const RECORDS_BYTES: usize = 512 * 1024;

/// Which dead letters are wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadFilter {
    /// Only of this template.
    #[serde(default)]
    pub template: Option<String>,
    /// Only of this channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// Only those that ended with this reason code.
    #[serde(default)]
    pub code: Option<String>,
    /// Only `failed`, or only `unknown`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub state: Option<State>,
}

impl DeadFilter {
    fn takes(&self, letter: &DeadLetter) -> bool {
        self.template.as_ref().is_none_or(|template| *template == letter.template)
            && self.channel.as_ref().is_none_or(|channel| *channel == letter.channel)
            && self.code.as_ref().is_none_or(|code| *code == letter.reason.code)
            && self.state.is_none_or(|state| state == letter.state)
    }
}

/// Asks for the dead letters grouped by reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadGroups {
    pub partition: PartitionId,
    pub filter: DeadFilter,
}

/// Dead letters that ended the same way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeadGroup {
    /// The reason's code.
    pub code: String,
    /// `failed` or `unknown`.
    #[schema(value_type = String)]
    pub state: State,
    /// The template.
    pub template: String,
    /// The channel.
    pub channel: String,
    /// The account of the last attempt, if there was one.
    pub account: Option<String>,
    /// How many there are.
    pub count: u64,
    /// One of them: the newest.
    #[schema(value_type = String)]
    pub sample: DeliveryId,
    /// What the provider said about that one.
    pub words: String,
    /// When the first of them ended.
    #[schema(value_type = String)]
    pub first_at: Time,
    /// When the last of them ended.
    #[schema(value_type = String)]
    pub last_at: Time,
}

impl DeadGroup {
    /// What makes two of them one.
    pub(crate) fn key(&self) -> (String, State, String, String, Option<String>) {
        (self.code.clone(), self.state, self.template.clone(), self.channel.clone(), self.account.clone())
    }

    /// Adds another partition's group of the same key.
    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.first_at = self.first_at.min(other.first_at);
        if other.last_at > self.last_at {
            (self.last_at, self.sample, self.words) = (other.last_at, other.sample, other.words);
        }
    }

    fn see(&mut self, id: DeliveryId, letter: &DeadLetter) {
        self.count += 1;
        self.first_at = self.first_at.min(letter.at);
        if letter.at >= self.last_at {
            self.last_at = letter.at;
            self.sample = id;
            self.words.clone_from(&letter.reason.words);
        }
    }
}

impl Question for DeadGroups {
    const KIND: u16 = 5;
    type Answer = Vec<DeadGroup>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Vec<DeadGroup>, String> {
        let groups = app.ledger.partition(self.partition, |p| groups(p, &self.filter));
        groups.ok_or_else(|| "no replica here".to_owned())
    }
}

fn groups(partition: &Partition, filter: &DeadFilter) -> Vec<DeadGroup> {
    type Key<'a> = (&'a str, State, &'a str, &'a str, Option<&'a str>);
    let mut groups: BTreeMap<Key<'_>, DeadGroup> = BTreeMap::new();
    for (id, letter) in partition.dead_letters().filter(|(_, letter)| filter.takes(letter)) {
        let account = letter.account.as_deref();
        let key =
            (letter.reason.code.as_str(), letter.state, letter.template.as_str(), letter.channel.as_str(), account);
        let group = groups.entry(key).or_insert_with(|| DeadGroup {
            code: letter.reason.code.clone(),
            state: letter.state,
            template: letter.template.clone(),
            channel: letter.channel.clone(),
            account: letter.account.clone(),
            count: 0,
            sample: *id,
            words: String::new(),
            first_at: letter.at,
            last_at: letter.at,
        });
        group.see(*id, letter);
    }
    groups.into_values().collect()
}

/// Asks for dead letters, newest first by acceptance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadPage {
    pub partition: PartitionId,
    pub filter: DeadFilter,
    /// Only those with smaller ids.
    pub before: Option<DeliveryId>,
    pub limit: usize,
}

impl Question for DeadPage {
    const KIND: u16 = 6;
    type Answer = Vec<Summary>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Vec<Summary>, String> {
        let ids = app.ledger.partition(self.partition, |p| newest(p, &self)).ok_or("no replica here")?;
        let archive = app.ledger.archive(self.partition).ok_or("no archive here")?;
        let mut summaries = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(ended) = archive.get(id).await.map_err(|e| e.to_string())? {
                summaries.push(Summary::new(&ended.delivery, &ended.sheet));
            }
        }
        Ok(summaries)
    }
}

fn newest(partition: &Partition, page: &DeadPage) -> Vec<DeliveryId> {
    let mut last = VecDeque::with_capacity(page.limit);
    let letters = partition.dead_letters().take_while(|(id, _)| page.before.is_none_or(|before| **id < before));
    for (id, _) in letters.filter(|(_, letter)| page.filter.takes(letter)) {
        if last.len() == page.limit {
            last.pop_front();
        }
        last.push_back(*id);
    }
    last.into_iter().rev().collect()
}

/// Asks for dead letters whole, oldest first by acceptance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadRecords {
    pub partition: PartitionId,
    pub filter: DeadFilter,
    /// Only these, if there are any.
    pub ids: Vec<DeliveryId>,
    /// Only those with greater ids.
    pub after: Option<DeliveryId>,
    pub limit: usize,
}

/// Some dead letters, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Records {
    pub records: Vec<Arc<Ended>>,
    /// All dead letters up to here were looked at; `None` if there are no others.
    pub reached: Option<DeliveryId>,
}

impl Question for DeadRecords {
    const KIND: u16 = 7;
    type Answer = Records;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    async fn answer(self, app: Shared) -> Result<Records, String> {
        let ids = app.ledger.partition(self.partition, |p| oldest(p, &self)).ok_or("no replica here")?;
        let archive = app.ledger.archive(self.partition).ok_or("no archive here")?;
        let mut answer = Records { records: Vec::new(), reached: None };
        let mut bytes = 0;
        for id in &ids {
            if let Some(ended) = archive.get(*id).await.map_err(|e| e.to_string())? {
                bytes += ended.sheet.variables.len() + ended.delivery.variables.as_ref().map_or(0, String::len) + 1_024;
                answer.records.push(Arc::new(ended));
            }
            if bytes >= RECORDS_BYTES {
                answer.reached = Some(*id);
                return Ok(answer);
            }
        }
        answer.reached = ids.last().copied().filter(|_| ids.len() >= self.limit);
        Ok(answer)
    }
}

fn oldest(partition: &Partition, asked: &DeadRecords) -> Vec<DeliveryId> {
    let wanted = |id: &DeliveryId| asked.after.is_none_or(|after| *id > after);
    if !asked.ids.is_empty() {
        let mut ids: Vec<_> = asked.ids.iter().copied().filter(|id| wanted(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let here =
            ids.into_iter().filter(|id| partition.dead_letter(id).is_some_and(|letter| asked.filter.takes(letter)));
        return here.take(asked.limit).collect();
    }
    let letters = partition.dead_letters().filter(|(id, letter)| wanted(id) && asked.filter.takes(letter));
    letters.map(|(id, _)| *id).take(asked.limit).collect()
}
