//! The dry run of further legs: what the rules of each would say about each recipient, if the delivery came there.
//!
//! They are asked as if it came there when it would leave first, and each for itself: whether and when it falls back, and how
//! many others do, nobody knows now. What the homes of the addresses know is asked of them, wherever they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_actors::render::Variables;
use tidings_actors::words::Reader;
use tidings_contract::{DeliveryId, MessageId, PartitionId, Time, partition_of};
use tidings_machine::partition::{Finding, Judgement, LegBarred, Recipient, Ruling, Sheet};

use super::Compiled;
use super::dictionaries::look_through;
use super::rehearse::limits;
use crate::app::Shared;
use crate::look::RehearseLegs;

/// Addresses after which others get a turn.
const TURN: usize = 100;

/// What the rules of one leg would say.
#[derive(Debug)]
pub(crate) struct RehearsedLeg {
    /// The leg's channel.
    pub channel: String,
    /// Its template.
    pub template: String,
    /// The address there.
    pub to: String,
    /// What each rule says, in the order in which they decide. A list that has nothing against it is not named.
    pub findings: Vec<Finding>,
    /// Whether some of its rules could not be asked.
    pub incomplete: bool,
}

/// A leg of one recipient.
struct Comer {
    /// Which recipient.
    at: usize,
    /// Which leg, from 1.
    leg: u8,
    /// Whether no list bars it; else nothing more is asked.
    open: bool,
    told: RehearsedLeg,
}

/// What is the same for everybody who comes to a leg.
struct Ground {
    /// The dictionaries and what they look through; `None` where they cannot be had.
    words: Option<(Arc<Compiled>, Vec<Reader>)>,
    limits: Vec<Finding>,
}

/// Finds out what the rules of the further legs would say. The answers come in the order of `deliveries`.
pub(super) async fn rehearse_legs(
    app: &Shared,
    sheet: &Arc<Sheet>,
    partitions: u16,
    now: Time,
    deliveries: &[(Recipient, Judgement)],
) -> Vec<Vec<RehearsedLeg>> {
    let mut legs: Vec<Vec<RehearsedLeg>> = deliveries.iter().map(|_| Vec::new()).collect();
    if sheet.legs.is_empty() {
        return legs;
    }
    let message = MessageId::new(now, PartitionId(0), rand::random());
    let all = deliveries.iter().enumerate();
    let mut comers: Vec<Comer> = all.flat_map(|(at, delivery)| comers(sheet, message, at, delivery)).collect();
    ask_homes(app, sheet, partitions, now, &mut comers).await;
    look(app, sheet, deliveries, &mut comers).await;
    for Comer { at, told, .. } in comers {
        legs[at].push(told);
    }
    legs
}

/// The legs of one recipient, with what is known here: the lists that bar them, and their quiet hours.
fn comers(sheet: &Sheet, message: MessageId, at: usize, (recipient, judgement): &(Recipient, Judgement)) -> Vec<Comer> {
    let id = DeliveryId::new(message, recipient.index, message.home());
    let mut left_out = recipient.left_out.iter().peekable();
    let mut comers = Vec::new();
    for (leg, (spec, address)) in (1..).zip(sheet.legs.iter().zip(&recipient.fallback)) {
        let (to, findings) = match address {
            Some(to) => (to, sheet.rehearse_hours(leg, &id, recipient.zone, judgement.due)),
            // A leg without an address was barred, or nobody gave one.
            None => match left_out.next_if(|barred| barred.channel == spec.channel) {
                Some(LegBarred { to, rule, detail, .. }) => {
                    (to, vec![Finding { title: rule.clone(), ruling: Ruling::Suppress, detail: detail.clone() }])
                }
                None => continue,
            },
        };
        let (channel, template, to) = (spec.channel.clone(), spec.template.clone(), to.clone());
        let told = RehearsedLeg { channel, template, to, findings, incomplete: false };
        comers.push(Comer { at, leg, open: address.is_some(), told });
    }
    comers
}

/// Asks the home of each address, once for all that live there.
async fn ask_homes(app: &Shared, sheet: &Arc<Sheet>, partitions: u16, now: Time, comers: &mut [Comer]) {
    let mut homes: BTreeMap<PartitionId, Vec<&mut Comer>> = BTreeMap::new();
    for comer in comers.iter_mut().filter(|comer| comer.open) {
        homes.entry(partition_of(&comer.told.to, partitions)).or_default().push(comer);
    }
    for (partition, here) in homes {
        let asked = here.iter().map(|comer| (comer.leg, comer.told.to.clone())).collect();
        let question = RehearseLegs { partition, at: now, sheet: Arc::clone(sheet), comers: asked };
        let mut said = app.ask(partition, question).await.unwrap_or_default().into_iter();
        for comer in here {
            match said.next() {
                Some(findings) => comer.told.findings.extend(findings),
                None => comer.told.incomplete = true,
            }
        }
    }
}

/// What decides when the content is there: words, and limits, which only make it wait.
async fn look(app: &Shared, sheet: &Sheet, deliveries: &[(Recipient, Judgement)], comers: &mut [Comer]) {
    let shared = Variables::parse(&sheet.variables).unwrap_or_default();
    let mut grounds = Vec::new();
    for leg in 1..=sheet.legs.len() {
        // There are at most four legs.
        grounds.push(ground(app, sheet, leg as u8).await);
    }
    for (n, comer) in comers.iter_mut().filter(|comer| comer.open).enumerate() {
        let Some(Ground { words, limits }) = grounds.get(usize::from(comer.leg) - 1) else { continue };
        let own = deliveries[comer.at].0.variables.as_deref().and_then(|own| Variables::parse(own).ok());
        let own = own.unwrap_or_default();
        let looked = words.as_ref().and_then(|(compiled, readers)| {
            let looks =
                || compiled.fill(&shared, &own).ok().map(|(content, _)| look_through(readers, content).findings);
            if readers.is_empty() { Some(Vec::new()) } else { looks() }
        });
        comer.told.incomplete |= looked.is_none();
        comer.told.findings.extend(looked.unwrap_or_default());
        comer.told.findings.extend(limits.iter().cloned());
        if n % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
}

async fn ground(app: &Shared, sheet: &Sheet, leg: u8) -> Ground {
    let view = sheet.leg(leg);
    let compiled = app.template_version(view.template, view.version).ok();
    let readers = app.readers(sheet.rules.words_of(leg)).await.ok();
    Ground { words: compiled.zip(readers), limits: limits(app, sheet, leg) }
}
