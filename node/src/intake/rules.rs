//! Gives a checked message the rules it is accepted under: the policies that select it, and those of its template.
//!
//! What needs no shared state is decided here (lists, when which zone is quiet, what counts as the same) and carried to
//! the machine, which decides everything else and records all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_contract::Time;
use tidings_machine::partition::{
    Barred, Cap, CapKind, LegHours, Quiet, Recipient, Rules, Sheet, Window, WordRule, mark,
};

use super::Compiled;
use super::check::Checked;
use super::leg_rules::Further;
use super::zones::{Hours, Zoned, patience};
use crate::app::App;
use crate::policies::{self, Active, Dedup, KeyPart, Rule, Then, choose_words, kind};
use crate::problem::Problem;

/// Most rules of a kind that a message carries; an operator who has more has them for different messages.
const MOST_OF_A_KIND: usize = 8;
/// Most characters of what a list saw.
const DETAIL_CHARS: usize = 100;
/// Recipients after which others get a turn.
const TURN: usize = 200;

/// The rules of a message, sorted by kind.
#[derive(Debug, Default)]
pub(super) struct Selected {
    lists: Vec<Active>,
    pub(super) quiet: Vec<Hours>,
    dedup: Vec<(Active, Arc<Dedup>)>,
    frequency: Vec<(Active, Vec<Window>)>,
}

/// Gives `checked` its rules.
///
/// # Errors
/// When more rules are for it than a message may carry, or its recipients live in too many zones.
pub(super) async fn rule(app: &App, compiled: &Compiled, checked: &mut Checked, now: Time) -> Result<(), Problem> {
    let sheet = Arc::clone(&checked.sheet);
    let all = checked.recipients.iter_mut().chain(&mut checked.absent);
    let rules = give(app, compiled, &sheet, all.collect(), now).await?;
    if rules != Rules::default() {
        checked.sheet = Arc::new(Sheet { rules, ..Sheet::clone(&sheet) });
    }
    Ok(())
}

/// Gives one recipient its rules anew, as if its message came now; gives the rules of the sheet.
///
/// # Errors
/// When more rules are for it than a message may carry.
pub(crate) async fn rule_again(
    app: &App,
    compiled: &Compiled,
    sheet: &Sheet,
    recipient: &mut Recipient,
) -> Result<Rules, Problem> {
    give(app, compiled, sheet, vec![recipient], app.now()).await
}

async fn give(
    app: &App,
    compiled: &Compiled,
    sheet: &Sheet,
    recipients: Vec<&mut Recipient>,
    now: Time,
) -> Result<Rules, Problem> {
    let place = Place { channel: &sheet.channel, template: &sheet.template, compiled: Some(compiled) };
    let words = words(app, place, sheet)?;
    let further = Further::of(app, sheet)?;
    let selected = select(app, place, sheet)?;
    if selected.is_none() && !further.is_quiet() {
        recipients.into_iter().for_each(|recipient| further.bar(sheet, recipient));
        let legs = further.carried(&words, Vec::new());
        return Ok(Rules { words, legs, ..Rules::default() });
    }
    let selected = selected.unwrap_or_default();
    let mut rules = Rules {
        lists: selected.lists.iter().map(|list| list.title.clone()).collect(),
        quiet: quiet(&selected.quiet),
        zones: Vec::new(),
        caps: selected.caps(),
        words,
        legs: Vec::new(),
    };
    let shared: Map<String, Value> = serde_json::from_str(&sheet.variables).unwrap_or_default();
    let patience = patience(sheet, recipients.iter().flat_map(|recipient| &recipient.own));
    let others = further.other_hours(&selected.quiet);
    let legs = others.iter().map(|(_, hours)| *hours);
    let mut zoned = Zoned::new(std::iter::once(&selected.quiet[..]).chain(legs).collect(), sheet, patience, now);
    for (n, recipient) in recipients.into_iter().enumerate() {
        recipient.barred = selected.barred((&sheet.template, &sheet.tags), &recipient.to);
        further.bar(sheet, recipient);
        recipient.zone = zoned.index(recipient.time_zone.as_deref())?;
        recipient.marks = selected.marks(compiled, sheet, &shared, recipient);
        if n % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    let mut zones = zoned.finish().into_iter();
    rules.zones = zones.next().unwrap_or_default();
    let hours = others.iter().zip(zones).map(|((leg, hours), zones)| (*leg, LegHours { quiet: quiet(hours), zones }));
    let hours = hours.collect();
    rules.legs = further.carried(&rules.words, hours);
    Ok(rules)
}

/// Where rules are selected for: a leg of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub channel: &'a str,
    pub template: &'a str,
    pub compiled: Option<&'a Compiled>,
}

