//! One version of a template's content, compiled: a tree of values whose strings may be small templates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value as Inner, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::{Map, Value};
use tidings_contract::{Markup, TextRule};

use super::escape;
use super::fields::{is_address, markup_of};
use super::old::{GROWN, modernise};
use super::variables::{Anything, Layers};
use super::{RenderError, SyntaxError, Variables};

/// Longest content that is compiled, in bytes of JSON.
const CONTENT_LIMIT: usize = 256 * 1024;
/// Most strings with placeholders in one content.
const TEXTS_LIMIT: usize = 1_000;
/// The work that filling one string may cost: about as many instructions, or 64 times as many bytes (1.3 MB).
const FUEL: u64 = 20_000;
/// Most fillings that finding out which variables are optional may cost; beyond, all of them count as required.
const PROBES: usize = 2_000;
/// Most missing variables that are named.
const MISSING_LIMIT: usize = 20;
/// How deep calls inside a template may nest.
const DEPTH: usize = 32;

/// A template's content, ready to be filled.
///
/// Placeholders are `{{ name }}` (minijinja; a missing variable is an error) and `{$name}` of the old system, in any string
/// at any depth. Values are escaped for the markup that the channel's rules name for a field; strings under a field named `html`
/// escape for HTML in any channel, others nothing. A string stays a string.
#[derive(Debug)]
pub struct Compiled {
    env: Environment<'static>,
    root: Node,
    roots: BTreeSet<String>,
    paths: BTreeSet<String>,
}

#[derive(Debug)]
enum Node {
    Fixed(Value),
    /// A string with placeholders, by its name in the environment: its path, with its markup before it if it escapes.
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Compiled {
    /// Compiles the JSON text of a template's content.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn new(content: &str) -> Result<Self, Vec<SyntaxError>> {
        let whole =
            |detail: String, line, column| vec![SyntaxError { field: "content".to_owned(), line, column, detail }];
        if content.len() > CONTENT_LIMIT {
            return Err(whole(format!("is longer than {CONTENT_LIMIT} bytes"), 1, 1));
        }
        let value: Value =
            serde_json::from_str(content).map_err(|e| whole(e.to_string(), e.line().max(1), e.column().max(1)))?;
        Self::from_value(value)
    }

