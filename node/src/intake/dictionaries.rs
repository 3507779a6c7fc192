//! Dictionaries of sensitive words for the dry run and the preview: compiled on demand, a few kept. What they decide is
//! decided by the code that decides about what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use tidings_actors::words::{Dictionary, Reader, Screened, WordBarred, fields, screen};
use tidings_machine::partition::{Finding, Ruling, WordRule};

use crate::app::App;
use crate::problem::{Code, Problem};

/// Most that are kept; when there are more, all are dropped and the used ones come back.
const KEPT: usize = 16;
/// Most fields that are named.
const FIELDS: usize = 8;

/// The dictionaries that were compiled, by policy and version.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries(RwLock<BTreeMap<(String, u32), Arc<Dictionary>>>);

/// What the dictionaries make of a content.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What would be sent; the content as it is, where a rule says no.
    pub content: Value,
    /// What each of them says, up to the first that says no.
    pub findings: Vec<Finding>,
    /// Whether one says no.
    pub barred: bool,
}

impl App {
    /// The dictionaries that these rules ask for.
    ///
    /// # Errors
    /// A list that cannot be compiled, or whose policy is gone.
    pub(crate) async fn readers(&self, rules: &[WordRule]) -> Result<Vec<Reader>, Problem> {
        let mut readers = Vec::with_capacity(rules.len());
        for rule in rules {
            let list = self.ledger.control(|c| c.words_of(&rule.policy, rule.version));
            let unknown = || Problem::new(Code::Conflict, format!("the words of the policy {} are gone", rule.policy));
            let list = list.ok_or_else(unknown)?;
            let (edition, version) = ((rule.policy.clone(), list.version), list.version);
            let known = self.dictionaries.0.read().get(&edition).cloned();
            let dictionary = match known {
                Some(known) => known,
                None => {
                    let broken = |why: String| Problem::new(Code::Internal, format!("{}: {why}", rule.policy));
                    // A long list takes a while.
                    #[cfg(not(feature = "sim"))]
                    let compiled = tokio::task::spawn_blocking(move || Dictionary::new(list.words())).await;
                    // At once: a thread would end at a moment of the true time.
                    #[cfg(feature = "sim")]
                    let compiled = Ok::<_, std::convert::Infallible>(Dictionary::new(list.words()));
                    let compiled = compiled.map_err(|error| broken(error.to_string()))?;
                    let compiled = Arc::new(compiled.map_err(|error| broken(error.to_string()))?);
                    self.dictionaries.keep(edition, &compiled);
                    compiled
                }
            };
            readers.push(Reader::new(WordRule::title(&rule.policy, version), rule.reject, dictionary));
        }
        Ok(readers)
    }
}

impl Dictionaries {
    fn keep(&self, edition: (String, u32), compiled: &Arc<Dictionary>) {
        let mut kept = self.0.write();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(edition, Arc::clone(compiled));
    }
}

/// Looks through a content.
pub(crate) fn look_through(readers: &[Reader], content: Value) -> Looked {
    let content = Arc::new(content);
    let finding = |reader: &Reader, ruling, detail| Finding { title: reader.title().to_owned(), ruling, detail };
    let free = |reader: &Reader| finding(reader, Ruling::Pass, "the content holds none of its words".to_owned());
    match screen(readers, Arc::clone(&content)) {
        Err(WordBarred { rule, detail }) => {
            let before = readers.iter().take_while(|reader| reader.title() != rule).map(free);
            let no = Finding { title: rule.clone(), ruling: Ruling::Suppress, detail };
            let findings = before.chain([no]).collect();
            Looked { content: Arc::unwrap_or_clone(content), findings, barred: true }
        }
        Ok(Screened { content: masked, masked: places }) => {
            let told = |reader: &Reader| match places.iter().find(|masked| masked.rule == reader.title()) {
                Some(masked) => {
                    let named = fields(reader, &content, FIELDS).join(", ");
                    let detail = format!("{} places are masked, in {named}", masked.places);
                    finding(reader, Ruling::Mask { places: masked.places }, detail)
                }
                None => free(reader),
            };
            let findings = readers.iter().map(told).collect();
            Looked { content: Arc::unwrap_or_clone(masked), findings, barred: false }
        }
    }
}
