//! One version of a template's content, compiled: filled here where that is cheap whatever it is filled with, apart where
//! nobody can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tidings_contract::{Markup, TextRule};

use super::apart::{self, Asked, Pair, Source, Told, Whose, Wish};
use super::budget::Fuel;
use super::engine::{Engine, Markups};
use super::fields::markup_of;
use super::old::modernise;
use super::scan::{Shape, scan};
use super::variables::Layers;
use super::{Fault, RenderError, SyntaxError, Variables};

/// Longest content that is compiled, in bytes of JSON.
const CONTENT_LIMIT: usize = 256 * 1024;
/// How long callers of the API do without a content after the process died that filled it for one. A message with many
/// recipients, and whoever tries it again and again, costs one death in that time.
const RESTS: Duration = Duration::from_secs(10);
/// Most instructions of a content that is compiled where others wait.
const STEPS: u64 = 20_000;

/// A template's content, ready to be filled.
///
/// Placeholders are `{{ name }}` (minijinja; a missing variable is an error) and `{$name}` of the old system, in any string
/// at any depth. Values are escaped for the markup that the channel's rules name for a field; strings under a field named `html`
/// escape for HTML in any channel, others nothing. A string stays a string.
#[derive(Debug)]
pub struct Compiled {
    source: Source,
    /// Where it is plain.
    here: Option<Engine>,
    /// It was plain and cost more than others should wait for.
    heavy: AtomicBool,
    /// Until when callers of the API do without it, because the process died that filled it for one.
    rests: Mutex<Option<Instant>>,
    roots: BTreeSet<String>,
    paths: BTreeSet<String>,
}

