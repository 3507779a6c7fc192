//! What a recall needs to know: how deliveries were sent, and how the wishes to have them back stand.

use serde::{Deserialize, Serialize};
use tidings_contract::{DeliveryId, PartitionId};
use tidings_machine::partition::{Happening, RecallStanding, SentAs, State, Subject};

use super::Question;
use crate::app::Shared;

/// Asks how some deliveries of a partition were sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sendings {
    pub partition: PartitionId,
    pub ids: Vec<DeliveryId>,
}

/// One delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub id: DeliveryId,
    pub state: State,
    /// How it was sent, if a provider took it and named it.
    pub sent: Option<SentAs>,
}

impl Question for Sendings {
    const KIND: u16 = 140;
    type Answer = Vec<Sending>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    fn stands(&self, answer: &Self::Answer) -> bool {
        answer.len() == self.ids.len()
    }

    /// Those that are not known are left out.
    async fn answer(self, app: Shared) -> Result<Vec<Sending>, String> {
        let mut sendings = Vec::with_capacity(self.ids.len());
        let archive = app.ledger.archive(self.partition).ok_or("no archive here")?;
        for id in self.ids {
            let pending = app.ledger.partition(self.partition, |p| p.delivery(&id)).ok_or("no replica here")?;
            if pending.is_some() {
                sendings.push(Sending { id, state: State::Pending, sent: None });
                continue;
            }
            let Some(ended) = archive.get(id).await.map_err(|e| e.to_string())? else { continue };
            let (delivery, sheet) = (&ended.delivery, &ended.sheet);
            let sent =
                delivery.last_account().zip(delivery.provider_id.as_deref()).map(|(account, provider_id)| SentAs {
                    account: account.to_owned(),
                    to: delivery.to.clone(),
                    provider_id: provider_id.to_owned(),
                    template: sheet.template.clone(),
                    accepted_at: delivery.accepted_at(),
                    subject: Subject::of(delivery, sheet, &[Happening::Recalled]),
                });
            sendings.push(Sending { id, state: delivery.state, sent });
        }
        Ok(sendings)
    }
}

/// Asks how some deliveries of a partition stand now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Standings {
    pub partition: PartitionId,
    pub ids: Vec<DeliveryId>,
}

/// How a delivery stands now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Now {
    pub id: DeliveryId,
    pub state: State,
    /// How the wish to have it back stands, if there is one.
    pub recall: Option<RecallStanding>,
}

impl Question for Standings {
    const KIND: u16 = 141;
    type Answer = Vec<Now>;

    fn of(&self) -> Option<PartitionId> {
        Some(self.partition)
    }

    fn stands(&self, answer: &Self::Answer) -> bool {
        answer.len() == self.ids.len()
    }

    async fn answer(self, app: Shared) -> Result<Vec<Now>, String> {
        let mut standings = Vec::with_capacity(self.ids.len());
        let archive = app.ledger.archive(self.partition).ok_or("no archive here")?;
        for id in self.ids {
            let look = |p: &tidings_machine::partition::Partition| (p.delivery(&id).is_some(), p.recall_standing(&id));
            let (pending, recall) = app.ledger.partition(self.partition, look).ok_or("no replica here")?;
            let state = match pending {
                true => State::Pending,
                false => match archive.get(id).await.map_err(|e| e.to_string())? {
                    Some(ended) => ended.delivery.state,
                    None => continue,
                },
            };
            standings.push(Now { id, state, recall });
        }
        Ok(standings)
    }
}
