//! Templates, compiled: looked up in control, compiled once per version and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Map, Value};
use tidings_actors::render::{self, Variables};
use tidings_channels::{Registry, text_rules};
use tidings_contract::{ChannelInfo, FieldError};
use tidings_machine::control::{Rendering, TemplateVersion};

use crate::app::App;
use crate::problem::{Code, Problem};

/// Templates kept compiled; when there are more, all are dropped and the used ones come back.
const NAMES_KEPT: usize = 4_096;
/// Versions of one template kept compiled.
const VERSIONS_KEPT: usize = 4;

/// A version of a template, ready to be checked against and rendered.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The template's name.
    pub name: String,
    /// The version.
    pub version: Arc<TemplateVersion>,
    /// Its channel.
    pub channel: &'static ChannelInfo,
    /// The variables it cannot do without.
    pub variables: Vec<String>,
    content: render::Finished,
}

impl Compiled {
    /// The variables that are missing, exactly as rendering would miss them.
    pub(crate) fn missing(&self, shared: &Variables, own: &Variables) -> Vec<String> {
        self.content.missing_with(shared, own)
    }

    /// The filled content and its tracking parameters, as the dictionaries look through it; for [`Compiled::finish`].
    pub(crate) fn fill(&self, shared: &Variables, own: &Variables) -> Result<(Value, Value), Problem> {
        self.content.fill_with(shared, own).map_err(|error| match error.fault {
            render::Fault::Busy => Problem::new(Code::Full, error.detail),
            _ => Problem::fields(Code::InvalidRequest, vec![render::Unfit::from(error).into()]),
        })
    }

    /// What goes out of a filled content: one content, or several where a text is sent in parts.
    pub(crate) fn finish(&self, content: Value, parameters: &Value) -> Result<Vec<Value>, Problem> {
        let finished = self.content.finish(content, parameters);
        finished.map_err(|unfit| Problem::fields(Code::InvalidRequest, vec![unfit.into()]))
    }

    /// The content with every placeholder filled, before links and lengths are seen to; `None` if that cannot be done.
    pub(crate) fn filled(&self, variables: &Map<String, Value>) -> Option<Value> {
        self.content.content().render(variables, &Map::new()).ok()
    }

    /// How long the texts of a filled content are, where the supplier names a limit.
    pub(crate) fn lengths(&self, content: &Value) -> Vec<render::Length> {
        self.content.lengths(content)
    }
}

/// Compiles a template's texts, only to see whether it can be done.
///
/// # Errors
/// One per text that does not compile, with line and column.
pub(crate) fn check_syntax(channel: &str, content: &Value, rendering: &Rendering) -> Result<(), Vec<FieldError>> {
    let compiled = render::Finished::new(&content.to_string(), text_rules(channel), rendering);
    compiled.map(drop).map_err(|errors| errors.into_iter().map(FieldError::from).collect())
}

/// The compiled versions, by name.
#[derive(Debug, Default)]
pub(crate) struct Templates(RwLock<BTreeMap<String, Vec<Arc<Compiled>>>>);

impl Templates {
    fn get(&self, name: &str, version: &Arc<TemplateVersion>) -> Option<Arc<Compiled>> {
        let kept = self.0.read();
        kept.get(name)?.iter().find(|c| Arc::ptr_eq(&c.version, version) || c.version == *version).cloned()
    }

    fn keep(&self, compiled: &Arc<Compiled>) {
        let mut kept = self.0.write();
        if kept.len() >= NAMES_KEPT && !kept.contains_key(&compiled.name) {
            kept.clear();
        }
        let versions = kept.entry(compiled.name.clone()).or_default();
        versions.retain(|c| c.version.version != compiled.version.version);
        // The newest stands first: nearly every look-up wants it.
        versions.insert(0, Arc::clone(compiled));
        versions.truncate(VERSIONS_KEPT);
    }
}

impl App {
    /// The template that new messages of that name use, once this node knows what is in force: everything that decides
    /// about a message, its policies included, is read after this.
    ///
    /// # Errors
    /// `unknown_template`; whatever makes control unreachable.
    pub(crate) async fn current_template(&self, name: &str) -> Result<Arc<Compiled>, Problem> {
        self.caught_up().await?;
        let look = || self.ledger.control(|c| c.templates.get(name).and_then(|t| t.current().cloned()));
        let version = match look() {
            Some(version) => version,
            // It may have been written on another node a moment ago.
            None => {
                self.fresh_control().await?;
                look().ok_or_else(|| unknown_template(name))?
            }
        };
        self.compiled(name, version)
    }

    /// One version of a template, whether new messages use it or not.
    ///
    /// # Errors
    /// `unknown_template` when that version is not kept.
    pub(crate) fn template_version(&self, name: &str, version: u32) -> Result<Arc<Compiled>, Problem> {
        let found = self.ledger.control(|c| c.templates.get(name).and_then(|t| t.versions.get(&version).cloned()));
        let found = found
            .ok_or_else(|| Problem::new(Code::UnknownTemplate, format!("version {version} of {name} is not kept")))?;
        self.compiled(name, found)
    }

    fn compiled(&self, name: &str, version: Arc<TemplateVersion>) -> Result<Arc<Compiled>, Problem> {
        if let Some(compiled) = self.templates.get(name, &version) {
            return Ok(compiled);
        }
        let compiled = Arc::new(build(&self.registry, name, version)?);
        self.templates.keep(&compiled);
        Ok(compiled)
    }
}

fn build(registry: &Registry, name: &str, version: Arc<TemplateVersion>) -> Result<Compiled, Problem> {
    let broken = |what: &str| Problem::new(Code::Internal, format!("version {} of {name} {what}", version.version));
    let channel =
        registry.channel(&version.spec.channel).ok_or_else(|| broken("names a channel that does not exist"))?;
    let content = render::Finished::new(&version.spec.content, text_rules(channel.name), &version.spec.rendering);
    let content = content.map_err(|_| broken("does not compile"))?;
    let variables = content.variables().into_iter().collect();
    Ok(Compiled { name: name.to_owned(), channel, variables, content, version: Arc::clone(&version) })
}

pub(crate) fn unknown_template(name: &str) -> Problem {
    Problem::new(Code::UnknownTemplate, format!("there is no template {name:?}"))
}
