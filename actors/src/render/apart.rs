//! Filling what nobody can tell the cost of, apart from everything else.
//!
//! What is not plain ([`super::scan`]) is compiled and filled in another process where there is one ([`install`]), whose
//! memory, time and stack are bounded by the system: it may die of a template, and nobody else does. Where there is none
//! (tests, a simulation) it is done on a thread with a stack of its own, within the engine's budget only.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_contract::Markup;

use super::budget::Fuel;
use super::engine::{Engine, Markups};
use super::{RenderError, SyntaxError, Variables};

/// The stack on which templates are compiled and filled, in bytes. The deepest that [`super::scan`] lets through needs a
/// tenth of it.
pub const STACK: usize = 64 * 1024 * 1024;
/// Most contents that the process remembers compiled.
const KEPT: usize = 64;
/// Longest frame, in bytes: a content, or variables for many recipients.
const FRAME: usize = 64 * 1024 * 1024;

/// A content to be compiled there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its number: no two contents of a process have the same.
    pub key: u64,
    /// Its JSON.
    pub content: Arc<str>,
    /// The names of the markups that are read in its fields.
    pub markups: Arc<BTreeMap<String, String>>,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Of which content.
    pub source: Source,
    /// What of it.
    pub wish: Wish,
    /// With which variables; one answer each. One of no variables where the content is only compiled.
    pub with: Vec<Pair>,
}

/// What is asked of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// To compile it.
    Compile,
    /// To fill it.
    Fill,
    /// To say what is missing.
    Missing,
}

/// Variables as JSON texts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    /// The message's.
    pub shared: Arc<str>,
    /// The recipient's.
    pub own: Arc<str>,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// It compiles.
    Compiled {
        /// The variables it cannot do without.
        roots: Vec<String>,
        /// Everything it looks at.
        paths: Vec<String>,
    },
    /// It does not.
    Wrong(Vec<SyntaxError>),
    /// It was filled.
    Filled(Value),
    /// What is missing.
    Missing(Vec<String>),
    /// It cannot be filled.
    Unfilled(RenderError),
}

/// For whom something is filled: neither takes the other's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// For deliveries.
    Motion,
    /// For callers of the API.
    Edge,
}

/// A place apart. It blocks whoever asks.
pub trait Apart: Debug + Send + Sync {
    /// Asks, and gives an answer or an error for each of `asked.with`, in their order.
    fn ask(&self, whose: Whose, asked: &Asked) -> Vec<Result<Told, RenderError>>;
}

static PLACE: OnceLock<Arc<dyn Apart>> = OnceLock::new();

/// Gives this process a place apart, for good. A second one is not used.
pub fn install(place: Arc<dyn Apart>) {
    let _ = PLACE.set(place);
}

/// Asks where there is a place apart, or here on a thread of its own.
pub(super) fn ask(whose: Whose, asked: &Asked) -> Vec<Result<Told, RenderError>> {
    let mut told = off_the_worker(|| match PLACE.get() {
        Some(place) => place.ask(whose, asked),
        None => here(asked),
    });
    told.resize_with(asked.with.len(), || Err(RenderError::busy("it was not answered")));
    told
}

/// Lets other tasks of this worker go on elsewhere meanwhile, where that can be done.
fn off_the_worker<T>(ask: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(ask),
        _ => ask(),
    }
}

/// Answers on a thread of this process, within the engine's budget only: where there is no place apart.
pub fn here(asked: &Asked) -> Vec<Result<Told, RenderError>> {
    let answer = || {
        let mut bench = Bench::default();
        asked.with.iter().map(|pair| Ok(bench.answer(asked, pair))).collect()
    };
    let told = thread::scope(|scope| {
        let thread = thread::Builder::new().name("render".to_owned()).stack_size(STACK).spawn_scoped(scope, answer);
        thread.map(|thread| thread.join())
    });
    match told {
        Ok(Ok(told)) => told,
        Ok(Err(_)) => vec![Err(RenderError::died("it panicked")); asked.with.len()],
        Err(error) => vec![Err(RenderError::busy(&error.to_string())); asked.with.len()],
    }
}

/// The process apart: answers what comes in on `input` until it ends. `arm` is called before each answer is made, so that
/// the time it may take can be bounded.
///
/// # Errors
/// The other side is gone, or does not speak the protocol.
pub fn serve(
    input: &mut impl Read,
    output: &mut impl Write,
    mut arm: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let mut bench = Bench::default();
    while let Some(frame) = read_frame(input)? {
        let asked: Asked = serde_json::from_slice(&frame)?;
        drop(frame);
        for pair in &asked.with {
            arm()?;
            let told = catch_unwind(AssertUnwindSafe(|| bench.answer(&asked, pair)));
            let told = told.unwrap_or_else(|_| {
                bench.kept.clear();
                Told::Unfilled(RenderError::new("content", "filling the template panicked"))
            });
            write_frame(output, &serde_json::to_vec(&told)?)?;
        }
    }
    Ok(())
}

/// Writes what is asked, or an answer: its length in four bytes, the highest first, then JSON.
///
/// # Errors
/// It is too long; the other side is gone.
pub fn write_frame(output: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length as usize <= FRAME);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long"))?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(frame)?;
    output.flush()
}

/// Reads what [`write_frame`] wrote; `None` when the other side closed.
///
/// # Errors
/// It ends in the middle, or is too long.
pub fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0_u8; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long"));
    }
    let mut frame = vec![0; length];
    input.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// What is compiled there.
#[derive(Debug, Default)]
struct Bench {
    kept: BTreeMap<u64, Result<Engine, Vec<SyntaxError>>>,
    /// The shared variables of the last answer: a message's recipients come one after the other.
    shared: (Arc<str>, Variables),
}

impl Bench {
    fn answer(&mut self, asked: &Asked, pair: &Pair) -> Told {
        let Asked { source, wish, .. } = asked;
        if self.kept.len() >= KEPT && !self.kept.contains_key(&source.key) {
            self.kept.clear();
        }
        if self.shared.0 != pair.shared {
            self.shared = (Arc::clone(&pair.shared), Variables::parse(&pair.shared).unwrap_or_default());
        }
        let engine = match self.kept.entry(source.key).or_insert_with(|| compile(source)) {
            Ok(engine) => engine,
            Err(wrong) => return Told::Wrong(wrong.clone()),
        };
        let own = Variables::parse(&pair.own).unwrap_or_default();
        match wish {
            Wish::Compile => Told::Compiled {
                roots: engine.roots.iter().cloned().collect(),
                paths: engine.paths.iter().cloned().collect(),
            },
            Wish::Fill => engine.render(&self.shared.1, &own).map_or_else(Told::Unfilled, Told::Filled),
            Wish::Missing => engine.missing(&self.shared.1, &own).map_or_else(Told::Unfilled, Told::Missing),
        }
    }
}

fn compile(source: &Source) -> Result<Engine, Vec<SyntaxError>> {
    let content: Value =
        serde_json::from_str(&source.content).map_err(|error| vec![SyntaxError::whole(error.to_string())])?;
    let markup = |name: &String| Markup::ALL.iter().copied().find(|markup| markup.name() == name).unwrap_or_default();
    let markups: Markups = source.markups.iter().map(|(field, name)| (field.clone(), markup(name))).collect();
    Engine::new(content, &markups, Fuel::APART)
}
