//! The dedup actor: works out what content dedup compares, away from the edge. The machine decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde_json::Value;
use tidings_contract::stable_hash;
use tidings_machine::control::TemplateVersion;
use tokio::sync::oneshot;

use crate::render::{Compiled, Fault, RenderError, Variables};
use crate::status::Gauge;
use crate::switchboard::Switchboard;

/// One recipient whose content is to be compared.
#[derive(Clone, Debug)]
pub struct FingerprintItem {
    /// The recipient, normalised.
    pub to: String,
    /// The recipient's own variables.
    pub variables: Variables,
}

/// Why there are no fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Too many wait. Come back later.
    #[error("too many recipients wait for their fingerprints")]
    Busy,
    /// The actor died meanwhile, or the process is ending. Ask again.
    #[error("the fingerprints were lost on the way")]
    Lost,
    /// The content of the template cannot be compiled.
    #[error("the template cannot be compiled: {0}")]
    Template(String),
}

/// The fingerprint of each item, in their order; an item that cannot be rendered has an error of its own.
pub type Fingerprints = Result<Vec<Result<u64, RenderError>>, FingerprintError>;

/// What the dedup actor is told.
#[derive(Debug)]
pub(crate) enum DedupMsg {
    /// Work out fingerprints.
    Ask(Box<Ask>),
}

/// A question.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) template: String,
    pub(crate) version: Arc<TemplateVersion>,
    pub(crate) shared: Variables,
    pub(crate) items: Vec<FingerprintItem>,
    pub(crate) reply: oneshot::Sender<Fingerprints>,
    /// The places the items take in the queue, however the question ends.
    pub(crate) places: Places,
}

/// Places in the queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Places {
    board: Arc<Switchboard>,
    count: usize,
}

impl Places {
    /// Takes `count` places, if there are so many.
    pub(crate) fn take(board: &Arc<Switchboard>, count: usize) -> Option<Self> {
        let most = board.parts.settings.fingerprints;
        let taken = board
            .fingerprints
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| now.checked_add(count).filter(|sum| *sum <= most));
        taken.is_ok().then(|| Self { board: Arc::clone(board), count })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.board.fingerprints.fetch_sub(self.count, Ordering::SeqCst);
    }
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Dedup;

/// What it remembers: the versions it compiled last.
#[derive(Debug)]
pub(crate) struct Comparing {
    board: Arc<Switchboard>,
    gauge: Arc<Gauge>,
    compiled: std::collections::HashMap<(String, u32), Arc<Compiled>>,
}

#[async_trait::async_trait]
impl Actor for Dedup {
    type Msg = DedupMsg;
    type State = Comparing;
    type Arguments = (Arc<Switchboard>, Arc<Gauge>);

    async fn pre_start(
        &self,
        myself: ActorRef<DedupMsg>,
        (board, gauge): Self::Arguments,
    ) -> Result<Comparing, ActorProcessingErr> {
        board.dedup.move_in(myself);
        Ok(Comparing { board, gauge, compiled: Default::default() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<DedupMsg>,
        DedupMsg::Ask(ask): DedupMsg,
        state: &mut Comparing,
    ) -> Result<(), ActorProcessingErr> {
        state.gauge.set(state.board.fingerprints.load(Ordering::Relaxed), ask.items.len());
        match state.compiled(&ask.template, &ask.version) {
            Ok(compiled) if compiled.is_plain() => reply(ask, &compiled),
            // It may take long, and others are not to wait for it. What is lost with the process is asked again.
            Ok(compiled) => drop(crate::threads::spawn_blocking(move || reply(ask, &compiled))),
            Err(error) => drop(ask.reply.send(Err(error))),
        }
        state.gauge.set(state.board.fingerprints.load(Ordering::Relaxed), 0);
        Ok(())
    }
}

impl Comparing {
    fn compiled(&mut self, name: &str, version: &TemplateVersion) -> Result<Arc<Compiled>, FingerprintError> {
        let key = (name.to_owned(), version.version);
        if let Some(compiled) = self.compiled.get(&key) {
            return Ok(Arc::clone(compiled));
        }
        let compiled = Compiled::trusted_text(&version.spec.content).map_err(|errors| {
            FingerprintError::Template(errors.first().map_or_else(String::new, ToString::to_string))
        })?;
        if self.compiled.len() >= self.board.parts.settings.templates {
            self.compiled.clear();
        }
        let compiled = Arc::new(compiled);
        self.compiled.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

/// Works out what was asked. Whoever asked may have gone away meanwhile.
fn reply(ask: Box<Ask>, compiled: &Compiled) {
    let answer = if ask.reply.is_closed() { Err(FingerprintError::Lost) } else { answer(&ask, compiled) };
    let Ask { reply, places, .. } = *ask;
    drop(places);
    let _ = reply.send(answer);
}

fn answer(ask: &Ask, compiled: &Compiled) -> Fingerprints {
    let mut fingerprints = Vec::with_capacity(ask.items.len());
    for item in &ask.items {
        let filled = catch_unwind(AssertUnwindSafe(|| compiled.render_with(&ask.shared, &item.variables)));
        let filled = filled.unwrap_or_else(|_| Err(RenderError::new("content", "filling the template panicked")));
        fingerprints.push(match filled {
            Ok(content) => Ok(fingerprint(&ask.template, &ask.version.spec.channel, &item.to, &content)),
            // Without room for it nobody knows what it would be; without a fingerprint a second copy would pass.
            Err(error) if error.fault == Fault::Busy => return Err(FingerprintError::Busy),
            Err(error) => Err(error),
        });
    }
    Ok(fingerprints)
}

/// What content dedup compares: the template, the channel, the recipient and the rendered content. The version is left out:
/// the same content is the same content.
pub fn fingerprint(template: &str, channel: &str, to: &str, content: &Value) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for part in [template, channel, to] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    canonical(content, &mut bytes);
    stable_hash(&bytes)
}

/// JSON with the keys of objects in order, whatever order the map keeps them in.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            out.push(b'{');
            for (name, value) in fields {
                canonical(&Value::String(name.clone()), out);
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fingerprint_is_fixed_for_ever_and_tells_what_differs() {
        let of = |template: &str, to: &str, content: Value| fingerprint(template, "sms", to, &content);
        let first = of("otp", "+8613800138000", json!({"text": "hi", "n": [1, {"b": 1, "a": null}]}));
        // It is in the snapshots of running clusters.
        assert_eq!(first, of("otp", "+8613800138000", json!({"n": [1, {"a": null, "b": 1}], "text": "hi"})));
        for other in [
            of("otp", "+8613800138001", json!({"text": "hi", "n": [1, {"b": 1, "a": null}]})),
            of("otq", "+8613800138000", json!({"text": "hi", "n": [1, {"b": 1, "a": null}]})),
            of("otp", "+8613800138000", json!({"text": "hi", "n": [1, {"b": 1, "a": "null"}]})),
        ] {
            assert_ne!(first, other);
        }
        assert_ne!(of("a", "bc", json!(1)), of("ab", "c", json!(1)));
        assert_eq!(of("otp", "a@b.c", json!({"text": "hi"})), 0xe455_0313_809e_0006);
    }
}