/// The rules that are for a leg of a message; `None` where there are none, which is the usual case.
pub(super) fn select(app: &App, place: Place<'_>, sheet: &Sheet) -> Result<Option<Selected>, Problem> {
    let in_force = app.policies();
    let own = place.compiled.map(own).unwrap_or_default();
    let selected = in_force.select(place.channel, sheet.message_type, place.template, &sheet.tags);
    let mut all: Vec<&Active> = selected.chain(&own).collect();
    all.retain(|policy| !matches!(policy.rule, Rule::Delivery(_)));
    // Codes that somebody waits for are not quiet, unless a policy names them.
    all.retain(|policy| {
        !matches!(policy.rule, Rule::QuietHours(_))
            || sheet.message_type != tidings_contract::MessageType::AuthCode
            || !policy.selector.message_types.is_empty()
    });
    // They decide when the content is there.
    all.retain(|policy| !matches!(policy.rule, Rule::Words(_)));
    if all.is_empty() {
        return Ok(None);
    }
    let mut sorted = Selected::default();
    for policy in all {
        match &policy.rule {
            Rule::Discard(_) | Rule::Allow(_) => sorted.lists.push(policy.clone()),
            Rule::QuietHours(rule) => sorted.quiet.push((policy.clone(), Arc::clone(rule))),
            Rule::Dedup(rule) => sorted.dedup.push((policy.clone(), Arc::clone(rule))),
            Rule::Frequency(rule) => sorted.frequency.push((policy.clone(), rule.windows.clone())),
            // These are followed elsewhere.
            Rule::Words(_) | Rule::Limits(_) | Rule::Lanes | Rule::Delivery(_) => {}
        }
    }
    sorted.lists.sort_by_key(|list| !matches!(list.rule, Rule::Discard(_)));
    let counts = [
        ("lists", sorted.lists.len(), 4 * MOST_OF_A_KIND),
        ("quiet_hours", sorted.quiet.len(), MOST_OF_A_KIND),
        ("dedup", sorted.dedup.len(), MOST_OF_A_KIND),
        ("frequency", sorted.frequency.len(), MOST_OF_A_KIND),
    ];
    for (name, count, most) in counts {
        if count > most {
            let detail = format!("{count} policies of {name} are for this message; there may be at most {most}");
            return Err(Problem::new(crate::problem::Code::Conflict, detail));
        }
    }
    Ok(Some(sorted))
}

/// The dictionaries that look through what is filled in.
pub(super) fn words(app: &App, place: Place<'_>, sheet: &Sheet) -> Result<Vec<WordRule>, Problem> {
    words_for(app, place, sheet.message_type, &sheet.tags)
}

/// The dictionaries for what a template says, of a message without tags.
///
/// # Errors
/// When there are more than a message may carry.
pub(crate) fn words_of_preview(app: &App, compiled: &Compiled) -> Result<Vec<WordRule>, Problem> {
    let spec = &compiled.version.spec;
    let place = Place { channel: &spec.channel, template: &compiled.name, compiled: Some(compiled) };
    words_for(app, place, spec.message_type, &[])
}

/// The dictionaries for what a template says on its channel, under these tags.
fn words_for(
    app: &App,
    place: Place<'_>,
    message_type: tidings_contract::MessageType,
    tags: &[String],
) -> Result<Vec<WordRule>, Problem> {
    let in_force = app.policies();
    let choice = place.compiled.map(|compiled| compiled.version.spec.words.clone()).unwrap_or_default();
    let rules = choose_words(&in_force, &choice, |policy| {
        policy.selector.selects(place.channel, message_type, place.template, tags)
    });
    if rules.len() > WordRule::MOST {
        let (count, most) = (rules.len(), WordRule::MOST);
        let detail = format!("{count} policies of words are for this message; there may be at most {most}");
        return Err(Problem::new(crate::problem::Code::Conflict, detail));
    }
    Ok(rules)
}

/// The rules of a template itself, as if they were policies for it alone.
fn own(compiled: &Compiled) -> Vec<Active> {
    let spec = &compiled.version.spec;
    if spec.rules.is_empty() {
        return Vec::new();
    }
    let written: BTreeMap<String, Value> = serde_json::from_str(&spec.rules).unwrap_or_default();
    let active = |(name, spec): (&String, &Value)| {
        let kind = kind(name)?;
        let rule = (kind.read)(spec).ok()?;
        let lasting = format!("{name}/template:{}", compiled.name);
        let title = format!("{lasting}@{}", compiled.version.version);
        // Its type is named, so that it also holds for codes: whoever wrote the template meant it.
        let selector = tidings_machine::control::Selector {
            message_types: vec![compiled.version.spec.message_type],
            ..Default::default()
        };
        Some(Active { title, lasting, selector, rule })
    };
    written.iter().filter_map(active).collect()
}

fn quiet(hours: &[Hours]) -> Vec<Quiet> {
    let one = |(policy, rule): &Hours| Quiet { title: policy.title.clone(), drop: rule.then == Then::Drop };
    hours.iter().map(one).collect()
}

impl Selected {
    fn caps(&self) -> Vec<Cap> {
        let dedup = self.dedup.iter().map(|(policy, rule)| (policy, CapKind::Dedup, vec![rule.window]));
        let cap = |(policy, kind, windows): (&Active, CapKind, Vec<Window>)| Cap {
            title: policy.title.clone(),
            kind,
            windows,
        };
        dedup.map(cap).chain(self.frequency_caps()).collect()
    }

