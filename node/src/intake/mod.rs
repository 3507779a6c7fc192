//! The edge of `POST /v1/messages`: from bytes to deliveries that are kept, or a problem and nothing kept.

mod check;
mod claim;
mod dictionaries;
mod fingerprints;
#[cfg(test)]
mod fixture;
mod keep;
mod leg_rules;
mod materials;
mod rehearse;
mod rehearse_legs;
mod request;
mod rules;
mod split;
mod tally;
mod templates;
mod ways;
mod zones;

use std::sync::Arc;

use tidings_contract::{DeliveryId, MessageId, PartitionId, Time, partition_of};
use tidings_machine::partition::{Accept, Header, Sheet, State};
use tokio::time::Instant;

use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Code, Problem, Rejected};
use check::{Checked, check_shape, check_surely};
pub(crate) use check::{MAX_VARIABLES_BYTES, is_tag};
use claim::{Claiming, claim};
pub(crate) use dictionaries::{Dictionaries, look_through};
use fingerprints::fingerprint;
pub(crate) use fingerprints::fingerprint_of;
use keep::{End, keep};
use materials::have_materials;
pub(crate) use rehearse::{Rehearsed, rehearse};
pub(crate) use rehearse_legs::RehearsedLeg;
pub(crate) use request::{Batch, Submission, recipients_in};
use rules::rule;
pub(crate) use rules::{check_own, rule_again, words_of_preview};
use split::{Part, census, split};
use tally::Tally;
pub(crate) use templates::{Compiled, Templates, check_syntax, unknown_template};
pub(crate) use ways::{KnownWays, Ways};

/// How much later than its deadline a part may still be applied, for clocks that differ.
const GRACE_MS: u64 = 2_000;

/// What a caller gets for a message that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The message.
    pub message: MessageId,
    /// What is kept.
    pub deliveries: Vec<Placed>,
    /// What is not.
    pub rejected: Vec<Rejected>,
    /// Whether the idempotency key had been claimed before.
    pub replayed: bool,
}

/// One delivery that is kept.
#[derive(Debug)]
pub(crate) struct Placed {
    /// The delivery.
    pub id: DeliveryId,
    /// The recipient, normalised.
    pub to: String,
    /// Where it stood when it was kept.
    pub state: State,
}

/// Takes one message.
///
/// # Errors
/// A problem; nothing was kept, unless its code is `timeout`.
pub(crate) async fn submit(app: &App, caller: &Caller, body: &[u8], key: Option<&str>) -> Result<Taken, Problem> {
    let taken = take(app, caller, body, key).await;
    taken.inspect_err(crate::guard::count)
}

async fn take(app: &App, caller: &Caller, body: &[u8], key: Option<&str>) -> Result<Taken, Problem> {
    app.guard.admit(app)?;
    let deadline = Instant::now() + app.limits().deadline;
    let submission: Submission<'_> = app.heavy.run(body.len(), || crate::strict::decode(body)).await?;
    let now = app.now();
    check_shape(&submission, &app.limits(), now)?;
    let partitions = app.ledger.control(|c| c.cluster.as_ref().map(|cluster| cluster.partitions));
    let partitions = partitions.ok_or_else(crate::auth::not_founded)?;
    let compiled = app.current_template(&submission.template).await?;
    let by = (caller.key_id.as_str(), body.len());
    let mut checked = check_surely(app, &submission, &compiled, by, now).await?;
    have_materials(app, &compiled, &mut checked).await?;
    fingerprint(app, &compiled, &mut checked).await?;
    rule(app, &compiled, &mut checked, now).await?;
    if checked.recipients.is_empty() {
        return Err(Problem::new(Code::NoValidRecipient, "no recipient can be sent to").with_rejected(checked.rejected));
    }
    match key {
        None => {
            let home = partition_of(&checked.recipients[0].to, partitions);
            let plan = Plan::new(app.new_message(now, home), now, partitions, checked);
            plan.carry_out(app, deadline, app.latest().after_ms(app.accept_within()), true).await
        }
        Some(key) => {
            let claiming = Claiming { submission: &submission, compiled, key, body, partitions, caller };
            let (plan, replayed) = claim(app, claiming, checked, now, deadline).await?;
            let until = plan.accepted_at.max(app.latest()).after_ms(app.limits().idempotency_ms + app.accept_within());
            let mut taken = plan.carry_out(app, deadline, until, false).await?;
            taken.replayed = replayed;
            Ok(taken)
        }
    }
}

impl App {
    fn accept_within(&self) -> u64 {
        self.limits().deadline.as_millis() as u64 + GRACE_MS
    }
}

/// A message, split, with everything that is needed to have it kept.
#[derive(Debug)]
struct Plan {
    message: MessageId,
    accepted_at: Time,
    parts: Vec<Part>,
    sheet: Arc<Sheet>,
    rejected: Vec<Rejected>,
    count: u16,
}

impl Plan {
    fn new(message: MessageId, accepted_at: Time, partitions: u16, checked: Checked) -> Self {
        let Checked { sheet, recipients, rejected, absent, count } = checked;
        let parts = split(recipients, absent, partitions, &sheet);
        Self { message, accepted_at, parts, sheet, rejected, count }
    }

    fn header(&self) -> Header {
        Header {
            message: self.message,
            template: self.sheet.template.clone(),
            version: self.sheet.version,
            biz_id: self.sheet.biz_id.clone(),
            accepted_at: self.accepted_at,
            recipients: self.count,
            partitions: census(&self.parts),
        }
    }

    /// The commands; the first part of the home partition carries the header unless a claim did, or the message has one
    /// recipient, whose delivery tells as much.
    fn accepts(&mut self, accept_by: Time, repeatable_until: Time, carry_header: bool) -> Vec<Accept> {
        let mut header = (carry_header && self.count > 1).then(|| Box::new(self.header()));
        let home: PartitionId = self.message.home();
        let repeatable_until = repeatable_until.max(accept_by);
        let parts = std::mem::take(&mut self.parts);
        let accept = |part: Part| Accept {
            message: self.message,
            partition: part.partition,
            part: part.number,
            accept_by,
            repeatable_until,
            sheet: Arc::clone(&self.sheet),
            recipients: part.recipients,
            header: if part.partition == home { header.take() } else { None },
        };
        parts.into_iter().map(accept).collect()
    }

    /// Has every part kept and says what became of each recipient.
    async fn carry_out(
        mut self,
        app: &App,
        deadline: Instant,
        repeatable_until: Time,
        carry_header: bool,
    ) -> Result<Taken, Problem> {
        let accept_by = app.latest().after_ms(app.accept_within());
        let accepts = self.accepts(accept_by, repeatable_until, carry_header);
        let mut tally = Tally::new(self.rejected);
        for (recipients, end) in keep(app, accepts, deadline).await {
            match end {
                End::Kept(verdicts) => tally.keep(recipients, verdicts),
                lost => tally.lose(recipients, lost.problem()),
            }
        }
        tally.finish(self.message)
    }
}
