//! The template actor: fills templates for deliveries that are due, finds their accounts, and passes them on.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::Value;
use tidings_contract::{Reason, TextRule};
use tidings_machine::control::{Account, TemplateSpec};
use tidings_machine::partition::{Closing, Masked, Sheet};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::aside::{self, Aside, Filled, Version};
use crate::callback;
use crate::choosing::{Held, choose_account};
use crate::legs::{self, Left};
use crate::outbox::Entry;
use crate::parts::Rendered;
use crate::rate_limiter::RateLimiterMsg;
use crate::render::{Fault, Finished, RenderError, Unfit, Variables};
use crate::screen::{Barred, Dictionary, Edition, Missing, Reader, Screen, Screened, screen};
use crate::status::Gauge;
use crate::switchboard::Switchboard;
use crate::work::{Letter, Work};

/// How long a delivery waits before its template or account is looked for again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1_000;
/// How long a delivery waits before it is asked again whether its dictionary is compiled, in milliseconds.
const COMPILED_MS: u64 = 100;
/// Most sheets whose variables are kept converted.
const SHEETS: usize = 256;

/// What the template actor is told.
#[derive(Debug)]
pub(crate) enum TemplateMsg {
    /// Deliveries that are due.
    Work(Vec<Work>),
    /// A dictionary was compiled.
    Dictionary(Edition, Dictionary),
    /// Deliveries left further legs.
    Left(Vec<Left>),
    /// What was filled apart.
    Filled { version: Version, died: bool, works: Vec<(Work, Filled)> },
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Template;

/// What it remembers. All of it can be read again.
#[derive(Debug)]
pub(crate) struct Rendering {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    control: watch::Receiver<u64>,
    compiled: HashMap<(String, u32), Result<Arc<Finished>, Reason>>,
    accounts: HashMap<String, Named>,
    sheets: HashMap<(usize, u8), Prepared>,
    screen: Screen,
    aside: Aside,
    /// Questions to homes of further legs; aborted when the actor dies.
    asking: JoinSet<()>,
}

/// An account with its name.
type Named = (Arc<str>, Arc<Account>);

/// What one sheet gives for all its recipients.
#[derive(Clone, Debug)]
struct Prepared {
    /// Keeps the address, by which it is found, from being used again.
    _sheet: Arc<Sheet>,
    compiled: Arc<Finished>,
    shared: Variables,
    /// The dictionaries that look through what is filled in.
    readers: Arc<[Reader]>,
    /// The content for every recipient without variables of its own, once it was filled.
    content: Option<Result<Written, Stuck>>,
}

/// What goes out, and where words were masked in it.
#[derive(Clone, Debug)]
struct Written {
    rendered: Rendered,
    masked: Arc<[Masked]>,
}

/// Why a delivery cannot go on.
#[derive(Clone, Debug)]
enum Stuck {
    /// This node does not know the template or the account; perhaps it has not heard of it yet.
    NotKnown(Reason),
    /// It never will.
    Impossible(Reason),
    /// A dictionary is being compiled.
    NotYet,
    /// It has to be filled apart.
    Apart,
    /// There was no room to fill it.
    NoRoom,
    /// The process died that filled it.
    Died(String),
    /// A rule says no.
    Barred(Barred),
}

impl From<Missing> for Stuck {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::NotKnown(reason) => Self::NotKnown(reason),
            Missing::NotYet => Self::NotYet,
            Missing::Broken(reason) => Self::Impossible(reason),
        }
    }
}