    /// Compiles a template's content.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn from_value(content: Value) -> Result<Self, Vec<SyntaxError>> {
        Self::with_rules(content, &[])
    }

    /// Compiles a template's content for a channel whose texts have these rules.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub fn with_rules(content: Value, rules: &[TextRule]) -> Result<Self, Vec<SyntaxError>> {
        let mut builder = Builder { env: environment(), texts: Vec::new(), errors: Vec::new() };
        let root = builder.root(content, rules);
        if builder.texts.len() > TEXTS_LIMIT {
            let detail = format!("has more than {TEXTS_LIMIT} strings with placeholders");
            builder.errors.push(SyntaxError { field: "content".to_owned(), line: 1, column: 1, detail });
        }
        if !builder.errors.is_empty() {
            return Err(builder.errors);
        }
        let mut compiled = Self { env: builder.env, root, roots: BTreeSet::new(), paths: BTreeSet::new() };
        let (mut roots, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for text in builder.texts.iter().filter_map(|(name, _)| compiled.env.get_template(name).ok()) {
            roots.extend(text.undeclared_variables(false));
            paths.extend(text.undeclared_variables(true));
        }
        let globals: BTreeSet<String> = compiled.env.globals().map(|(name, _)| name.to_owned()).collect();
        compiled.paths = paths.into_iter().filter(|path| !globals.contains(first(path))).collect();
        compiled.check_names(&builder.texts)?;
        let roots = &roots - &globals;
        let may_probe = roots.len() * builder.texts.len() <= PROBES;
        compiled.roots = roots.into_iter().filter(|name| !may_probe || compiled.requires(name)).collect();
        Ok(compiled)
    }

    /// Finds names of filters, tests and functions that do not exist: the engine would only tell when filling.
    fn check_names(&self, texts: &[(String, Vec<usize>)]) -> Result<(), Vec<SyntaxError>> {
        let assumed = self.paths.iter().map(|path| (first(path).to_owned(), Inner::from_object(Anything))).collect();
        let all = Inner::from_object(Layers { own: Variables::default(), shared: Variables::default(), assumed });
        let wrong = texts.iter().filter_map(|(name, turned)| {
            let error = self.env.get_template(name).and_then(|text| text.render(all.clone())).err()?;
            let unknown = match error.kind() {
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::TemplateNotFound => true,
                // Variables are JSON: none of them can be called, and none has methods.
                ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => true,
                _ => error.detail().is_some_and(|detail| detail.contains("not callable")),
            };
            let source = error.template_source().unwrap_or_default();
            unknown.then(|| syntax_error(path_of(name), source, turned, &error))
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The variables without which it cannot be filled. Those with a default, and those only used where they are defined,
    /// are not among them.
    pub fn variables(&self) -> BTreeSet<String> {
        self.roots.clone()
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

    /// As [`render`](Self::render), with variables that were converted before.
    ///
    /// # Errors
    /// The first string that cannot be filled, and why.
    pub fn render_with(&self, shared: &Variables, own: &Variables) -> Result<Value, RenderError> {
        let layers = Layers { own: own.clone(), shared: shared.clone(), assumed: BTreeMap::new() };
        self.fill(&self.root, &Inner::from_object(layers))
    }

    /// The variables that are missing, exactly as rendering would miss them: `code`, `user.name`; the first twenty. Empty
    /// also where rendering fails for another reason.
    pub fn missing(&self, shared: &Map<String, Value>, own: &Map<String, Value>) -> Vec<String> {
        self.missing_with(&Variables::new(shared), &Variables::new(own))
    }

    /// As [`missing`](Self::missing), with variables that were converted before.
    pub fn missing_with(&self, shared: &Variables, own: &Variables) -> Vec<String> {
        let mut layers = Layers { own: own.clone(), shared: shared.clone(), assumed: BTreeMap::new() };
        if self.paths.iter().all(|path| layers.has(path)) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        // Each round finds one more.
        for _ in 0..MISSING_LIMIT {
            let attempt = Layers { own: own.clone(), shared: shared.clone(), assumed: layers.assumed.clone() };
            let Err(RenderError { variable: Some(name), .. }) = self.fill(&self.root, &Inner::from_object(attempt))
            else {
                break;
            };
            let root = first(&name).to_owned();
            let again = layers.assumed.insert(root.clone(), Inner::from_object(Anything)).is_some();
            missing.push(name);
            // Something inside a variable that was given: it cannot be assumed, so nothing behind it can be seen.
            if again || layers.has(&root) {
                break;
            }
        }
        missing
    }

    /// Whether it cannot be filled when only `name` is missing.
    fn requires(&self, name: &str) -> bool {
        let assumed = self.paths.iter().map(|path| first(path)).filter(|other| *other != name);
        let assumed = assumed.map(|other| (other.to_owned(), Inner::from_object(Anything))).collect();
        let layers = Layers { own: Variables::default(), shared: Variables::default(), assumed };
        match self.fill(&self.root, &Inner::from_object(layers)) {
            Ok(_) => false,
            Err(error) => error.variable.is_none_or(|variable| first(&variable) == name),
        }
    }

    fn fill(&self, node: &Node, variables: &Inner) -> Result<Value, RenderError> {
        Ok(match node {
            Node::Fixed(value) => value.clone(),
            Node::Text(name) => {
                let text = self.env.get_template(name).and_then(|text| text.render(variables.clone()));
                Value::String(text.map_err(|error| render_error(name, &error))?)
            }
            Node::List(items) => {
                Value::Array(items.iter().map(|item| self.fill(item, variables)).collect::<Result<_, _>>()?)
            }
            Node::Map(fields) => {
                let mut map = Map::new();
                for (name, field) in fields {
                    map.insert(name.clone(), self.fill(field, variables)?);
                }
                Value::Object(map)
            }
        })
    }
}

struct Builder {
    env: Environment<'static>,
    /// The names of the strings with placeholders, each with where its old placeholders were turned.
    texts: Vec<(String, Vec<usize>)>,
    errors: Vec<SyntaxError>,
}

impl Builder {
    /// The fields of the content, each with the markup that its channel reads in it.
    fn root(&mut self, content: Value, rules: &[TextRule]) -> Node {
        let markups: BTreeMap<String, Markup> = match &content {
            Value::Object(fields) => fields.keys().map(|name| (name.clone(), markup_of(name, fields, rules))).collect(),
            _ => BTreeMap::new(),
        };
        self.node(content, "content", &|name| markups.get(name).copied().unwrap_or_default())
    }

    /// `markup` says what is read in the fields of an object.
    fn node(&mut self, value: Value, path: &str, markup: &dyn Fn(&str) -> Markup) -> Node {
        match value {
            Value::String(text) => self.text(text, path, markup("")),
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let nodes: Vec<_> = items.map(|(n, item)| self.node(item, &format!("{path}[{n}]"), markup)).collect();
                merge(nodes, Node::List, |nodes| nodes.into_iter().map(fixed).collect::<Option<_>>().map(Value::Array))
            }
            Value::Object(map) => {
                let fields = map.into_iter();
                let nodes = fields.map(|(name, field)| {
                    let inner = match markup(&name) {
                        // Nobody reads markup in the address of something, and escapes would lead elsewhere.
                        _ if is_address(&name) => Markup::Plain,
                        Markup::Plain if name == "html" => Markup::Html,
                        inner => inner,
                    };
                    let node = self.node(field, &format!("{path}.{name}"), &|_| inner);
                    (name, node)
                });
                let nodes: Vec<_> = nodes.collect();
                merge(nodes, Node::Map, |nodes| {
                    let fields = nodes.into_iter().map(|(name, node)| Some((name, fixed(node)?)));
                    fields.collect::<Option<_>>().map(Value::Object)
                })
            }
            other => Node::Fixed(other),
        }
    }

    fn text(&mut self, text: String, path: &str, markup: Markup) -> Node {
        let (source, turned) = modernise(&text);
        if !["{{", "{%", "{#"].iter().any(|open| source.contains(open)) {
            return Node::Fixed(Value::String(text));
        }
        let name = if markup == Markup::Plain { path.to_owned() } else { format!("{}:{path}", markup.name()) };
        match self.env.add_template_owned(name.clone(), source.clone()) {
            Ok(()) => self.texts.push((name.clone(), turned)),
            Err(error) => self.errors.push(syntax_error(path, &source, &turned, &error)),
        }
        Node::Text(name)
    }
}

/// Keeps a branch without placeholders as one value, so that filling it is one copy.
fn merge<T>(nodes: Vec<T>, branch: fn(Vec<T>) -> Node, value: impl FnOnce(Vec<T>) -> Option<Value>) -> Node
where
    T: IsFixed,
{
    if !nodes.iter().all(T::is_fixed) {
        return branch(nodes);
    }
    value(nodes).map_or(Node::Fixed(Value::Null), Node::Fixed)
}

trait IsFixed {
    fn is_fixed(&self) -> bool;
}

impl IsFixed for Node {
    fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }
}

impl IsFixed for (String, Node) {
    fn is_fixed(&self) -> bool {
        self.1.is_fixed()
    }
}

fn fixed(node: Node) -> Option<Value> {
    if let Node::Fixed(value) = node { Some(value) } else { None }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    // It prints every variable.
    env.remove_global("debug");
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|name| markup_of_name(name).map_or(AutoEscape::None, escape::mode));
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(DEPTH);
    env.set_formatter(print);
    // Without it an error does not tell where it is.
    env.set_debug(true);
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        env.set_syntax(syntax);
    }
    env
}