    pub(super) fn frequency_caps(&self) -> Vec<Cap> {
        let cap = |(policy, windows): &(Active, Vec<Window>)| Cap {
            title: policy.title.clone(),
            kind: CapKind::Frequency,
            windows: windows.clone(),
        };
        self.frequency.iter().map(cap).collect()
    }

    /// The title of a list.
    pub(super) fn list(&self, list: u8) -> Option<String> {
        self.lists.get(usize::from(list)).map(|list| list.title.clone())
    }

    /// The list that says no to `to` for a template and tags, if there is one.
    pub(super) fn barred(&self, (template, tags): (&str, &[String]), to: &str) -> Vec<Barred> {
        let bar = |(n, list): (usize, &Active)| {
            let detail = match &list.rule {
                Rule::Discard(rule) => rule.message(template, tags).or_else(|| rule.recipient(to)),
                Rule::Allow(rule) => rule.recipient(to),
                _ => None,
            };
            // There are at most 32 lists.
            detail.map(|detail| Barred { list: n as u8, detail: detail.chars().take(DETAIL_CHARS).collect() })
        };
        // The first one decides; the others would only make the entry of the log longer.
        self.lists.iter().enumerate().find_map(bar).into_iter().collect()
    }

    /// What each cap counts a recipient under, in the order of [`Selected::caps`].
    fn marks(
        &self,
        compiled: &Compiled,
        sheet: &Sheet,
        shared: &Map<String, Value>,
        recipient: &Recipient,
    ) -> Vec<Option<u64>> {
        if self.dedup.is_empty() && self.frequency.is_empty() {
            return Vec::new();
        }
        let to = &recipient.to;
        let mut all = shared.clone();
        if let Some(own) = recipient.variables.as_deref().filter(|_| !self.dedup.is_empty()) {
            all.extend(serde_json::from_str::<Map<String, Value>>(own).unwrap_or_default());
        }
        let mut content = None;
        let dedup = self.dedup.iter().map(|(policy, rule)| {
            let parts = rule.key.iter().map(|part| match part {
                KeyPart::Content | KeyPart::ContentField(_) => {
                    let content = content.get_or_insert_with(|| compiled.filled(&all)).as_ref()?;
                    match part {
                        KeyPart::ContentField(field) => content.get(field).map(Value::to_string),
                        _ => Some(content.to_string()),
                    }
                }
                KeyPart::Variable(name) => all.get(name).map(Value::to_string),
                KeyPart::BizId => sheet.biz_id.clone(),
                KeyPart::Template => Some(sheet.template.clone()),
            });
            let parts: Option<Vec<String>> = parts.collect();
            Some(mark(&policy.lasting, to, &parts?))
        });
        let mut marks: Vec<Option<u64>> = dedup.collect();
        let group = [sheet.channel.clone(), sheet.message_type.name().to_owned()];
        marks.extend(self.frequency.iter().map(|(policy, _)| Some(mark(&policy.lasting, to, &group))));
        marks
    }
}

/// Checks the rules of a template; gives them as control keeps them.
///
/// # Errors
/// What is wrong, with the path of the field.
pub(crate) fn check_own(written: &Map<String, Value>) -> Result<String, Vec<tidings_contract::FieldError>> {
    use tidings_contract::FieldError;
    if written.is_empty() {
        return Ok(String::new());
    }
    let mut errors = Vec::new();
    for (name, spec) in written {
        let Some(kind) = kind(name).filter(|kind| kind.in_templates) else {
            let known: Vec<_> = policies::KINDS.iter().filter(|kind| kind.in_templates).map(|kind| kind.name).collect();
            let detail = format!("a template cannot have such a rule; there are: {}", known.join(", "));
            errors.push(FieldError::new(format!("rules.{name}"), detail));
            continue;
        };
        match (kind.read)(spec) {
            Ok(rule) => {
                if let Some(why) = rule.stops_everything(&Default::default()) {
                    errors.push(FieldError::new(format!("rules.{name}"), why));
                }
            }
            Err(wrong) => errors.extend(wrong.into_iter().map(|error| {
                let path = error.field.strip_prefix("spec").unwrap_or(&error.field).to_owned();
                FieldError::new(format!("rules.{name}{path}"), error.detail)
            })),
        }
    }
    if errors.is_empty() { Ok(Value::Object(written.clone()).to_string()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_that_of_one_rule_one_recipient_and_one_content() {
        let text = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        let all = [
            mark("dedup/a", "ann", &text(&["x"])),
            mark("dedup/b", "ann", &text(&["x"])),
            mark("dedup/a", "bob", &text(&["x"])),
            mark("dedup/a", "ann", &text(&["y"])),
            mark("dedup/a", "ann", &text(&["x", ""])),
            mark("dedup/a", "annx", &text(&[""])),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }
}