#[async_trait::async_trait]
impl Actor for Template {
    type Msg = TemplateMsg;
    type State = Rendering;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<TemplateMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Rendering, ActorProcessingErr> {
        board.template.move_in(myself);
        let control = board.parts.ledger.control_version();
        Ok(Rendering {
            board,
            gauge,
            control,
            compiled: HashMap::new(),
            accounts: HashMap::new(),
            sheets: HashMap::new(),
            screen: Screen::default(),
            aside: Aside::default(),
            asking: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<TemplateMsg>,
        message: TemplateMsg,
        state: &mut Rendering,
    ) -> Result<(), ActorProcessingErr> {
        while state.asking.try_join_next().is_some() {}
        let works = match message {
            TemplateMsg::Work(works) => works,
            TemplateMsg::Dictionary(edition, dictionary) => {
                state.screen.add(edition, dictionary);
                return Ok(());
            }
            TemplateMsg::Left(left) => {
                legs::tell(&state.board, &mut state.asking, left);
                return Ok(());
            }
            TemplateMsg::Filled { version, died, works } => {
                state.aside.ended(&version, died);
                state.filled(works);
                state.turns();
                return Ok(());
            }
        };
        if state.board.is_stopping() {
            return Ok(());
        }
        state.gauge.set(works.len(), 0);
        let (callbacks, works): (Vec<Work>, Vec<Work>) = works.into_iter().partition(callback::is_one);
        let (works, asking) = legs::sort(&state.board, works);
        if !asking.is_empty() {
            legs::ask(&state.board, &mut state.asking, asking);
        }
        state.refresh(&works);
        let letters: Vec<Letter> = callbacks.into_iter().filter_map(callback::letter).collect();
        state.send(letters);
        let letters: Vec<Letter> = works.into_iter().filter_map(|work| state.letter(work, None)).collect();
        state.send(letters);
        state.turns();
        state.gauge.set(0, 0);
        Ok(())
    }
}

impl Rendering {
    /// Passes letters on: those that are limited by way of the rate limiter.
    fn send(&self, letters: Vec<Letter>) {
        let (free, limited): (Vec<Letter>, Vec<Letter>) = letters.into_iter().partition(|one| one.limits.is_empty());
        self.board.to_senders(free);
        if !limited.is_empty() {
            self.board.rate_limiter.send(RateLimiterMsg::Letters(limited));
        }
    }

    /// Goes on with what was filled apart.
    fn filled(&mut self, filled: Vec<(Work, Filled)>) {
        if self.board.is_stopping() {
            return;
        }
        let (works, contents): (Vec<Work>, Vec<Filled>) = filled.into_iter().unzip();
        self.refresh(&works);
        let both = works.into_iter().zip(contents);
        let letters: Vec<Letter> = both.filter_map(|(work, filled)| self.letter(work, Some(filled))).collect();
        self.send(letters);
    }

    /// Begins as many turns of what is filled apart as there are places.
    fn turns(&mut self) {
        while let Some(turn) = self.aside.next() {
            // It was prepared when it was put aside; what was forgotten since is looked at again with its ticket.
            let prepared = turn.works.first().and_then(|work| self.sheets.get(&address(work)));
            match prepared.map(|prepared| (Arc::clone(&prepared.compiled), prepared.shared.clone())) {
                Some((compiled, shared)) => {
                    self.asking.spawn(aside::fill(Arc::clone(&self.board), turn, compiled, shared));
                }
                None => self.aside.ended(&turn.version, false),
            }
        }
    }

    /// Reads from control what the works need and is not remembered, all in one look.
    fn refresh(&mut self, works: &[Work]) {
        if self.control.has_changed().unwrap_or(false) {
            self.control.borrow_and_update();
            self.accounts.clear();
            // A template that was not known may be now.
            self.compiled.retain(|_, compiled| compiled.is_ok());
            self.sheets.clear();
            self.screen.look_again();
        }
        if self.compiled.len() > self.board.parts.settings.templates {
            self.compiled.clear();
        }
        if self.accounts.len() > self.board.parts.settings.accounts {
            self.accounts.clear();
        }
        if self.sheets.len() > SHEETS {
            self.sheets.clear();
        }
        let unknown = |work: &&Work| {
            !self.sheets.contains_key(&address(work)) || accounts_of(work).any(|name| !self.accounts.contains_key(name))
        };
        let unknown: Vec<&Work> = works.iter().filter(unknown).collect();
        if unknown.is_empty() {
            return;
        }
        let (mut contents, mut lists) = (Vec::new(), Vec::new());
        let (compiled, accounts, screen) = (&self.compiled, &mut self.accounts, &self.screen);
        self.board.parts.ledger.with_control(&mut |control| {
            for work in &unknown {
                let key = template_of(work);
                if !compiled.contains_key(&key) && !contents.iter().any(|(known, _)| *known == key) {
                    let version = control.templates.get(&key.0).and_then(|t| t.versions.get(&key.1)).cloned();
                    contents.push((key, version));
                }
                for edition in screen.wants(work.sheet.rules.words_of(work.delivery.leg())) {
                    if !lists.iter().any(|(known, _)| *known == edition) {
                        lists.push(Screen::read(control, edition));
                    }
                }
                for name in accounts_of(work) {
                    if !accounts.contains_key(name)
                        && let Some(account) = control.accounts.get(name)
                    {
                        accounts.insert(name.to_owned(), (Arc::from(name), Arc::clone(account)));
                    }
                }
            }
        });
        self.screen.learn(&self.board, lists);
        for (key, version) in contents {
            if let Some(version) = version {
                let rules = self.board.parts.accounts.text_rules(&version.spec.channel);
                let compiled = compile(&version.spec, rules);
                self.compiled.insert(key, compiled);
            }
        }
    }

    /// The letter of a delivery, whose content may have been filled apart; `None` if it goes another way.
    fn letter(&mut self, work: Work, filled: Option<Filled>) -> Option<Letter> {
        if filled.is_none() && self.goes_apart(&work) {
            self.aside.push(template_of(&work), work);
            return None;
        }
        // A death counts also where there is no account to send with: else it would be filled again for as long as there is none.
        if let Some(Err(RenderError { fault: Fault::Died, detail, .. })) = &filled {
            self.stuck(work, Stuck::Died(detail.clone()));
            return None;
        }
        let chosen = match choose_account(&self.board, &work) {
            Ok(chosen) => chosen,
            Err(held) => {
                self.hold(work, held);
                return None;
            }
        };
        match self.fill(&work, &chosen.account, filled) {
            Ok((Written { rendered: Rendered { first, further }, masked }, (account_name, account))) => {
                let limits = self.board.limits_of(&work, &account_name, &account);
                Some(Letter {
                    work,
                    content: first,
                    further,
                    masked,
                    account_name,
                    account,
                    via: chosen.via,
                    timeout: chosen.timeout,
                    limits,
                    begun: false,
                    slot: None,
                    calling: None,
                })
            }
            // It turned out to cost more than others should wait for.
            Err(Stuck::Apart) => {
                self.aside.push(template_of(&work), work);
                None
            }
            Err(stuck) => {
                self.stuck(work, stuck);
                None
            }
        }
    }

    /// Whether its content has to be filled apart.
    fn goes_apart(&mut self, work: &Work) -> bool {
        // What stands in the way is told when it is filled.
        let Ok(prepared) = self.prepare(work) else { return false };
        let is_filled = has_none(work) && prepared.content.is_some();
        !is_filled && (work.suspect || !prepared.compiled.is_plain())
    }

    /// No account of its leg can be used now: the delivery goes on by the next leg, or waits.
    fn hold(&self, work: Work, held: Held) {
        if !held.for_probe && work.may_fall() {
            let desk = Arc::clone(work.ticket.desk());
            self.board.record(&desk, [Entry::FallBack { ticket: work.ticket, why: held.why }]);
            return;
        }
        let until = work.within_life(held.until);
        work.ticket.not_before(until);
    }

    fn fill(&mut self, work: &Work, name: &str, filled: Option<Filled>) -> Result<(Written, Named), Stuck> {
        let account = self.accounts.get(name).cloned();
        let account = account
            .ok_or_else(|| Stuck::NotKnown(Reason::new("unknown_account", format!("there is no account `{name}`"))))?;
        let prepared = self.prepare(work)?;
        if let (None, true, Some(content)) = (&filled, has_none(work), &prepared.content) {
            return Ok((content.clone()?, account));
        }
        let content = match filled {
            Some(filled) => {
                unless_poisonous(filled).and_then(|filled| screened(&prepared.compiled, filled, &prepared.readers))
            }
            None => {
                let own = Variables::parse(work.delivery.variables.as_deref().unwrap_or_default());
                let own = own.map_err(|error| Stuck::Impossible(Reason::new("variables", error)))?;
                fill_and_screen(&prepared.compiled, (&prepared.shared, &own), &prepared.readers)
            }
        };
        // One death, or no room, says nothing of the others.
        let lasts = !matches!(content, Err(Stuck::Died(_) | Stuck::NoRoom | Stuck::Apart));
        if has_none(work) && lasts {
            prepared.content = Some(content.clone());
        }
        Ok((content?, account))
    }

    /// What the delivery's sheet gives for all its recipients.
    fn prepare(&mut self, work: &Work) -> Result<&mut Prepared, Stuck> {
        let (address, sheet) = (address(work), &work.sheet);
        if !self.sheets.contains_key(&address) {
            let key = template_of(work);
            let compiled = self.compiled.get(&key).ok_or_else(|| {
                let words = format!("there is no version {} of the template `{}`", key.1, key.0);
                Stuck::NotKnown(Reason::new("unknown_template", words))
            })?;
            let compiled = Arc::clone(compiled.as_ref().map_err(|reason| Stuck::Impossible(reason.clone()))?);
            let shared = Variables::parse(&sheet.variables)
                .map_err(|error| Stuck::Impossible(Reason::new("variables", error)))?;
            let readers: Arc<[Reader]> = self.screen.readers(sheet.rules.words_of(work.delivery.leg()))?.into();
            let prepared = Prepared { _sheet: Arc::clone(sheet), compiled, shared, readers, content: None };
            self.sheets.insert(address, prepared);
        }
        self.sheets.get_mut(&address).ok_or_else(|| Stuck::Impossible(Reason::new("template_render", "")))
    }

    fn stuck(&self, work: Work, stuck: Stuck) {
        let now = self.board.now();
        let closing = match stuck {
            Stuck::NotYet => {
                work.ticket.not_before(now.after_ms(COMPILED_MS));
                return;
            }
            Stuck::NoRoom | Stuck::Apart => {
                work.ticket.not_before(now.after_ms(LOOK_AGAIN_MS));
                return;
            }
            Stuck::Died(how) => {
                let desk = Arc::clone(work.ticket.desk());
                self.board.record(&desk, [Entry::Died { ticket: work.ticket, how }]);
                return;
            }
            Stuck::Barred(Barred { rule, detail }) => Closing::Suppressed { rule, detail },
            Stuck::NotKnown(_) if now.since(work.delivery.first_due) < self.board.parts.settings.unknown_things => {
                work.ticket.not_before(now.after_ms(LOOK_AGAIN_MS));
                return;
            }
            Stuck::NotKnown(reason) | Stuck::Impossible(reason) => Closing::Impossible(reason),
        };
        let desk = Arc::clone(work.ticket.desk());
        self.board.record(&desk, [Entry::Close { ticket: work.ticket, closing }]);
    }
}

/// Whether it has no variables of its own.
fn has_none(work: &Work) -> bool {
    matches!(work.delivery.variables.as_deref(), None | Some("" | "{}"))
}

/// What one leg of a sheet is remembered by.
fn address(work: &Work) -> (usize, u8) {
    (Arc::as_ptr(&work.sheet).addr(), work.delivery.leg())
}

/// The template of the delivery's leg.
fn template_of(work: &Work) -> (String, u32) {
    let leg = work.sheet.leg(work.delivery.leg());
    (leg.template.to_owned(), leg.version)
}

/// The accounts a delivery may be sent with: the sheet's, those of its route, or the recipient itself (robots).
fn accounts_of(work: &Work) -> impl Iterator<Item = &str> {
    let leg = work.sheet.leg(work.delivery.leg());
    let listed = leg.way.map_or(&[][..], |way| &way.accounts);
    let itself = listed.is_empty().then(|| work.delivery.address());
    let named = leg.account.or(itself);
    named.into_iter().chain(listed.iter().map(|one| one.account.as_str()))
}

fn compile(spec: &TemplateSpec, rules: &'static [TextRule]) -> Result<Arc<Finished>, Reason> {
    let compiled = catch_unwind(AssertUnwindSafe(|| Finished::trusted(&spec.content, rules, &spec.rendering)));
    match compiled {
        Ok(Ok(compiled)) => Ok(Arc::new(compiled)),
        Ok(Err(errors)) => {
            let words = errors.first().map_or_else(String::new, ToString::to_string);
            Err(Reason::new("template_syntax", words))
        }
        Err(_) => Err(Reason::new("template_panic", "compiling the template panicked")),
    }
}

/// Fills a template for one recipient, has the dictionaries look through what came of it, and finishes it: what is cut or
/// sent in parts was looked through as a whole. A template that panics costs its own delivery and no other.
fn fill_and_screen(
    compiled: &Finished,
    (shared, own): (&Variables, &Variables),
    readers: &[Reader],
) -> Result<Written, Stuck> {
    let filled = catch_unwind(AssertUnwindSafe(|| compiled.fill_here(shared, own))).map_err(panicked)?;
    screened(compiled, unless_poisonous(filled.ok_or(Stuck::Apart)?)?, readers)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Stuck {
    Stuck::Impossible(Reason::new("template_panic", "filling the template panicked"))
}

/// What was filled, or what has to become of the delivery.
fn unless_poisonous(filled: Filled) -> Result<(Value, Value), Stuck> {
    filled.map_err(|error| match error.fault {
        Fault::Busy => Stuck::NoRoom,
        Fault::Died => Stuck::Died(error.detail),
        Fault::Theirs | Fault::Budget => Stuck::Impossible(error.reason()),
    })
}

/// Has the dictionaries look through a filled content, and finishes it.
fn screened(compiled: &Finished, (content, parameters): (Value, Value), readers: &[Reader]) -> Result<Written, Stuck> {
    let impossible = |unfit: Unfit| Stuck::Impossible(unfit.reason());
    let Screened { content, masked } = screen(readers, Arc::new(content)).map_err(Stuck::Barred)?;
    let content = Arc::unwrap_or_clone(content);
    let finished = catch_unwind(AssertUnwindSafe(|| compiled.finish(content, &parameters))).map_err(panicked)?;
    Ok(Written { rendered: Rendered::of(finished.map_err(impossible)?), masked })
}
