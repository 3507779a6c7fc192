//! The dictionaries that the template actor has compiled, and what they decide about content.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tidings_contract::{Reason, planted};
use tidings_machine::control::{Control, WordList};
use tidings_machine::partition::{Masked, WordRule};

use crate::switchboard::Switchboard;
use crate::template::TemplateMsg;
use crate::words::{self, find, mask};

/// Most dictionaries that are held compiled. One of 100,000 words takes some tens of megabytes.
const MOST: usize = 16;
/// A longer list is compiled beside the actor, which fills other templates meanwhile.
const BESIDE_BYTES: usize = 16 * 1024;

/// A policy and one of its versions.
pub(crate) type Edition = (String, u32);

/// A dictionary, or why there is none.
pub(crate) type Dictionary = Result<Arc<words::Dictionary>, Reason>;

/// A list as it was read from control, by what was asked for.
pub(crate) type Read = (Edition, Option<WordList>);

/// What is remembered of dictionaries. All of it can be read again.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// Which edition is used for one that was asked for; forgotten when control changes.
    used: HashMap<Edition, u32>,
    /// `None` while it is being compiled.
    compiled: HashMap<Edition, Option<Dictionary>>,
}

/// A dictionary with what it is to do.
#[derive(Clone, Debug)]
pub struct Reader {
    title: String,
    reject: bool,
    dictionary: Arc<words::Dictionary>,
}

/// Why there are no readers for a message.
#[derive(Debug)]
pub(crate) enum Missing {
    /// This node does not know the policy; perhaps it has not heard of it yet.
    NotKnown(Reason),
    /// It is being compiled.
    NotYet,
    /// It cannot be compiled.
    Broken(Reason),
}

/// Content that may be sent, and where words were masked in it.
#[derive(Clone, Debug)]
pub struct Screened {
    /// The content.
    pub content: Arc<Value>,
    /// What each dictionary masked that masked something.
    pub masked: Arc<[Masked]>,
}

/// A rule that says no.
#[derive(Clone, Debug)]
pub struct Barred {
    /// The rule: `words/<policy>@<version>`.
    pub rule: String,
    /// What it saw.
    pub detail: String,
}

impl Reader {
    /// A dictionary under the title that events name; it rejects or else masks.
    pub fn new(title: String, reject: bool, dictionary: Arc<words::Dictionary>) -> Self {
        Self { title, reject, dictionary }
    }

    /// What events name.
    pub fn title(&self) -> &str {
        &self.title
    }
}

/// The fields of a content, at most so many, in which a dictionary finds words.
pub fn fields(reader: &Reader, content: &Value, most: usize) -> Vec<String> {
    words::fields_of(&reader.dictionary, content, most)
}

impl Screen {
    /// Control has changed: a newer version may be the one that is used in place of a lost one.
    pub(crate) fn look_again(&mut self) {
        self.used.clear();
    }

    /// What has to be read from control for these rules.
    pub(crate) fn wants<'a>(&'a self, rules: &'a [WordRule]) -> impl Iterator<Item = Edition> + 'a {
        rules.iter().map(edition).filter(|edition| !self.used.contains_key(edition))
    }

    /// Reads it.
    pub(crate) fn read(control: &Control, wanted: Edition) -> Read {
        let list = control.words_of(&wanted.0, wanted.1);
        (wanted, list)
    }

    /// Takes what was read and compiles what is new, long lists beside the actor.
    pub(crate) fn learn(&mut self, board: &Arc<Switchboard>, read: Vec<Read>) {
        if self.compiled.len() + read.len() > MOST {
            self.compiled.retain(|_, compiled| compiled.is_none());
        }
        for (wanted, list) in read {
            let Some(list) = list else { continue };
            let edition = (wanted.0.clone(), list.version);
            self.used.insert(wanted, list.version);
            if self.compiled.contains_key(&edition) {
                continue;
            }
            if list.bytes() <= BESIDE_BYTES {
                self.compiled.insert(edition, Some(compile(&list)));
                continue;
            }
            self.compiled.insert(edition.clone(), None);
            let board = Arc::clone(board);
            // Nobody waits for it: the deliveries look again, and if it is lost it is compiled again.
            drop(crate::threads::spawn_blocking(move || {
                let dictionary = compile(&list);
                board.template.send(TemplateMsg::Dictionary(edition, dictionary));
            }));
        }
    }

    /// A dictionary was compiled.
    pub(crate) fn add(&mut self, edition: Edition, compiled: Dictionary) {
        self.compiled.insert(edition, Some(compiled));
    }

    /// The dictionaries that these rules ask for.
    pub(crate) fn readers(&self, rules: &[WordRule]) -> Result<Vec<Reader>, Missing> {
        rules.iter().map(|rule| self.reader(rule)).collect()
    }

    fn reader(&self, rule: &WordRule) -> Result<Reader, Missing> {
        let unknown = || Reason::new("unknown_words", format!("there is no word list of the policy `{}`", rule.policy));
        let version = *self.used.get(&edition(rule)).ok_or_else(|| Missing::NotKnown(unknown()))?;
        let compiled = self.compiled.get(&(rule.policy.clone(), version)).ok_or(Missing::NotYet)?;
        let compiled = compiled.as_ref().ok_or(Missing::NotYet)?;
        let dictionary = Arc::clone(compiled.as_ref().map_err(|reason| Missing::Broken(reason.clone()))?);
        Ok(Reader { title: WordRule::title(&rule.policy, version), reject: rule.reject, dictionary })
    }
}

fn edition(rule: &WordRule) -> Edition {
    (rule.policy.clone(), rule.version)
}

fn compile(list: &WordList) -> Dictionary {
    words::Dictionary::new(list.words()).map(Arc::new).map_err(|error| Reason::new("words", error.to_string()))
}

/// Decides about content: those who reject look at it as it is, then the others mask, one after the other.
pub fn screen(readers: &[Reader], content: Arc<Value>) -> Result<Screened, Barred> {
    let readers: &[Reader] = if planted("words_ignored") { &[] } else { readers };
    for reader in readers.iter().filter(|reader| reader.reject) {
        if let Some(found) = find(&reader.dictionary, &content) {
            let detail = format!("{} holds `{}`", found.field, found.word);
            return Err(Barred { rule: reader.title.clone(), detail });
        }
    }
    let (mut content, mut masked) = (content, Vec::new());
    for reader in readers.iter().filter(|reader| !reader.reject) {
        // Looked for first, because most content holds nothing and is shared by many.
        if find(&reader.dictionary, &content).is_none() {
            continue;
        }
        let places = mask(&reader.dictionary, Arc::make_mut(&mut content));
        if places > 0 {
            masked.push(Masked { rule: reader.title.clone(), places });
        }
    }
    Ok(Screened { content, masked: masked.into() })
}
