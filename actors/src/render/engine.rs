//! The engine around minijinja: a tree of values whose strings may be small templates, filled within a budget.
//!
//! The engine charges for most of what it does, but not for all, and for some of it afterwards. So its budget bounds what
//! is [plain](super::scan::Shape::Plain) wherever it is filled, and everything else only together with the bounds of the
//! place that it is filled in ([`super::apart`]).

use std::collections::{BTreeMap, BTreeSet};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value as Inner, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::{Map, Value};
use tidings_contract::Markup;

use super::budget::{Budget, Fuel};
use super::escape;
use super::fields::is_address;
use super::old::modernise;
use super::scan::scan;
use super::variables::{Anything, Layers};
use super::{Fault, RenderError, SyntaxError, Variables};

/// Most strings with placeholders in one content.
const TEXTS_LIMIT: usize = 1_000;
/// Most fillings that finding out which variables are optional may cost; beyond, all of them count as required.
const PROBES: usize = 2_000;
/// Most missing variables that are named.
const MISSING_LIMIT: usize = 20;
/// How deep calls inside a template may nest.
const DEPTH: usize = 32;

/// A template's content, ready to be filled where it is cheap enough to be.
#[derive(Debug)]
pub(super) struct Engine {
    env: Environment<'static>,
    root: Node,
    fuel: Fuel,
    pub(super) roots: BTreeSet<String>,
    pub(super) paths: BTreeSet<String>,
}

