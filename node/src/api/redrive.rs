//! Redrives: reads dead letters whole, edits them, and has their partitions make new deliveries of them.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_contract::{DeliveryId, PartitionId, RecipientKind};
use tidings_machine::partition::{
    Answer, CALLBACK_TEMPLATE, Command, Delivery, Ended, Policy, Recipient, Redrive, Rules, Sheet,
};

use super::accounts::serves;
use crate::app::Shared;
use crate::intake::{Compiled, MAX_VARIABLES_BYTES, Ways, fingerprint_of, rule_again};
use crate::ledger::Setback;
use crate::look::{DeadFilter, DeadRecords, Find, Unreachable};
use crate::problem::{Code, Problem};

/// Dead letters read at once.
const READ_AT_ONCE: usize = 200;
/// Most redrives, and most bytes of them, in one proposal.
const COMMANDS: usize = 100;
const BYTES: usize = 150_000;

/// What to redrive, and how.
#[derive(Debug)]
pub(crate) struct Order {
    pub filter: DeadFilter,
    pub ids: Vec<DeliveryId>,
    pub edit: Edit,
    pub limit: usize,
    pub by: String,
}

/// What to change about a dead letter.
#[derive(Debug)]
pub(crate) struct Edit {
    pub variables: Map<String, Value>,
    pub account: Option<String>,
    pub latest: bool,
}

/// What became of an order.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub made: Vec<(DeliveryId, DeliveryId)>,
    pub skipped: usize,
    pub incomplete: Vec<String>,
}

/// Carries out `order`, partition by partition.
pub(crate) async fn redrive(app: &Shared, order: &Order) -> Result<Done, Problem> {
    if let Some(account) = &order.edit.account
        && !app.ledger.control(|c| c.accounts.contains_key(account))
    {
        return Err(Problem::new(Code::UnknownAccount, format!("there is no account {account:?}")).in_body());
    }
    let mut done = Done::default();
    for partition in app.partitions() {
        let ids: Vec<_> = order.ids.iter().copied().filter(|id| id.partition() == partition).collect();
        if done.made.len() >= order.limit {
            break;
        }
        if ids.is_empty() && !order.ids.is_empty() {
            continue;
        }
        one_partition(app, order, partition, ids, &mut done).await?;
    }
    if done.made.is_empty() && !done.incomplete.is_empty() {
        return Err(Problem::new(Code::NoLeader, format!("{} cannot be asked", done.incomplete.join(", "))));
    }
    done.skipped += order.ids.len().saturating_sub(done.made.len() + done.skipped);
    Ok(done)
}

async fn one_partition(
    app: &Shared,
    order: &Order,
    partition: PartitionId,
    ids: Vec<DeliveryId>,
    done: &mut Done,
) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let limit = READ_AT_ONCE.min(order.limit - done.made.len());
        let question = DeadRecords { partition, filter: order.filter.clone(), ids: ids.clone(), after, limit };
        let Ok(answer) = app.ask(partition, question).await.map_err(|Unreachable(_)| ()) else {
            done.incomplete.push(partition.to_string());
            return Ok(());
        };
        let mut commands = Vec::with_capacity(answer.records.len());
        for ended in &answer.records {
            match edited(app, order, ended).await? {
                Some(redrive) => commands.push(redrive),
                None => done.skipped += 1,
            }
        }
        if !propose(app, partition, commands, done).await {
            done.incomplete.push(partition.to_string());
            return Ok(());
        }
        after = answer.reached;
        if after.is_none() || done.made.len() >= order.limit {
            return Ok(());
        }
    }
}

/// Proposes the redrives in pieces that fit an entry; false if an answer did not come.
async fn propose(app: &Shared, partition: PartitionId, redrives: Vec<Redrive>, done: &mut Done) -> bool {
    let size = |r: &Redrive| r.sheet.variables.len() + r.recipient.variables.as_ref().map_or(0, String::len) + 1_024;
    let mut redrives = redrives.into_iter().peekable();
    while redrives.peek().is_some() {
        let mut piece = Vec::new();
        let mut bytes = 0;
        while let Some(next) =
            redrives.next_if(|r| piece.is_empty() || (piece.len() < COMMANDS && bytes + size(r) <= BYTES))
        {
            bytes += size(&next);
            piece.push(next);
        }
        let olds: Vec<DeliveryId> = piece.iter().map(|redrive| redrive.delivery).collect();
        let commands = piece.into_iter().map(|redrive| Command::Redrive(Box::new(redrive))).collect();
        match app.ledger.propose(partition, commands).await {
            Ok(answers) => {
                for (old, answer) in olds.into_iter().zip(answers) {
                    match answer {
                        Answer::Accepted(verdicts) => done.made.extend(verdicts.iter().map(|v| (old, v.delivery))),
                        _ => done.skipped += 1,
                    }
                }
            }
            Err(setback) => {
                if matches!(setback, Setback::Unknown(_)) {
                    find_made(app, olds, done).await;
                }
                return false;
            }
        }
    }
    true
}

