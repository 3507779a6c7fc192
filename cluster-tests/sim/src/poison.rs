//! The place apart where contents are filled that may cost anything: in real nodes a process, here a call that dies of some
//! of them, and notes when each killed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_node::sim::{Apart, Asked, RenderError, Told, Whose, Wish, fill_here, install_apart};

use crate::clock::elapsed;

/// What is filled with this kills.
pub(crate) const DEADLY: &str = "deadly";
/// What makes a content one that is filled apart.
pub(crate) const APART: &str = "{% set x = 1 %}";

/// When each number that was sent killed, in simulated milliseconds. A process lives one seed.
static DEATHS: Mutex<BTreeMap<String, Vec<u64>>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct Mortal;

/// Has deadly contents kill whoever fills them, in this process.
pub(crate) fn install() {
    install_apart(Arc::new(Mortal));
}

/// When a number killed.
pub(crate) fn deaths(number: &str) -> Vec<u64> {
    DEATHS.lock().get(number).cloned().unwrap_or_default()
}

impl Apart for Mortal {
    fn ask(&self, _: Whose, asked: &Asked) -> Vec<Result<Told, RenderError>> {
        let deadly = asked.with.iter().find(|pair| pair.shared.contains(DEADLY) || pair.own.contains(DEADLY));
        let Some(pair) = deadly.filter(|_| asked.wish == Wish::Fill) else { return fill_here(asked) };
        let variables: serde_json::Value = serde_json::from_str(&pair.shared).unwrap_or_default();
        let number = variables["n"].as_str().unwrap_or_default().to_owned();
        DEATHS.lock().entry(number).or_default().push(elapsed());
        vec![Err(RenderError::died("the content killed it")); asked.with.len()]
    }
}
