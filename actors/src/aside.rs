//! Deliveries whose content is filled apart: because nobody can tell what it costs, or because an owner before may have
//! died of it. Others go on meanwhile; versions of templates have turns, one recipient more or less each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::render::{Fault, Finished, RenderError, Variables};
use crate::switchboard::Switchboard;
use crate::template::TemplateMsg;
use crate::threads::spawn_blocking;
use crate::work::Work;

/// Most versions of templates that are filled at a time.
const AT_ONCE: usize = 2;
/// Most deliveries of a version that are filled in one turn.
const TURN: usize = 64;

/// A version of a template.
pub(crate) type Version = (String, u32);
/// A filled content and its tracking parameters, or why there is none.
pub(crate) type Filled = Result<(Value, Value), RenderError>;

/// What waits for its turn, by version.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    waiting: BTreeMap<Version, VecDeque<Work>>,
    turns: VecDeque<Version>,
    running: BTreeSet<Version>,
    /// Versions that the process died of the last time: one at a time, so that they cost others no more than that.
    deadly: BTreeSet<Version>,
}

/// What is filled in one turn: deliveries of one message.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) version: Version,
    pub(crate) works: Vec<Work>,
}

impl Aside {
    pub(crate) fn push(&mut self, version: Version, work: Work) {
        let works = self.waiting.entry(version.clone()).or_default();
        if works.is_empty() && !self.running.contains(&version) {
            self.turns.push_back(version);
        }
        works.push_back(work);
    }

    /// The next turn, if there is a place for it.
    pub(crate) fn next(&mut self) -> Option<Turn> {
        if self.running.len() >= AT_ONCE {
            return None;
        }
        let version = self.turns.pop_front()?;
        let works = self.waiting.get_mut(&version)?;
        let most = if self.deadly.contains(&version) { 1 } else { TURN };
        let (sheet, leg) = works.front().map(|work| (Arc::clone(&work.sheet), work.delivery.leg()))?;
        let same = |work: &Work| Arc::ptr_eq(&work.sheet, &sheet) && work.delivery.leg() == leg;
        let mut turn = Vec::new();
        while turn.len() < most && works.front().is_some_and(same) {
            turn.extend(works.pop_front());
        }
        if works.is_empty() {
            self.waiting.remove(&version);
        }
        self.running.insert(version.clone());
        Some(Turn { version, works: turn })
    }

    /// A turn came to its end.
    pub(crate) fn ended(&mut self, version: &Version, died: bool) {
        self.running.remove(version);
        if died {
            self.deadly.insert(version.clone());
        } else {
            self.deadly.remove(version);
        }
        if self.waiting.contains_key(version) {
            self.turns.push_back(version.clone());
        }
    }
}

/// Fills the deliveries of a turn apart and tells the template actor what came of it. If that is lost, so are their
/// tickets, and they are looked at again.
pub(crate) async fn fill(board: Arc<Switchboard>, turn: Turn, compiled: Arc<Finished>, shared: Variables) {
    let own = turn.works.iter().map(|work| Variables::parse(work.delivery.variables.as_deref().unwrap_or_default()));
    let own: Vec<Result<Variables, String>> = own.collect();
    let filled = spawn_blocking(move || {
        let read: Vec<&Variables> = own.iter().flatten().collect();
        let mut filled = compiled.fill_apart(&shared, &read).into_iter();
        let lost = || Err(RenderError::busy("it was not answered"));
        let one = |own: &Result<Variables, String>| match own {
            Ok(_) => filled.next().unwrap_or_else(lost),
            Err(wrong) => Err(RenderError::new("variables", wrong.clone())),
        };
        own.iter().map(one).collect::<Vec<Filled>>()
    });
    let filled = filled.await.unwrap_or_default();
    let Turn { version, works } = turn;
    let died = filled.iter().any(|one| one.as_ref().is_err_and(|error| error.fault == Fault::Died));
    // What has no answer waits with its ticket in hand no longer: it is looked at again.
    let works = works.into_iter().zip(filled).collect();
    board.template.send(TemplateMsg::Filled { version, died, works });
}