/// After an unknown end, what was made can be seen: a redrive's delivery has a known id.
async fn find_made(app: &Shared, olds: Vec<DeliveryId>, done: &mut Done) {
    for old in olds {
        let Some(new) = old.next_generation() else { continue };
        if matches!(app.ask(new.partition(), Find(new)).await, Ok(Some(_))) {
            done.made.push((old, new));
        }
    }
}

/// The redrive of one dead letter; `None` where the edit does not fit it.
async fn edited(app: &Shared, order: &Order, ended: &Ended) -> Result<Option<Redrive>, Problem> {
    let Ended { delivery, sheet } = ended;
    let edit = &order.edit;
    if sheet.template == CALLBACK_TEMPLATE && (edit.latest || edit.account.is_some() || !edit.variables.is_empty()) {
        // A callback tells what happened: there is nothing to edit.
        return Ok(None);
    }
    let mut new = Sheet::clone(sheet);
    // A redrive is sent now: the old times have passed.
    (new.send_at, new.expires_at) = (None, None);
    let mut latest = None;
    let compiled = if edit.latest {
        let compiled = app.current_template(&sheet.template).await?;
        if compiled.version.spec.channel != sheet.channel {
            return Ok(None);
        }
        let ways = app.ways(&compiled)?;
        renew(&mut new, &compiled, &ways, app.now());
        latest = Some(ways);
        Some(compiled)
    } else {
        app.template_version(&sheet.template, sheet.version).ok()
    };
    if let Some(account) = &edit.account {
        let robots = app.registry.channel(&sheet.channel).is_some_and(|c| c.recipient == RecipientKind::Account);
        if robots || !serves(app, account, &sheet.channel) {
            return Ok(None);
        }
        new.account = Some(account.clone());
    }
    let Some(variables) = merged(delivery.variables.as_deref(), &edit.variables) else { return Ok(None) };
    let changed = edit.latest || !edit.variables.is_empty();
    let fingerprint = match &compiled {
        Some(compiled) if changed => {
            fingerprint_of(app, compiled, &delivery.to, &new.variables, variables.as_deref()).await?
        }
        _ => delivery.fingerprint,
    };
    let time_zone = delivery.time_zone.clone();
    let fallback = further(delivery, sheet, &new);
    let own = match (&compiled, &latest) {
        (Some(compiled), Some(ways)) => app.own(compiled, ways, (&delivery.to, &fallback)),
        _ => delivery.own.clone(),
    };
    let mut recipient = Recipient {
        index: delivery.id.index(),
        to: delivery.to.clone(),
        variables,
        fingerprint,
        time_zone,
        fallback,
        own,
        ..Recipient::default()
    };
    // The rules in force now, not those of then.
    new.rules = match &compiled {
        Some(compiled) => rule_again(app, compiled, &new, &mut recipient).await?,
        None => Rules::default(),
    };
    Ok(Some(Redrive { delivery: delivery.id, by: order.by.clone(), sheet: Arc::new(new), recipient }))
}

/// The addresses of a dead letter for the further legs of `new`, by channel.
fn further(delivery: &Delivery, old: &Sheet, new: &Sheet) -> Vec<Option<String>> {
    let addresses = delivery.course.as_ref().map_or(&[][..], |course| &course.addresses);
    let of = |channel: &str| {
        let mut known = old.legs.iter().zip(addresses).filter(|(leg, _)| leg.channel == channel);
        known.find_map(|(_, address)| address.clone())
    };
    new.legs.iter().map(|leg| of(&leg.channel)).collect()
}

/// Takes everything that comes from the template from its present version.
fn renew(sheet: &mut Sheet, compiled: &Compiled, ways: &Ways, now: tidings_contract::Time) {
    let spec = &compiled.version.spec;
    sheet.version = compiled.version.version;
    sheet.account.clone_from(&spec.account);
    sheet.message_type = spec.message_type;
    sheet.expires_at = ways.expires_after_ms.map(|ms| now.after_ms(ms));
    sheet.policy = Policy {
        retry: ways.retry,
        on_unknown: ways.on_unknown,
        dedup_window_ms: spec.dedup.map(|dedup| dedup.window_ms),
    };
    sheet.way = Some(Arc::clone(&ways.way));
    sheet.legs.clone_from(&ways.legs);
    sheet.failover_on_unknown = spec.failover_on_unknown;
}

/// The recipient's own variables with the edit's on top; `None` where they grow too large.
fn merged(own: Option<&str>, edit: &Map<String, Value>) -> Option<Option<String>> {
    if edit.is_empty() {
        return Some(own.map(str::to_owned));
    }
    let mut all: Map<String, Value> = own.and_then(|own| serde_json::from_str(own).ok()).unwrap_or_default();
    all.extend(edit.clone());
    let text = serde_json::to_string(&all).ok()?;
    (text.len() <= MAX_VARIABLES_BYTES).then_some(Some(text))
}