impl Compiled {
    /// Compiles the JSON text of a template's content.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn new(content: &str) -> Result<Self, Vec<SyntaxError>> {
        Self::from_value(Self::read(content)?)
    }

    /// Reads the JSON text of a template's content, if it is not too long.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn read(content: &str) -> Result<Value, Vec<SyntaxError>> {
        let whole = |detail: String, line, column| vec![SyntaxError { line, column, ..SyntaxError::whole(detail) }];
        if content.len() > CONTENT_LIMIT {
            return Err(whole(format!("is longer than {CONTENT_LIMIT} bytes"), 1, 1));
        }
        serde_json::from_str(content).map_err(|e| whole(e.to_string(), e.line().max(1), e.column().max(1)))
    }

    /// Compiles a template's content.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn from_value(content: Value) -> Result<Self, Vec<SyntaxError>> {
        Self::with_rules(content, &[])
    }

    /// Compiles a template's content for a channel whose texts have these rules. May block for as long as a template may
    /// take.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn with_rules(content: Value, rules: &[TextRule]) -> Result<Self, Vec<SyntaxError>> {
        Self::compile(content, rules, false)
    }

    /// As [`with_rules`](Self::with_rules) for a content that was compiled before it was kept: what is not plain is compiled
    /// when it is filled for the first time, and nothing is known of its variables. Never blocks.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string, as far as it is plain.
    pub(crate) fn trusted(content: Value, rules: &[TextRule]) -> Result<Self, Vec<SyntaxError>> {
        Self::compile(content, rules, true)
    }

    /// As [`trusted`](Self::trusted), of the JSON text.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn trusted_text(content: &str) -> Result<Self, Vec<SyntaxError>> {
        Self::trusted(Self::read(content)?, &[])
    }

    fn compile(content: Value, rules: &[TextRule], trusted: bool) -> Result<Self, Vec<SyntaxError>> {
        let markups: Markups = match &content {
            Value::Object(fields) => fields.keys().map(|name| (name.clone(), markup_of(name, fields, rules))).collect(),
            _ => BTreeMap::new(),
        };
        let (mut steps, mut wrong) = (Some(0), Vec::new());
        look(&content, &mut "content".to_owned(), &mut steps, &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let source = source(&content, &markups);
        let (here, heavy, rests) = (None, AtomicBool::new(false), Mutex::new(None));
        if steps.is_some_and(|steps| steps <= STEPS) {
            let engine = Engine::new(content, &markups, Fuel::HERE)?;
            let (roots, paths) = (engine.roots.clone(), engine.paths.clone());
            return Ok(Self { source, here: Some(engine), heavy, rests, roots, paths });
        }
        if trusted {
            return Ok(Self { source, here, heavy, rests, roots: BTreeSet::new(), paths: BTreeSet::new() });
        }
        let asked = Asked { source: source.clone(), wish: Wish::Compile, with: vec![Pair::default()] };
        let cannot = |detail: String| vec![SyntaxError::whole(format!("cannot be compiled: {detail}"))];
        match apart::ask(Whose::Edge, &asked).pop() {
            Some(Ok(Told::Compiled { roots, paths })) => {
                let (roots, paths) = (roots.into_iter().collect(), paths.into_iter().collect());
                Ok(Self { source, here, heavy, rests, roots, paths })
            }
            Some(Ok(Told::Wrong(wrong))) => Err(wrong),
            Some(Ok(Told::Unfilled(error)) | Err(error)) => Err(cannot(error.detail)),
            _ => Err(cannot("it was not answered".to_owned())),
        }
    }

    /// The variables without which it cannot be filled. Those with a default, and those only used where they are defined,
    /// are not among them.
    pub fn variables(&self) -> BTreeSet<String> {
        self.roots.clone()
    }

    /// Whether it is filled where it is, unless its variables are many.
    pub(crate) fn is_plain(&self) -> bool {
        self.here.is_some() && !self.heavy.load(Ordering::Relaxed)
    }

    /// Whether nothing in it depends on variables.
    pub fn is_fixed(&self) -> bool {
        self.paths.is_empty()
    }

    /// Fills it; the recipient's own variables win over the shared ones.
    ///
    /// # Errors
    /// The first string that cannot be filled, and why.
    pub fn render(&self, shared: &Map<String, Value>, own: &Map<String, Value>) -> Result<Value, RenderError> {
        self.render_with(&Variables::new(shared), &Variables::new(own))
    }

    /// As [`render`](Self::render), with variables that were converted before. May block for as long as a template may take.
    ///
    /// # Errors
    /// The first string that cannot be filled, and why.
    pub fn render_with(&self, shared: &Variables, own: &Variables) -> Result<Value, RenderError> {
        self.render_here(shared, own).unwrap_or_else(|| {
            let told = self.render_apart(Whose::Edge, shared, &[own]).pop();
            told.unwrap_or_else(|| Err(RenderError::busy("it was not answered")))
        })
    }

    /// Fills it if that is cheap; `None` if it has to be done apart.
    pub(super) fn render_here(&self, shared: &Variables, own: &Variables) -> Option<Result<Value, RenderError>> {
        let engine = self.engine(shared, own)?;
        self.unless_heavy(engine.render(shared, own))
    }

    /// Fills it apart, for many recipients.
    pub(super) fn render_apart(
        &self,
        whose: Whose,
        shared: &Variables,
        own: &[&Variables],
    ) -> Vec<Result<Value, RenderError>> {
        let told = self.ask(whose, Wish::Fill, shared, own).into_iter().map(|told| match told? {
            Told::Filled(content) => Ok(content),
            Told::Unfilled(error) => Err(error),
            Told::Wrong(wrong) => {
                Err(RenderError::new("content", wrong.first().map_or_else(String::new, ToString::to_string)))
            }
            Told::Compiled { .. } | Told::Missing(_) => Err(RenderError::busy("something else was answered")),
        });
        told.collect()
    }

    /// The variables that are missing, exactly as rendering would miss them: `code`, `user.name`; the first twenty. Empty
    /// also where rendering fails for another reason.
    pub fn missing(&self, shared: &Map<String, Value>, own: &Map<String, Value>) -> Vec<String> {
        self.missing_with(&Variables::new(shared), &Variables::new(own))
    }

    /// As [`missing`](Self::missing), with variables that were converted before. May block for as long as a template may take.
    pub fn missing_with(&self, shared: &Variables, own: &Variables) -> Vec<String> {
        let layers = Layers { own: own.clone(), shared: shared.clone(), assumed: BTreeMap::new() };
        if self.paths.iter().all(|path| layers.has(path)) {
            return Vec::new();
        }
        let here = self.engine(shared, own).and_then(|engine| self.unless_heavy(engine.missing(shared, own)));
        here.map(Result::unwrap_or_default).unwrap_or_else(|| {
            match self.ask(Whose::Edge, Wish::Missing, shared, &[own]).pop() {
                Some(Ok(Told::Missing(missing))) => missing,
                _ => Vec::new(),
            }
        })
    }

    fn engine(&self, shared: &Variables, own: &Variables) -> Option<&Engine> {
        self.here.as_ref().filter(|_| !self.heavy.load(Ordering::Relaxed) && shared.are_small(own))
    }

    /// What cost too much here is done apart from now on, where it may cost more.
    fn unless_heavy<T>(&self, done: Result<T, RenderError>) -> Option<Result<T, RenderError>> {
        let heavy = done.as_ref().is_err_and(RenderError::is_out_of_budget);
        if heavy {
            self.heavy.store(true, Ordering::Relaxed);
        }
        (!heavy).then_some(done)
    }

    fn ask(&self, whose: Whose, wish: Wish, shared: &Variables, own: &[&Variables]) -> Vec<Result<Told, RenderError>> {
        let shared: Arc<str> = shared.to_json().into();
        let with = own.iter().map(|own| Pair { shared: Arc::clone(&shared), own: own.to_json().into() }).collect();
        if whose == Whose::Edge && self.rests.lock().is_some_and(|until| Instant::now() < until) {
            let busy = RenderError::busy("it took more than it may a moment ago; try again in some seconds");
            return vec![Err(busy); own.len()];
        }
        let told = apart::ask(whose, &Asked { source: self.source.clone(), wish, with });
        if told.iter().any(|told| told.as_ref().is_err_and(|error| error.fault == Fault::Died)) {
            *self.rests.lock() = Some(Instant::now() + RESTS);
        }
        told
    }
}

fn source(content: &Value, markups: &Markups) -> Source {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let named = markups.iter().filter(|(_, markup)| **markup != Markup::Plain);
    Source {
        key: KEYS.fetch_add(1, Ordering::Relaxed),
        content: content.to_string().into(),
        markups: Arc::new(named.map(|(field, markup)| (field.clone(), markup.name().to_owned())).collect()),
    }
}

/// Looks at every string: adds up the steps of those that are plain (`None` once one is not), and what is too much.
fn look(value: &Value, path: &mut String, steps: &mut Option<u64>, wrong: &mut Vec<SyntaxError>) {
    let length = path.len();
    match value {
        Value::String(text) => {
            let (source, turned) = modernise(text);
            match scan(&source) {
                Ok(Shape::Plain { steps: more, .. }) => *steps = steps.map(|steps| steps + more),
                Ok(Shape::Unknown) => *steps = None,
                Err(much) => wrong.push(SyntaxError::at(path, &source, &turned, much.at, much.detail)),
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                path.push_str(&format!("[{n}]"));
                look(item, path, steps, wrong);
                path.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push('.');
                path.push_str(name);
                look(field, path, steps, wrong);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Shared by threads: a compiled template is read by the edge and by actors at once.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Compiled>>();
};
