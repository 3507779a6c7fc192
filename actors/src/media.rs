//! Materials that messages refer to by the supplier's id of them: which ids a letter needs, and putting them into its content.
//!
//! An id is kept the way an access token is (see `tokens.rs`), under a name made of the account, the kind of file and the
//! material; so one process uploads for the whole cluster, and an id that lapsed or was called unknown is had anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;
use tidings_contract::{Channel, MediaPlace, Outcome, Reason, Time, Uploaded};

use crate::opened::Ready;
use crate::switchboard::Switchboard;
use crate::token_cache::Good;
use crate::token_fetch::Wanting;
use crate::work::Letter;

/// A file that a supplier is to have.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) account: Arc<str>,
    pub(crate) material: String,
    pub(crate) kind: &'static str,
    /// Whether an upload needs the account's access token.
    pub(crate) wants_token: bool,
}

/// Under which name an id is kept. No account's name has a slash.
fn key(account: &str, place: &MediaPlace) -> Arc<str> {
    format!("{account}/{}/{}", place.kind, place.material).into()
}

/// The places of a content. A provider that panics costs its own calls only, which come later.
fn places(channel: &dyn Channel, content: &Value) -> Vec<MediaPlace> {
    catch_unwind(AssertUnwindSafe(|| channel.media(content))).unwrap_or_default()
}

/// What a letter waits for before its call can be made: its account's access token, or the id of a file.
pub(crate) fn lacking(board: &Switchboard, ready: &Ready, letter: &Letter, now: Time) -> Option<Wanting> {
    let (account, revision) = (&letter.account_name, ready.revision);
    if ready.opened.features.wants_token && board.tokens.get(account, revision, now).is_none() {
        return Some(Wanting::of(account, ready));
    }
    let contents = std::iter::once(&letter.content).chain(letter.further.iter());
    contents.flat_map(|content| places(ready.opened.channel.as_ref(), content)).find_map(|place| {
        let name = key(account, &place);
        let known = is_there(board, &place.material) && board.media.get(&name, revision, now).is_some();
        let MediaPlace { material, kind, .. } = place;
        let media =
            Media { account: Arc::clone(account), material, kind, wants_token: ready.opened.features.wants_token };
        (!known).then(|| Wanting { media: Some(media), ..Wanting::of(&name, ready) })
    })
}

/// Whether there is such a material, as far as this node knows. The supplier may well have a file longer than we do: what was
/// deleted is not to go out any more.
pub(crate) fn is_there(board: &Switchboard, material: &str) -> bool {
    board.parts.accounts.materials().is_none_or(|materials| materials.is_known(material))
}

/// The ids that a letter goes out with.
pub(crate) type Used = Vec<(Arc<str>, Good)>;

/// Puts the supplier's ids, as the account of that revision has them, into a letter's contents; `None` if one of them ended
/// a moment ago, or its material was deleted.
pub(crate) fn fill(
    board: &Switchboard,
    channel: &dyn Channel,
    revision: u64,
    letter: &mut Letter,
    now: Time,
) -> Option<Used> {
    let (account, mut used) = (Arc::clone(&letter.account_name), Vec::new());
    let mut one = |content: &mut Arc<Value>| {
        for place in places(channel, content) {
            let name = key(&account, &place);
            let good = board.media.get(&name, revision, now).filter(|_| is_there(board, &place.material))?;
            place.put(Arc::make_mut(content), good.secret.expose());
            used.push((name, good));
        }
        Some(())
    };
    one(&mut letter.content)?;
    if !letter.further.is_empty() {
        let mut further = letter.further.to_vec();
        further.iter_mut().try_for_each(&mut one)?;
        letter.further = further.into();
    }
    Some(used)
}

/// Has ids forgotten that the supplier does not know. That is no fault of the delivery's, so such an attempt may be repeated.
pub(crate) fn judge(board: &Switchboard, channel: &dyn Channel, used: &[Used], outcomes: &mut [Outcome]) {
    for (used, outcome) in used.iter().zip(outcomes) {
        let (Outcome::Later { reason, .. } | Outcome::Never { reason, .. }) = &outcome else { continue };
        if used.is_empty() || !channel.media_gone(reason) {
            continue;
        }
        // Which of several it was, nobody says.
        used.iter().for_each(|(name, good)| board.media.forget(name, good.number));
        *outcome = Outcome::Later { reason: Reason::new(Uploaded::GONE, reason.to_string()), after_ms: None };
    }
}