#[derive(Debug)]
enum Node {
    Fixed(Value),
    /// A string with placeholders, by its name in the environment: its path, with its markup before it if it escapes.
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Engine {
    /// Compiles a content; `markups` says what is read in its fields.
    ///
    /// # Errors
    /// Everything that is wrong with it, string by string.
    pub(super) fn new(content: Value, markups: &Markups, fuel: Fuel) -> Result<Self, Vec<SyntaxError>> {
        let mut builder = Builder { env: environment(fuel), texts: Vec::new(), errors: Vec::new() };
        let root = builder.node(content, "content", &|name| markups.get(name).copied().unwrap_or_default());
        if builder.texts.len() > TEXTS_LIMIT {
            let detail = format!("has more than {TEXTS_LIMIT} strings with placeholders");
            builder.errors.push(SyntaxError { field: "content".to_owned(), line: 1, column: 1, detail });
        }
        if !builder.errors.is_empty() {
            return Err(builder.errors);
        }
        let mut engine = Self { env: builder.env, root, fuel, roots: BTreeSet::new(), paths: BTreeSet::new() };
        let (mut roots, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for text in builder.texts.iter().filter_map(|(name, _)| engine.env.get_template(name).ok()) {
            roots.extend(text.undeclared_variables(false));
            paths.extend(text.undeclared_variables(true));
        }
        let globals: BTreeSet<String> = engine.env.globals().map(|(name, _)| name.to_owned()).collect();
        engine.paths = paths.into_iter().filter(|path| !globals.contains(first(path))).collect();
        let budget = Budget::new(fuel.compiling);
        engine.check_names(&builder.texts, &budget)?;
        let roots = &roots - &globals;
        let may_probe = roots.len() * builder.texts.len() <= PROBES;
        let required = |name: &String| !may_probe || budget.is_spent() || engine.requires(name, &budget);
        engine.roots = roots.into_iter().filter(required).collect();
        Ok(engine)
    }

    /// Finds names of filters, tests and functions that do not exist: the engine would only tell when filling.
    fn check_names(&self, texts: &[(String, Vec<usize>)], budget: &Budget) -> Result<(), Vec<SyntaxError>> {
        let assumed = self.paths.iter().map(|path| (first(path).to_owned(), Inner::from_object(Anything))).collect();
        let all = Inner::from_object(Layers { own: Variables::default(), shared: Variables::default(), assumed });
        let mut wrong = Vec::new();
        for (name, turned) in texts {
            if budget.is_spent() {
                break;
            }
            let Err(error) = self.text(name, &all, budget) else { continue };
            let unknown = match error.kind() {
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::TemplateNotFound => true,
                // Variables are JSON: none of them can be called, and none has methods.
                ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => true,
                _ => error.detail().is_some_and(|detail| detail.contains("not callable")),
            };
            let source = error.template_source().unwrap_or_default();
            if unknown {
                wrong.push(syntax_error(path_of(name), source, turned, &error));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Fills it.
    ///
    /// # Errors
    /// The first string that cannot be filled, and why; [`RenderError::out_of_budget`] where all of it together costs too
    /// much.
    pub(super) fn render(&self, shared: &Variables, own: &Variables) -> Result<Value, RenderError> {
        let layers = Layers { own: own.clone(), shared: shared.clone(), assumed: BTreeMap::new() };
        self.fill(&self.root, &Inner::from_object(layers), &Budget::new(self.fuel.filling))
    }

    /// The variables that are missing; see [`super::Compiled::missing`].
    ///
    /// # Errors
    /// [`RenderError::out_of_budget`].
    pub(super) fn missing(&self, shared: &Variables, own: &Variables) -> Result<Vec<String>, RenderError> {
        let mut layers = Layers { own: own.clone(), shared: shared.clone(), assumed: BTreeMap::new() };
        let mut missing = Vec::new();
        let budget = Budget::new(self.fuel.looking);
        // Each round finds one more.
        for _ in 0..MISSING_LIMIT {
            let attempt = Layers { own: own.clone(), shared: shared.clone(), assumed: layers.assumed.clone() };
            let error = match self.fill(&self.root, &Inner::from_object(attempt), &budget) {
                Err(error) if error.is_out_of_budget() => return Err(error),
                Err(error) => error,
                Ok(_) => break,
            };
            let Some(name) = error.variable else { break };
            let root = first(&name).to_owned();
            let again = layers.assumed.insert(root.clone(), Inner::from_object(Anything)).is_some();
            missing.push(name);
            // Something inside a variable that was given: it cannot be assumed, so nothing behind it can be seen.
            if again || layers.has(&root) {
                break;
            }
        }
        Ok(missing)
    }

    /// Whether it cannot be filled when only `name` is missing.
    fn requires(&self, name: &str, budget: &Budget) -> bool {
        let assumed = self.paths.iter().map(|path| first(path)).filter(|other| *other != name);
        let assumed = assumed.map(|other| (other.to_owned(), Inner::from_object(Anything))).collect();
        let layers = Layers { own: Variables::default(), shared: Variables::default(), assumed };
        match self.fill(&self.root, &Inner::from_object(layers), budget) {
            Ok(_) => false,
            Err(error) => error.variable.is_none_or(|variable| first(&variable) == name),
        }
    }

    fn fill(&self, node: &Node, variables: &Inner, budget: &Budget) -> Result<Value, RenderError> {
        Ok(match node {
            Node::Fixed(value) => value.clone(),
            Node::Text(name) => {
                if budget.is_spent() {
                    return Err(RenderError::out_of_budget(path_of(name)));
                }
                let text = self.text(name, variables, budget);
                Value::String(text.map_err(|error| render_error(name, &error))?)
            }
            Node::List(items) => {
                Value::Array(items.iter().map(|item| self.fill(item, variables, budget)).collect::<Result<_, _>>()?)
            }
            Node::Map(fields) => {
                let mut map = Map::new();
                for (name, field) in fields {
                    map.insert(name.clone(), self.fill(field, variables, budget)?);
                }
                Value::Object(map)
            }
        })
    }

    /// Fills one string, and charges for it.
    fn text(&self, name: &str, variables: &Inner, budget: &Budget) -> Result<String, minijinja::Error> {
        let text = self.env.get_template(name)?;
        match text.render_captured(variables.clone()) {
            Ok(captured) => {
                budget.spend(captured.state().fuel_levels().map_or(self.fuel.text, |(spent, _)| spent).max(1));
                Ok(captured.into_output())
            }
            Err(error) => {
                // An error does not say what was spent. What is missing is found many times, so it must not cost all.
                let spent = if error.kind() == ErrorKind::OutOfFuel { self.fuel.text } else { self.fuel.text / 8 };
                budget.spend(spent);
                Err(error)
            }
        }
    }
}

/// What is read in the fields of a content.
pub(super) type Markups = BTreeMap<String, Markup>;

struct Builder {
    env: Environment<'static>,
    /// The names of the strings with placeholders, each with where its old placeholders were turned.
    texts: Vec<(String, Vec<usize>)>,
    errors: Vec<SyntaxError>,
}

impl Builder {
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
        if let Err(much) = scan(&source) {
            self.errors.push(SyntaxError::at(path, &source, &turned, much.at, much.detail));
            return Node::Text(path.to_owned());
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

fn environment(fuel: Fuel) -> Environment<'static> {
    let mut env = Environment::new();
    // It prints every variable.
    env.remove_global("debug");
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|name| markup_of_name(name).map_or(AutoEscape::None, escape::mode));
    env.set_fuel(Some(fuel.text));
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
    SyntaxError::at(path, source, turned, at, words(error))
}

fn render_error(name: &str, error: &minijinja::Error) -> RenderError {
    let field = path_of(name).to_owned();
    let detail = words(error);
    if error.kind() == ErrorKind::OutOfFuel {
        return RenderError { fault: Fault::Budget, ..RenderError::new(field, detail) };
    }
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
            let detail = format!("the variable `{variable}` is missing");
            RenderError { variable: Some(variable), ..RenderError::new(field, detail) }
        }
        None => RenderError::new(field, detail),
    }
}
