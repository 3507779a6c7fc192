//! The dry run: what each rule would say about each recipient, with nothing kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_actors::render::Variables;
use tidings_contract::{MessageId, PartitionId, Time, partition_of};
use tidings_machine::partition::{Finding, Judgement, Recipient, Ruling, Sheet, State};

use super::Compiled;
use super::check::{Checked, check_shape, check_surely};
use super::dictionaries::look_through;
use super::fingerprints::fingerprint;
use super::materials::have_materials;
use super::rehearse_legs::{RehearsedLeg, rehearse_legs};
use super::request::Submission;
use super::rules::rule;
use crate::app::Shared;
use crate::auth::Caller;
use crate::look::{Rehearse, Unreachable};
use crate::policies::{Active, Rule};
use crate::problem::{Code, Problem, Rejected};

/// Recipients after which others get a turn.
const TURN: usize = 100;

/// What would become of a message.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    /// The template's version it would be pinned to.
    pub version: u32,
    /// What would become of each recipient who can be sent to, in the order of the request.
    pub deliveries: Vec<(Recipient, Judgement)>,
    /// What the rules of the further legs would say, for each of them in the same order.
    pub legs: Vec<Vec<RehearsedLeg>>,
    /// Who would be rejected.
    pub rejected: Vec<Rejected>,
}

/// Finds out what would become of a message, as of now.
///
/// # Errors
/// The problem that sending it would have.
pub(crate) async fn rehearse(app: &Shared, caller: &Caller, body: &[u8]) -> Result<Rehearsed, Problem> {
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
    let version = compiled.version.version;
    let sheet = Arc::clone(&checked.sheet);
    let (mut deliveries, rejected) = ask(app, checked, partitions, now).await?;
    look(app, &compiled, &sheet, &mut deliveries).await?;
    let legs = rehearse_legs(app, &sheet, partitions, now, &deliveries).await;
    Ok(Rehearsed { version, deliveries, legs, rejected })
}

type Answers = (Vec<(Recipient, Judgement)>, Vec<Rejected>);

async fn ask(app: &Shared, checked: Checked, partitions: u16, now: Time) -> Result<Answers, Problem> {
    let Checked { sheet, recipients, mut rejected, .. } = checked;
    let mut parts: BTreeMap<PartitionId, Vec<Recipient>> = BTreeMap::new();
    for recipient in recipients {
        parts.entry(partition_of(&recipient.to, partitions)).or_default().push(recipient);
    }
    let message = MessageId::new(now, PartitionId(0), rand::random());
    let mut deliveries = Vec::new();
    for (partition, recipients) in parts {
        let sheet = Arc::clone(&sheet);
        let question = Rehearse { partition, at: now, message, sheet, recipients: recipients.clone() };
        match app.ask(partition, question).await {
            Ok(judgements) => deliveries.extend(recipients.into_iter().zip(judgements)),
            Err(Unreachable(partition)) => rejected.extend(recipients.into_iter().map(|recipient| {
                let detail = format!("{partition} cannot be asked");
                Rejected::new(recipient.index, &recipient.to, "no_leader", &detail).retryable()
            })),
        }
    }
    if deliveries.is_empty() {
        return Err(Problem::new(Code::NoLeader, "no partition can be asked").with_rejected(rejected));
    }
    deliveries.sort_by_key(|(recipient, _)| recipient.index);
    rejected.sort_by_key(|rejected| rejected.index);
    Ok((deliveries, rejected))
}

/// What decides after the machine has: words, which need the content, and limits, which only make it wait.
async fn look(
    app: &Shared,
    compiled: &Compiled,
    sheet: &Sheet,
    deliveries: &mut [(Recipient, Judgement)],
) -> Result<(), Problem> {
    let readers = app.readers(&sheet.rules.words).await?;
    let limits = limits(app, sheet, 0);
    let shared = Variables::parse(&sheet.variables).unwrap_or_default();
    for (n, (recipient, judgement)) in deliveries.iter_mut().enumerate() {
        if !readers.is_empty() {
            let own =
                recipient.variables.as_deref().map(Variables::parse).transpose().ok().flatten().unwrap_or_default();
            let (content, _) = compiled.fill(&shared, &own)?;
            let looked = look_through(&readers, content);
            if looked.barred && judgement.state == State::Pending {
                judgement.state = State::Suppressed;
            }
            judgement.findings.extend(looked.findings);
        }
        judgement.findings.extend(limits.iter().cloned());
        if n % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// The limits that hold for a leg of a message. Whether there is room when it has its turn nobody knows now.
pub(super) fn limits(app: &Shared, sheet: &Sheet, leg: u8) -> Vec<Finding> {
    let (in_force, leg) = (app.policies(), sheet.leg(leg));
    let selected = in_force.select(leg.channel, sheet.message_type, leg.template, &sheet.tags);
    let limit = |policy: &Active| match &policy.rule {
        Rule::Limits(rule) => Some(Finding { title: policy.title.clone(), ruling: Ruling::Pass, detail: rule.told() }),
        _ => None,
    };
    selected.filter_map(limit).collect()
}