/// Prints yes and no as JSON does, and null as nothing; the engine would print them as Python does.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Inner) -> Result<(), minijinja::Error> {
    match value.kind() {
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }).map_err(Into::into),
        ValueKind::None => Ok(()),
        _ => match escape::print(out, state, value) {
            Some(printed) => printed,
            None => minijinja::escape_formatter(out, state, value),
        },
    }
}

/// The markup before the path in a string's name.
fn markup_of_name(name: &str) -> Option<Markup> {
    let (prefix, _) = name.split_once(':')?;
    Markup::ALL.iter().copied().find(|markup| *markup != Markup::Plain && markup.name() == prefix)
}

/// The path in a string's name.
fn path_of(name: &str) -> &str {
    if markup_of_name(name).is_none() { name } else { name.split_once(':').map_or(name, |(_, path)| path) }
}

fn first(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path).trim()
}

fn words(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

fn syntax_error(path: &str, source: &str, turned: &[usize], error: &minijinja::Error) -> SyntaxError {
    let at = error.range().map_or(0, |range| range.start).min(source.len());
    let before = source.get(..at).unwrap_or("");
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    let grown = turned.iter().filter(|end| **end > start && **end <= at).count() * GROWN;
    SyntaxError {
        field: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: (before[start..].chars().count() + 1).saturating_sub(grown).max(1),
        detail: words(error),
    }
}

fn render_error(name: &str, error: &minijinja::Error) -> RenderError {
    let field = path_of(name).to_owned();
    let detail = words(error);
    // The engine names what was undefined in back quotes; a bare undefined name is the failing expression itself.
    let named = detail.find("` is undefined").and_then(|end| detail[..end].rsplit('`').next()).map(str::to_owned);
    let seen = || {
        let undefined = error.kind() == ErrorKind::UndefinedError;
        let range = error.range().filter(|_| undefined);
        error
            .template_source()
            .zip(range)
            .and_then(|(source, range)| source.get(range))
            .map(|text| text.trim().to_owned())
    };
    match named.or_else(seen) {
        Some(variable) => {
            RenderError { field, detail: format!("the variable `{variable}` is missing"), variable: Some(variable) }
        }
        None => RenderError { field, variable: None, detail },
    }
}

/// Shared by threads: a compiled template is read by the edge and by actors at once.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Compiled>>();
};
