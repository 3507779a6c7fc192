//! Accounts a pool has opened, kept until they change.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_contract::Reason;

use crate::Opened;
use crate::meters::CallMeters;
use crate::switchboard::Switchboard;
use crate::work::Letter;

/// An opened account with the figures of its provider.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) opened: Opened,
    pub(crate) meters: CallMeters,
}

/// An account that was opened, and when it was looked at last.
#[derive(Debug)]
struct Kept {
    revision: u64,
    /// The version of control it was compared with.
    looked_at: u64,
    ready: Ready,
}

/// The accounts a pool has opened.
#[derive(Debug, Default)]
pub(crate) struct OpenAccounts(HashMap<Arc<str>, Kept>);

impl OpenAccounts {
    /// The account of a letter, opened as it is now: a letter may have waited long for its turn, and what was changed
    /// meanwhile holds for it too. An account that is gone is opened as it was when the letter was written.
    pub(crate) fn get(&mut self, board: &Switchboard, letter: &Letter) -> Result<Ready, Reason> {
        let (name, written) = (&letter.account_name, &letter.account);
        // Taken before control is looked at, so that a change in between is looked at again.
        let version = board.control_version();
        let kept = self.0.get_mut(name);
        if let Some(kept) = &kept
            && kept.looked_at == version
            && kept.revision >= written.revision
        {
            return Ok(kept.ready.clone());
        }
        let account = board.account(name).unwrap_or_else(|| Arc::clone(written));
        if let Some(kept) = kept.filter(|kept| kept.revision == account.revision) {
            kept.looked_at = version;
            return Ok(kept.ready.clone());
        }
        let opened = board.parts.accounts.open(name, &account)?;
        if self.0.len() >= board.parts.settings.accounts {
            self.0.clear();
        }
        board.carries(name, opened.info.max_recipients);
        let ready = Ready { meters: CallMeters::new(opened.info.name), opened };
        let kept = Kept { revision: account.revision, looked_at: version, ready: ready.clone() };
        self.0.insert(Arc::clone(name), kept);
        Ok(ready)
    }
}
